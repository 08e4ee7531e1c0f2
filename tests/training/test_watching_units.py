"""Dissection and semantics during training: what is logged and drawn, what is refused, and that nothing is changed."""

import json

import pytest
import torch
from rich.progress import Progress
from short_configs import short_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_advinterp.cli import TrainCLI, evaluate, fit, train
from lightning_advinterp.cli.evaluation import Evaluation
from lightning_advinterp.cli.evaluation.inputs import load_concepts, load_subject
from lightning_advinterp.training.callbacks import DissectionCallback, SemanticsCallback

CATEGORIES = ("color", "texture", "material", "scene", "part", "object", "all")
CONFIG = short_config("watched", seed=3, max_epochs=2)
CONFIG += """
model:
  network: helpers.SmallBackbone
  network_options: {dropout: 0.5, phi: relu2}
  optimizer: {lr: 0.05}
accuracy: null
guard: null
pictures: null
"""
WATCHING = """
dissection:
  limit: 12
  settings: {layers: [relu1, relu2], quantile: 0.95, groups: 4, replicates: 10}
  attacks: [{name: adversarial, type: fgsm, eps: 16/255}]
  units: 2
semantics:
  limit: 20
  settings: {layers: all_conv, share: 0.2, by_success: true}
  panels: {count: 1, layers: 1, images: 3}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The configurations of a training and of what watches it."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "plain.yaml").write_text(CONFIG)
    (folder / "watching.yaml").write_text(WATCHING)
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """The same training watched and unwatched."""
    common = ["--config", str(folder / "plain.yaml"), "--output", str(folder)]
    train([*common, "--name", "plain"])
    train([*common, "--config", str(folder / "watching.yaml")])
    return folder


@pytest.fixture(scope="module")
def events(runs):
    return EventAccumulator(str(runs / "watched"), size_guidance={"tensors": 0}).Reload()


@pytest.mark.slow
def test_watching_changes_nothing(runs):
    plain, watched = (torch.load(runs / name / "last.ckpt", weights_only=True) for name in ("plain", "watched"))
    assert plain["state_dict"].keys() == watched["state_dict"].keys()
    assert all(torch.equal(plain["state_dict"][key], watched["state_dict"][key]) for key in plain["state_dict"])


@pytest.mark.slow
def test_the_keys_of_the_log(events):
    tags = set(events.Tags()["scalars"])
    expected = {f"dissection/{kind}/{name}" for kind in ("real", "adversarial") for name in (*CATEGORIES, "unique")}
    expected |= {f"dissection/{control}/{name}" for control in ("shuffled", "rotated", "random") for name in CATEGORIES}
    expected |= {f"semantics/{layer}/{key}" for layer in ("all", "conv1", "conv2") for key in ("lc", "cs1", "cs2")}
    expected |= {f"distances/fgsm/{ratio}" for ratio in ("r_ctr", "r_src", "r_tgt", "r_own", "r_goal")}
    expected |= {"dissection/retention", "dissection/retention_noise", "semantics/all/spearman_cs1_lc"}
    expected |= {"time/DissectionCallback", "time/SemanticsCallback"}
    assert expected <= tags
    for tag in expected:
        assert len(events.Scalars(tag)) == 2, f"{tag} is logged in every epoch"
    for tag in tags:
        if tag.startswith("dissection/") and not tag.endswith("unique"):
            assert all(0 <= event.value <= 1 for event in events.Scalars(tag)), tag


@pytest.mark.slow
def test_figures_and_texts(events):
    assert set(events.Tags()["images"]) == {
        *("dissection/categories", "dissection/units"),
        *("semantics/curve", "semantics/depth", "semantics/success", "semantics/panels/conv2"),
    }
    assert len(events.Images("dissection/units")) == 2
    (text, _) = events.Tensors("dissection/table/text_summary")
    lines = text.tensor_proto.string_val[0].decode().splitlines()
    assert lines[0] == f"| % of units | {' | '.join(CATEGORIES)} |"
    controls = [f"| control: {name}" for name in ("shuffled", "rotated", "random")]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| real", "| adversarial", *controls]
    assert all(line.count("|") == lines[0].count("|") for line in lines)


@pytest.mark.slow
def test_the_last_epoch_is_what_evaluation_finds(runs, events, tmp_path):
    """The same images, numbers and weights: one code path for watching and for reporting."""
    (tmp_path / "same.yaml").write_text(
        "attack: [{name: adversarial, type: fgsm, eps: 16/255}]\n"
        "dissection: {quantile: 0.95, groups: 4, replicates: 10, layers: [relu1, relu2]}\n"
    )
    flags = ["--checkpoint", str(runs / "watched" / "last.ckpt"), "--analyses", "dissection"]
    flags += ["--concepts", "concept_world", "--limit", "12", "--output", str(tmp_path / "out")]
    evaluate([*flags, "--config", str(tmp_path / "same.yaml")])
    scalars = json.loads((tmp_path / "out" / "results.json").read_text())["scalars"]["dissection"]
    assert len(scalars) > 2 * len(CATEGORIES)
    for key, value in scalars.items():
        tag = f"dissection/{key.removeprefix('adversarial/') if 'retention' in key else key}"
        assert events.Scalars(tag)[-1].value == pytest.approx(value, abs=1e-6), tag


@pytest.mark.slow
def test_both_look_at_the_same_pictures(runs):
    evaluation = Evaluation(checkpoint=str(runs / "watched" / "last.ckpt"), concepts="concept_world", limit=12)
    subject = load_subject(evaluation)
    reported = load_concepts(evaluation, subject).reported
    callback = DissectionCallback(limit=12)
    module = type("Module", (), {"network": subject.network, "classes": [], "class_names": []})
    callback.prepare(module, None)
    assert callback.dataset(None, None).fingerprint == reported.fingerprint


def test_a_saved_configuration_is_read_again(folder, tmp_path):
    """Defaults that are lists of attacks are written down like those of a file."""
    (tmp_path / "little.yaml").write_text("dissection: {limit: 5}\nsemantics: {limit: 6}\naccuracy: {limit: 7}\n")
    cli = TrainCLI.parse(["--config", str(folder / "plain.yaml"), "--config", str(tmp_path / "little.yaml")])
    (tmp_path / "saved.yaml").write_text(cli.config_text)
    again = TrainCLI.parse(["--config", str(tmp_path / "saved.yaml")])
    assert again.config_text == cli.config_text
    assert list(again.config_init.dissection.attacks()) == ["adversarial"]
    assert list(again.config_init.accuracy.attacks()) == ["fgsm", "pgd"]
    assert again.config_init.semantics.limit == 6


def test_defaults_of_the_callbacks():
    assert DissectionCallback().attacks()["adversarial"].chooses_target
    assert list(SemanticsCallback().attacks()) == ["fgsm"]
    assert DissectionCallback(attacks=()).attacks() == {}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--dissection.concepts", "no/such/set"],
            "dissection.concepts: expected the folder of a set in Broden's format",
        ),
        (["--dissection.settings.layers", "[relu3]"], "relu3"),
        (["--dissection.limit", "0"], "dissection.limit must be 1 or more images, got 0"),
        (["--dissection.attacks", "[{name: random, type: fgsm}]"], "'random' is what dissection calls a control"),
        (["--semantics.settings.layers", "relu3"], "relu3"),
        (["--semantics.settings.hierarchy", "no.csv"], "no.csv"),
        (["--semantics.panels.units", "[9]"], "panels.units: layer 'conv2' has units 0 to 7, got [9]"),
        (
            ["--semantics.panels.highlight", "discrepancy"],
            "panels.highlight must be activation, gradient,",
        ),
        (["--semantics.every_n_epochs", "0"], "every_n_epochs must be 1 or more, got 0"),
    ],
)
def test_what_would_fail_after_an_epoch_is_refused_before(folder, capsys, flags, message):
    config = ["--config", str(folder / "plain.yaml"), "--config", str(folder / "watching.yaml")]
    with pytest.raises(SystemExit) as stop:
        train([*config, "--output", str(folder), "--name", "refused", *flags])
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (folder / "refused" / "last.ckpt").exists()


def test_classes_without_names_are_refused():
    module = type("Module", (), {"network": type("Network", (), {"num_classes": 5}), "classes": [], "class_names": []})
    with pytest.raises(ValueError, match=r"what the network's 5 outputs are called is unknown \(0 names\)"):
        SemanticsCallback().prepare(module, None)


def test_time_is_printed(folder, capsys):
    train(["--config", str(folder / "plain.yaml"), "--output", str(folder), "--name", "printed", *PRINTED])
    lines = capsys.readouterr().out.splitlines()
    for prefix, measure in (("dissection: 7 images in ", "real/all"), ("semantics: 12 images in ", "all/lc")):
        (line,) = (line for line in lines if line.startswith(prefix))
        seconds, _, numbers = line.removeprefix(prefix).partition(" s, ")
        assert float(seconds) >= 0
        assert 0 <= float(dict(number.split() for number in numbers.split(", "))[measure]) <= 1


@pytest.mark.parametrize("shown", [True, False])
def test_a_bar_runs_where_the_training_has_one(folder, shown, monkeypatch):
    """Inside Lightning's own bar; every batch moves it on."""
    moves = []
    inner = Progress.update

    def update(self, task, **changes):
        if not self.disable and "sweep" in self.tasks[0].description:
            moves.append((self.tasks[0].description, changes["completed"], changes["refresh"]))
        inner(self, task, **changes)

    monkeypatch.setattr(Progress, "update", update)
    flags = ["--name", f"bar_{shown}", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", str(shown).lower()]
    watching = ["--dissection", '{"limit": 7, "batch_size": 3, "units": 0, "settings": {"layers": "last"}}']
    fit(["--config", str(folder / "plain.yaml"), "--output", str(folder), *flags, *watching])
    expected = [(f"sweep {sweep}, images", done, True) for sweep in (1, 2) for done in (3, 6, 7)]
    assert moves == (expected if shown else [])


PRINTED = (
    *("--semantics", '{"limit": 12, "panels": null, "settings": {"layers": "last"}}'),
    *("--dissection", '{"limit": 7, "attacks": [], "units": 0, "settings": {"layers": "last"}}'),
    *("--trainer.max_epochs", "1"),
)
