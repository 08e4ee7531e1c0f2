"""Analyses that watch a training leave it alone: its weights, its random state, and what a resumed run makes of it."""

import random

import numpy as np
import pytest
import torch
from digests import digest
from interruptions import PowerCut, Runs, cut

from lightning_advinterp.training.callbacks import (
    AnalysisCallback,
    DissectionCallback,
    FragilityCallback,
    PicturesCallback,
    SemanticsCallback,
)
from lightning_advinterp.training.callbacks.guard import GuardCallback

ATTACKS = "[{type: targeted_optimization, weight: 0.1, steps: 1}]"
WATCH = (
    *("--dissection", f"{{limit: 8, attacks: {ATTACKS}, settings: {{layers: relu2, quantile: 0.9}}, units: 1}}"),
    *("--semantics", "{limit: 12, settings: {layers: relu2, share: 0.2}, panels: {count: 1, images: 2}}"),
    *("--fragility", "{limit: 4, settings: {methods: [{type: gradient}], attacks: [{type: topk}], steps: 1}}"),
    *("--pictures", "{images: 2, attack: {type: pgd, eps: 4/255, steps: 1}}", "--ema.decay", "0.5"),
)


def random_states():
    return digest([torch.get_rng_state(), list(random.getstate()), str(np.random.mtrand._rand.get_state())])


@pytest.fixture
def hooks(monkeypatch):
    """Notes for every watcher whether its hooks moved a generator or the network, and runs an action in a moment."""
    moved, actions = {}, {}

    def watch(kind, name):
        hook = getattr(kind, name)

        def noted(self, trainer, pl_module):
            before = random_states(), digest(dict(pl_module.network.state_dict()))
            hook(self, trainer, pl_module)
            after = random_states(), digest(dict(pl_module.network.state_dict()))
            moved.setdefault(type(self), []).append(before != after)
            if not trainer.sanity_checking:
                action = actions.pop((type(self), trainer.current_epoch), None)
                if action is not None:
                    action()

        monkeypatch.setattr(kind, name, noted)

    watch(AnalysisCallback, "on_validation_epoch_end")
    watch(PicturesCallback, "on_validation_epoch_end")
    watch(GuardCallback, "on_train_start")
    watch(GuardCallback, "on_train_epoch_end")
    return moved, actions


@pytest.mark.filterwarnings("ignore:.*too few to read LC")
@pytest.mark.slow
def test_watching_moves_no_generator_and_no_weight(tmp_path, monkeypatch, hooks):
    moved, _ = hooks
    Runs(tmp_path, monkeypatch, *WATCH, "--trainer.max_epochs", "1").start("run")
    expected = {DissectionCallback, SemanticsCallback, FragilityCallback, PicturesCallback, GuardCallback}
    assert expected < set(moved)
    assert not any(any(changes) for changes in moved.values()), moved


@pytest.mark.slow
def test_killed_in_its_analyses_a_run_ends_as_one_that_was_neither_killed_nor_watched(tmp_path, monkeypatch, hooks):
    _, actions = hooks
    alone = Runs(tmp_path, monkeypatch, "--ema.decay", "0.5", "--accuracy", "null")
    alone.start("alone")
    watched = Runs(tmp_path, monkeypatch, *WATCH, "--semantics.panels", "null", "--dissection.units", "0")
    actions[DissectionCallback, 0] = actions[SemanticsCallback, 1] = cut
    for finished in ([], ["best.ckpt", "last.ckpt"]):
        with pytest.raises(PowerCut):
            watched.start("parts")
        assert watched.files("parts") == [*finished, "mid.ckpt"]
    watched.start("parts")
    assert not actions
    for kind in ("last", "best"):
        expected, resumed = alone.content("alone", kind), watched.content("parts", kind)
        for part in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "loops"):
            assert digest(resumed[part]) == digest(expected[part]), (kind, part)
