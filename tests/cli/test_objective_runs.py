"""Whole runs of what keeps more than weights: Free's perturbation, averaged weights, static sources."""

import re

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from short_configs import short_config

from lightning_advinterp.cli import TrainCLI, train
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.training.callbacks import AccuracyCallback, PicturesCallback

SMALL = short_config("small", max_epochs=2, train_size=48, val_size=16, test_size=16)
SMALL += """
model:
  network: cifar_resnet20
  optimizer: {lr: 0.05}
  schedule: {name: constant}
accuracy: {attacks: [{type: fgsm, eps: 4/255}], limit: 8}
guard: null
pictures: {images: 2, attack: {type: fgsm, eps: 4/255}}
"""
FREE = ("--model.objective", "Free", "--data.init_args.replays", "2")
EMA = ("--ema.decay", "0.5")


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


def run(config, output, *flags):
    train(["--config", config, "--output", str(output), *flags])
    return torch.load(output / "small" / "last.ckpt", weights_only=True)


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_a_resumed_free_run_equals_an_uninterrupted_one(config, tmp_path):
    uninterrupted = run(config, tmp_path / "whole", *FREE)
    half = run(config, tmp_path / "parts", *FREE, "--trainer.max_epochs", "1")
    resumed = run(config, tmp_path / "parts", *FREE)
    assert half["global_step"] == 3 * 2
    assert uninterrupted["global_step"] == 2 * 3 * 2
    delta = half["objective"]["delta"]
    assert delta.shape == (16, 3, 16, 16)
    assert delta.abs().max() == torch.tensor(8 / 255)
    assert not torch.equal(delta, uninterrupted["objective"]["delta"])
    assert_equal(uninterrupted["objective"], resumed["objective"])
    assert_equal(uninterrupted["state_dict"], resumed["state_dict"])
    assert load_checkpoint(tmp_path / "whole" / "small" / "last.ckpt").epoch == 2


HESSIAN = "{class_path: HessianNorm, init_args: {weight: 1.0e-6, base: {class_path: Free}}}"
PATH = "{class_path: IGNorm, init_args: {attack: {type: pgd, steps: 1}, path_steps: 2, attack_path_steps: 1, base: %s}}"
CONSISTENT = "{class_path: Consistency, init_args: {bn: eval}}"


@pytest.mark.parametrize("objective", [HESSIAN, PATH % CONSISTENT], ids=["hessian", "path"])
@pytest.mark.slow
def test_a_resumed_run_of_an_extended_objective_equals_an_uninterrupted_one(config, tmp_path, objective):
    """Probes and starting points come from (seed, epoch, image), and the other objective's state is kept."""
    flags = ("--model.objective", objective, "--data.init_args.replays", "2", "--data.init_args.train_size", "16")
    flags += ("--accuracy", "null", "--pictures", "null")
    uninterrupted = run(config, tmp_path / "whole", *flags)
    run(config, tmp_path / "parts", *flags, "--trainer.max_epochs", "1")
    resumed = run(config, tmp_path / "parts", *flags)
    assert ("objective" in uninterrupted) == (objective is HESSIAN)
    assert_equal(uninterrupted.get("objective", {}), resumed.get("objective", {}))
    assert_equal(uninterrupted["state_dict"], resumed["state_dict"])


@pytest.mark.parametrize("objective", ["Free", HESSIAN], ids=["alone", "extended"])
def test_free_without_replays_warns(config, tmp_path, objective):
    with pytest.warns(UserWarning, match="each batch comes once: set data.init_args.replays"):
        run(config, tmp_path, "--model.objective", objective, "--trainer.max_epochs", "1")


class Trained(Callback):
    """Notes the trained weights after every step; as the first callback, before any average is swapped in."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.steps.append({key: value.clone() for key, value in pl_module.network.state_dict().items()})


def test_averaged_weights_are_judged_and_kept(config, tmp_path, monkeypatch):
    judged = {AccuracyCallback: [], PicturesCallback: []}
    for kind, states in judged.items():
        original = kind.on_validation_epoch_end

        def note(self, trainer, pl_module, original=original, states=states):
            if not trainer.sanity_checking:
                states.append({key: value.clone() for key, value in pl_module.network.state_dict().items()})
            original(self, trainer, pl_module)

        monkeypatch.setattr(kind, "on_validation_epoch_end", note)
    cli = TrainCLI.parse(["--config", config, "--output", str(tmp_path), *EMA])
    trained = Trained()
    cli.trainer.callbacks.insert(0, trained)
    cli.fit()

    averages = [trained.steps[0]]
    for weights in trained.steps[1:]:
        # whole numbers (BatchNorm's counter) are averaged and cut to whole numbers again
        averages.append({key: (0.5 * old + 0.5 * weights[key]).to(old.dtype) for key, old in averages[-1].items()})
    saved = load_checkpoint(tmp_path / "small" / "last.ckpt").network.state_dict()
    for state in (saved, cli.model.network.state_dict(), *(states[-1] for states in judged.values())):
        for key, value in averages[-1].items():
            torch.testing.assert_close(state[key], value, msg=key)
        assert any(not torch.equal(state[key], value) for key, value in trained.steps[-1].items())
    for states in judged.values():
        torch.testing.assert_close(states[0], averages[2])
    content = torch.load(tmp_path / "small" / "last.ckpt", weights_only=True)
    current = {key.removeprefix("network."): value for key, value in content["current_model_state"].items()}
    assert_equal(current, trained.steps[-1])


@pytest.mark.slow
def test_a_resumed_averaged_run_equals_an_uninterrupted_one(config, tmp_path):
    flags = (*FREE, *EMA)
    uninterrupted = run(config, tmp_path / "whole", *flags)
    run(config, tmp_path / "parts", *flags, "--trainer.max_epochs", "1")
    resumed = run(config, tmp_path / "parts", *flags)
    for part in ("state_dict", "current_model_state", "objective", "averaging_state"):
        assert_equal(uninterrupted[part], resumed[part])


@pytest.mark.slow
def test_sources_are_no_part_of_the_checkpoint(config, tmp_path):
    plain = run(config, tmp_path, "--trainer.max_epochs", "1")
    source = tmp_path / "small" / "last.ckpt"
    settings = f"{{class_path: EnsembleAdversarial, init_args: {{sources: [{{checkpoint: {source}}}]}}}}"
    ensemble = run(config, tmp_path / "ensemble", "--trainer.max_epochs", "1", "--model.objective", settings)
    assert ensemble.keys() == plain.keys()
    assert ensemble["state_dict"].keys() == plain["state_dict"].keys()
    assert ensemble["advinterp"].keys() == plain["advinterp"].keys()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--ema.decay", "1"), r"decay must be in \[0, 1\), got 1.0"),
        (("--ema.update_every_n_steps", "0"), "update_every_n_steps must be 1 or more, got 0"),
        (("--model.objective", "{class_path: EnsembleAdversarial, init_args: {sources: []}}"), "sources must name at"),
        (
            (
                "--model.objective",
                "{class_path: EnsembleAdversarial, init_args: {sources: [{checkpoint: no/such.ckpt}]}}",
            ),
            "no file no/such.ckpt",
        ),
    ],
)
def test_wrong_configurations_are_refused(config, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit):
        run(config, tmp_path, *flags)
    assert not (tmp_path / "small" / "last.ckpt").exists()
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
