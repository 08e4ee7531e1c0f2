"""Small runs that are stopped at a named moment, for tests of what a second start makes of them."""

import os
import signal

import pytest
import torch
from short_configs import SMALL_CONSISTENCY, short_config

from lightning_advinterp.cli import fit
from lightning_advinterp.training.module import RobustClassifier

CONFIG = short_config("run", seed=3, max_epochs=2, val_size=16, test_size=12, batch_size=8)
CONFIG += SMALL_CONSISTENCY
CONFIG += """
accuracy: {attacks: [{type: fgsm, eps: 4/255}], limit: 8}
guard: {images: 8, attack: {type: pgd, eps: 4/255, steps: 1}}
pictures: null
"""
STEPS = 4


class Runs:
    """Runs in one folder; notes every batch that is trained on.

    ``at(moment, action)``: moments are ("training", step) and ("validation", epoch).
    """

    def __init__(self, folder, monkeypatch, *flags):
        self.folder, self.flags, self.actions, self.seen = folder, flags, {}, []
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(CONFIG)
        training, validation = RobustClassifier.training_step, RobustClassifier.validation_step

        def training_step(module, batch, number):
            self.seen.append((module.current_epoch, number, tuple(batch.index.tolist())))
            self._act("training", module.trainer.global_step)
            return training(module, batch, number)

        def validation_step(module, batch, number):
            if not module.trainer.sanity_checking:
                self._act("validation", module.current_epoch)
            return validation(module, batch, number)

        monkeypatch.setattr(RobustClassifier, "training_step", training_step)
        monkeypatch.setattr(RobustClassifier, "validation_step", validation_step)

    def _act(self, *moment):
        action = self.actions.pop(moment, None)
        if action is not None:
            action()

    def at(self, kind, number, action):
        self.actions[kind, number] = action
        return self

    def start(self, name, *flags, command=fit):
        """Start the command; return what it returns, or the status with which it ended."""
        try:
            return command(
                [
                    *("--config", str(self.folder / "config.yaml"), "--output", str(self.folder / name)),
                    *self.flags,
                    *flags,
                ]
            )
        except SystemExit as stop:
            return stop.code

    def whole_and_parts(self, step, action):
        """Train without and with a stop before a step, after which a second start goes on; return both checkpoints."""
        self.start("whole")
        self.at("training", step, action)
        if action is cut:
            with pytest.raises(PowerCut):
                self.start("parts")
        else:
            self.start("parts")
        self.start("parts")
        return self.content("whole"), self.content("parts")

    def path(self, name, checkpoint="last"):
        return self.folder / name / "run" / f"{checkpoint}.ckpt"

    def content(self, name, checkpoint="last"):
        return torch.load(self.path(name, checkpoint), weights_only=True)

    def files(self, name):
        return sorted(path.name for path in (self.folder / name / "run").glob("*.ckpt"))


def terminate(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


class PowerCut(BaseException):
    """Ends a run on the spot."""


def cut():
    raise PowerCut


def assert_same(first, second):
    """Weights and the optimiser's state, bit by bit."""
    for part in ("state_dict", "current_model_state", "objective"):
        assert first.get(part, {}).keys() == second.get(part, {}).keys()
        assert all(torch.equal(value, second[part][key]) for key, value in first.get(part, {}).items())
    states = [content["optimizer_states"][0]["state"] for content in (first, second)]
    assert all(torch.equal(states[0][key]["momentum_buffer"], states[1][key]["momentum_buffer"]) for key in states[0])
    assert first["lr_schedulers"] == second["lr_schedulers"]
    assert first["global_step"] == second["global_step"]
