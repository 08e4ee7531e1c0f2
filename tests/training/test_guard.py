"""The guard warns at catastrophic overfitting and at feature collapse, and only then."""

import logging
import types

import pytest
import torch
from helpers import Memory, small_batch, small_network

from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.training.callbacks import GuardCallback


class Scripted(GuardCallback):
    """A guard whose measurements are given."""

    def __init__(self, measured, **options):
        super().__init__(**options)
        self.measured = iter(measured)
        self._batch = object()

    def _measure(self, pl_module):
        return next(self.measured)


@pytest.fixture
def epochs(monkeypatch):
    from lightning_advinterp.training.callbacks import guard

    class Module:
        def __init__(self):
            self.logged = []

        def log(self, key, value, **_):
            self.logged.append((key, value))

    monkeypatch.setattr(guard, "RobustClassifier", Module)

    def run(callback, count):
        trainer, module = types.SimpleNamespace(world_size=1, should_stop=False), Module()
        for _ in range(count):
            callback.on_train_epoch_end(trainer, module)
        return trainer, module

    return run


def rows(accuracies, norms=None):
    norms = norms or [5.0] * len(accuracies)
    return [{"pgd_acc": a, "phi_norm": n, "phi_shift": 0.1} for a, n in zip(accuracies, norms, strict=True)]


@pytest.mark.parametrize("stop", [True, False])
def test_a_fall_of_pgd_accuracy(epochs, caplog, stop):
    caplog.set_level(logging.WARNING)
    trainer, module = epochs(Scripted(rows([0.3, 0.5, 0.45, 0.31]), stop=stop), 4)
    assert not caplog.records, "falls of up to 20 points are tolerated"
    trainer, module = epochs(Scripted(rows([0.3, 0.5, 0.45, 0.05]), stop=stop), 4)
    assert "fell from 50.0 % to 5.0 %" in caplog.text
    assert trainer.should_stop is stop
    assert [value for key, value in module.logged if key == "guard/pgd_acc"] == [0.3, 0.5, 0.45, 0.05]


def test_a_slow_decline_is_noticed_too(epochs, caplog):
    epochs(Scripted(rows([0.6, 0.5, 0.42, 0.38])), 4)
    assert "fell from 60.0 % to 38.0 %" in caplog.text


def test_feature_collapse(epochs, caplog):
    epochs(Scripted(rows([0.5] * 3, [5.0, 1.0, 0.6])), 3)
    assert not caplog.records
    epochs(Scripted(rows([0.5] * 3, [5.0, 1.0, 0.4])), 3)
    assert "norm of φ fell from 5 to 0.4" in caplog.text


def test_a_resumed_guard_remembers(epochs, caplog):
    first = Scripted(rows([0.6]))
    epochs(first, 1)
    second = Scripted(rows([0.3]))
    second.load_state_dict(first.state_dict())
    epochs(second, 1)
    assert "fell from 60.0 % to 30.0 %" in caplog.text


def test_images_that_cannot_be_read_are_left_out_where_they_are_to_be_skipped():
    class Skipping(Memory):
        def readable(self, items):
            return [self[item] for item in items if item != 2]

    guard, data = GuardCallback(images=5), Skipping(small_batch(5), fails_at=2)
    guard.on_train_start(
        types.SimpleNamespace(train_dataloader=types.SimpleNamespace(dataset=data)), types.SimpleNamespace(device="cpu")
    )
    assert guard._batch.index.tolist() == [40, 41, 43, 44]


def test_what_it_measures():
    network, batch = small_network(), small_batch()
    guard = GuardCallback(attack=AttackConfig("fgsm", "8/255"))
    guard._batch = batch
    module = types.SimpleNamespace(network=network)
    measured = guard._measure(module)
    x_adv = guard.attack(network, batch.image, batch.label)
    with torch.no_grad():
        logits, adversarial = network.forward_features(x_adv, ["phi"])
        _, real = network.forward_features(batch.image, ["phi"])
    a, b = real["phi"].flatten(1), adversarial["phi"].flatten(1)
    assert measured["pgd_acc"] == pytest.approx((logits.argmax(1) == batch.label).float().mean().item())
    assert measured["phi_norm"] == pytest.approx(a.norm(dim=1).mean().item(), rel=1e-6)
    assert measured["phi_shift"] == pytest.approx((((a - b) ** 2).sum(1) / (a**2).sum(1)).mean().item(), rel=1e-5)
