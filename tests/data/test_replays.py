"""Replays: each batch several times in a row, read once, and epochs that know their length."""

import pytest
import pytorch_lightning as pl
import torch
from recorder import Recorder

from lightning_advinterp.datamodules import ConceptWorldDataModule


def world(**settings):
    return ConceptWorldDataModule(train_size=20, val_size=4, test_size=4, image_size=16, batch_size=8, **settings)


@pytest.mark.parametrize("workers", [0, 1])
def test_each_batch_comes_in_a_row_with_its_augmentation(workers):
    plain, replayed = world(), world(replays=3, num_workers=workers)
    loaders = []
    for data in (plain, replayed):
        data.setup("fit")
        loaders.append(data.train_dataloader())
    assert [len(loader) for loader in loaders] == [2, 6]
    once, thrice = (list(loader) for loader in loaders)
    assert len(thrice) == 6
    for number, batch in enumerate(thrice):
        assert all(torch.equal(*fields) for fields in zip(batch, once[number // 3], strict=True))
    assert len(replayed.val_dataloader()) == len(plain.val_dataloader()) == 1


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
def test_lightning_trains_all_replays_and_shuffles_every_epoch(tmp_path):
    module, data = Recorder(), world(replays=2)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=2, default_root_dir=tmp_path, enable_model_summary=False, **quiet
    )
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == trainer.estimated_stepping_batches == 8
    for orders in module.seen.values():
        assert len(orders) == 4
        assert orders[0] == orders[1]
        assert orders[2] == orders[3]
        assert orders[0] != orders[2]
    assert module.seen[0][0] != module.seen[1][0]


def test_replays_are_checked():
    with pytest.raises(ValueError, match="replays must be at least 1, got 0"):
        world(replays=0)
