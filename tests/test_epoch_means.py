"""What decides by the training loss follows the whole epoch's, on all processes alike."""

import pytest
import pytorch_lightning as pl
import torch
from helpers import Memory, small_batch
from processes import on_processes
from torch.utils.data import DataLoader
from training_processes import QUIET, module_of, plateau_on_training_loss

from lightning_advinterp.objectives import Standard
from lightning_advinterp.training.epoch_means import EpochMeans


def test_batches_count_by_their_images():
    means = EpochMeans()
    for value, images in ((1.0, 8), (3.0, 8), (9.0, 2)):
        means.add({"loss": torch.tensor(value, requires_grad=True)}, images)
    assert means.compute() == {"loss": (8 + 24 + 18) / 18}
    means.clear()
    assert means.compute() == {}


def test_an_epoch_goes_on_bit_by_bit():
    values = torch.rand(20, generator=torch.Generator().manual_seed(0)) / 3
    uninterrupted, first, second = EpochMeans(), EpochMeans(), EpochMeans()
    for value in values:
        uninterrupted.add({"loss": value}, 7)
    for value in values[:9]:
        first.add({"loss": value}, 7)
    second.load_state_dict(first.state_dict(), 0)
    for value in values[9:]:
        second.add({"loss": value}, 7)
    assert second.compute() == uninterrupted.compute()
    second.load_state_dict(first.state_dict(), 5)
    assert second.names == []


def test_monitors_see_the_mean_of_the_epoch():
    batches = []

    class Losses(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            batches.append((float(outputs["loss"]), len(batch.label)))

    module = module_of(Standard()).float()
    data = DataLoader(Memory(small_batch(n=22, seed=4)), batch_size=8)
    trainer = pl.Trainer(accelerator="cpu", max_epochs=1, callbacks=[Losses()], **QUIET)
    trainer.fit(module, data, DataLoader(Memory(small_batch(n=4)), batch_size=4))
    assert [images for _, images in batches] == [8, 8, 6]
    expected = sum(loss * images for loss, images in batches) / 22
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(expected, rel=1e-6)
    assert trainer.callback_metrics["train/loss"] != pytest.approx(batches[-1][0], rel=1e-6)
    assert trainer.logged_metrics["train/loss_epoch"] == trainer.callback_metrics["train/loss"]


@pytest.mark.ddp
@pytest.mark.slow
def test_a_plateau_on_the_training_loss_decides_alike_on_all_processes():
    first, second = on_processes(plateau_on_training_loss, 2)
    assert first["rate"] == second["rate"] == 0.05 / 4  # the mean rises; process 0's own falls
    assert first["value"] == second["value"] > 50
    for key, value in first["state"].items():
        if "running" not in key and "num_batches" not in key:  # each process has its own until the next step
            assert torch.equal(value, second["state"][key]), key
