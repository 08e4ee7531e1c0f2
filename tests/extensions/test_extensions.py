"""Extensions of a user's own file, by class path, through the commands: none of them is known to the package."""

import json
from pathlib import Path

import pytest
import torch
from helpers import small_batch, small_network
from short_trainings import train_in
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from unit_evaluations import table, tables

from lightning_advinterp.attacks import AttackConfig, create_attack
from lightning_advinterp.cli import TrainCLI, evaluate, train
from lightning_advinterp.explanations import ExplanationConfig, create_explanation
from lightning_advinterp.objectives import Mart as PackagedMart

ECE = "examples.extensions.calibration_error.Ece"
CONFIG = """
name: extended
seed_everything: 3
watch:
  accuracy: {attacks: [{type: fgsm, eps: 8/255}], limit: 20}
  examples.extensions.calibration_error.Ece:
    attacks: [{type: fgsm, eps: 8/255}]
    limit: 20
    settings: {bins: 5}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return train_in(tmp_path_factory.mktemp("extended"), CONFIG, "--trainer.max_epochs", "2")


@pytest.mark.slow
def test_a_question_is_watched_beside_others_in_one_run(folder):
    events = EventAccumulator(str(folder / "extended")).Reload()
    assert {"ece/real", "ece/fgsm", "val/fgsm_acc", "time/ece", "time/AccuracyCallback"} <= set(
        events.Tags()["scalars"]
    )
    assert "ece/figure" in events.Tags()["images"]
    assert len(events.Scalars("ece/fgsm")) == 2
    for ece_time, accuracy_time in zip(
        events.Scalars("time/ece"), events.Scalars("time/AccuracyCallback"), strict=True
    ):
        assert ece_time.value == accuracy_time.value, "they share a run, and so its time"


@pytest.mark.slow
def test_a_question_is_evaluated(folder, capsys):
    flags = ["--checkpoint", str(folder / "extended" / "last.ckpt"), "--analyses", f"accuracy,{ECE}", "--ece.bins", "5"]
    flags += ["--attack", "fgsm", "--eps", "8/255", "--limit", "20", "--output", str(folder / "out")]
    evaluate(flags)
    rows = {row["images"]: row for row in table(folder / "out", "ece")}
    scalars = json.loads((folder / "out" / "results.json").read_text())["scalars"]["ece"]
    assert {kind: float(row["ece"]) for kind, row in rows.items()} == pytest.approx(
        {"real": scalars["ece/real"], "fgsm": scalars["ece/fgsm"]}, abs=1e-5
    )
    assert (folder / "out" / "figures" / "ece.png").exists()
    assert "calibration" in capsys.readouterr().out


def test_the_expected_calibration_error_against_a_literal_loop():
    from examples.extensions.calibration_error import CalibrationAnalysis
    from lightning_advinterp.analyses.base.protocol import Observation

    logits, labels = torch.randn(64, 5, generator=torch.Generator().manual_seed(1)), torch.arange(64) % 5
    analysis = CalibrationAnalysis(("real",), 7)
    analysis.update(0, Observation(torch.arange(64), labels, {}, {"real": logits}, {}, {}, {}))
    (row,) = analysis.result().tables["ece"]
    confidence, predicted = logits.double().softmax(1).max(1)
    expected = 0.0
    for low in range(7):
        inside = (confidence * 7).floor() == low
        if inside.any():
            gap = (predicted == labels)[inside].double().mean() - confidence[inside].mean()
            expected += float(inside.double().mean() * gap.abs())
    assert row["ece"] == pytest.approx(expected, abs=1e-12)


def test_nifgsm_is_a_literal_loop():
    network, batch = small_network().eval(), small_batch(n=3)
    path = "examples.extensions.nifgsm.NIFGSM"
    attack = create_attack({"type": path, "eps": "8/255", "steps": 4, "options": {"decay": 0.5}})
    x, y, eps, decay = batch.image, batch.label, 8 / 255, 0.5
    size, x_adv, velocity = eps / 4, x.clone(), torch.zeros_like(x)
    for _ in range(4):
        ahead = (x_adv + size * decay * velocity).requires_grad_()
        loss = torch.nn.functional.cross_entropy(network(ahead), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, ahead)
        velocity = decay * velocity + gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
        x_adv = (x + (x_adv + size * velocity.sign() - x).clamp(-eps, eps)).clamp(0, 1)
    assert (attack(network, x, y) - x_adv).abs().max() < 1e-6
    at_the_image = create_attack({"type": path, "eps": "8/255", "steps": 4, "options": {"decay": 0.0}})
    mifgsm = create_attack({"type": "mifgsm", "eps": "8/255", "steps": 4, "decay": 0.0})
    assert torch.equal(at_the_image(network, x, y), mifgsm(network, x, y))


def test_mart_is_the_authors_loss():
    from examples.extensions.mart import Mart

    network, batch = small_network(), small_batch(n=4)
    objective = Mart(AttackConfig("fgsm", "8/255"), beta=3.0)
    loss = objective.loss(network, batch, epoch=0)
    x_adv = objective.attack_at(0)(network, batch.image, batch.label, keys=objective.keys(batch, 0))
    natural, attacked = (network(images).softmax(1).detach() for images in (batch.image, x_adv))
    total = 0.0
    for p, q, y in zip(natural, attacked, batch.label.tolist(), strict=True):
        wrong_classes = [float(q[k]) for k in range(len(q)) if k != y]
        boosted = -float(torch.log(q[y])) - float(torch.log(torch.tensor(1.0001 - max(wrong_classes))))
        divergence = sum(float(p[k] * (torch.log(p[k]) - torch.log(q[k]))) for k in range(len(p)))
        total += boosted + 3.0 * divergence * (1 - float(p[y]))
    assert float(loss.total.detach()) == pytest.approx(total / 4, abs=1e-4)
    loss.total.backward()
    assert network.backbone.fc.weight.grad.abs().sum() > 0
    ours = PackagedMart(AttackConfig("fgsm", "8/255"), beta=3.0).loss(network, batch, epoch=0)
    assert float(loss.total.detach()) == pytest.approx(float(ours.total.detach()), abs=1e-5)


def test_integrated_smoothgrad_is_a_mean_of_integrated_gradients():
    network, batch = small_network().eval(), small_batch(n=2)
    path = "examples.extensions.integrated_smoothgrad.IntegratedSmoothGrad"
    method = create_explanation(ExplanationConfig(path, steps=3, samples=1, sigma=0.0))
    plain = create_explanation(ExplanationConfig("integrated_gradients", steps=3))
    expected = plain.explain(network, batch.image, batch.label)
    assert torch.equal(method.explain(network, batch.image, batch.label), expected)
    noisy = create_explanation(ExplanationConfig(path, steps=3, options={"sigma": 0.1}, samples=2))
    assert (noisy.explain(network, batch.image, batch.label) - expected).abs().max() > 0
    assert noisy.passes() == (6, 6)


@pytest.mark.slow
def test_attack_explanation_and_network_through_the_commands(folder):
    wide = ["--model.network", "examples.extensions.wide_resnet.WideResNet", "--model.stem", "null", "--watch", "null"]
    wide += ["--model.network_options", "{depth: 10, width: 1, phi: blocks}"]
    wide += ["--name", "wide", "--trainer.max_epochs", "1"]
    objective = ["--model.objective", "examples.extensions.mart.Mart", "--model.objective.init_args.beta", "2"]
    train(["--config", str(folder / "config.yaml"), "--output", str(folder), *wide, *objective])
    flags = ["--checkpoint", str(folder / "wide" / "last.ckpt"), "--analyses", "accuracy,fragility", "--limit", "8"]
    flags += ["--trust"]
    attack = "{type: examples.extensions.nifgsm.NIFGSM, eps: 8/255, steps: 2}"
    method = "{type: examples.extensions.integrated_smoothgrad.IntegratedSmoothGrad, samples: 2, steps: 2}"
    fragility = ["--fragility.methods", f"[{method}]", "--fragility.attacks", "[{type: topk, k: 5}]"]
    fragility += ["--fragility.steps", "1"]
    evaluate([*flags, "--attack", attack, *fragility, "--fragility.limit", "8", "--output", str(folder / "own")])
    assert [row["images"] for row in table(folder / "own", "accuracy")] == ["real", "NIFGSM"]
    assert "IntegratedSmoothGrad" in tables(folder / "own")["fragility_methods"]


def test_the_objective_takes_the_place_of_a_configurations_with_its_attack():
    """As the file's docstring says it: the attack of configs/madry.yaml stays."""
    madry = Path(__file__).parents[2] / "configs" / "madry.yaml"
    settings = TrainCLI.parse(["--config", str(madry), "--model.objective", "examples.extensions.mart.Mart"]).config
    assert settings.model.objective.class_path == "examples.extensions.mart.Mart"
    assert settings.model.objective.init_args.attack.eps == "4/255"
    assert settings.model.objective.init_args.attack.steps == 7


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "examples.extensions.nifgsm.NIFGSM", "queries": 3}, "queries is no setting of"),
        ({"type": "examples.extensions.nifgsm.NIFGSM", "options": {"look": 1}}, "look is no setting of"),
        ({"type": "examples.extensions.nifgsm.No"}, "has no class 'No'"),
        ({"type": "torch.nn.Linear"}, "must inherit from lightning_advinterp.attacks.loop.attack.Attack"),
    ],
)
def test_an_attack_of_ones_own_that_is_none(config, message):
    with pytest.raises(ValueError, match=message):
        create_attack(config)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--analyses", "nowhere.Ece"], "there is no module 'nowhere' for nowhere.Ece"),
        (["--analyses", "examples.extensions.calibration_error.No"], "has no class 'No'"),
        (["--analyses", "torch.nn.Linear"], "torch.nn.Linear is no question"),
        (["--analyses", ECE, "--ece.bns", "3"], "there is no key ece.bns; did you mean ece.bins?"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate([*flags, "--network", "resnet18", "--data", "concept_world"])
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "examples" / "extensions").glob("*.py")), ids=str)
def test_extensions_are_short(path):
    assert len(path.read_text().splitlines()) <= (80 if path.stem == "calibration_error" else 40)
