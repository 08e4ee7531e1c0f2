"""Augmentation on the device gives the images that the loader would have given, in every epoch and after a resume."""

import pytest
import pytorch_lightning as pl
import torch

from lightning_advinterp.core.randomness import mixed_seed, mixed_seeds
from lightning_advinterp.data.loaders import collate_batch
from lightning_advinterp.data.memory_set import MemoryDataset, augment_batch
from lightning_advinterp.datamodules import ConceptWorldDataModule
from lightning_advinterp.datamodules.cifar import CIFAR10DataModule
from lightning_advinterp.training.module import RobustClassifier
from lightning_advinterp.training.optimization import ScheduleConfig


def test_seeds_of_a_batch_are_those_of_its_samples():
    index = torch.tensor([0, 1, 5, 12_000_000, 2**40])
    for seed, epoch in ((0, 0), (3, 7), (2**63 - 1, 2**31)):
        assert mixed_seeds(seed, epoch, index).tolist() == [mixed_seed(seed, epoch, i) for i in index.tolist()]


def test_a_batch_is_augmented_as_its_data_set_would():
    images = torch.randint(0, 256, (30, 3, 12, 12), dtype=torch.uint8)
    now, later = (
        MemoryDataset(images, [0] * 30, shift=3, seed=5, indices=range(4, 30), later=x) for x in (False, True)
    )
    for epoch in (0, 6):
        now.set_epoch(epoch)
        ours, theirs = (collate_batch(data.__getitems__([2, 7, 20])) for data in (later, now))
        assert torch.equal(ours.image, images[[6, 11, 24]])
        assert not torch.equal(ours.image, theirs.image)
        result = augment_batch(ours, 3, seed=5, epoch=epoch)
        assert result.image.dtype == torch.uint8
        assert all(torch.equal(*fields) for fields in zip(result, theirs, strict=True))
    assert augment_batch(ours, 0, seed=5, epoch=1) is ours


class Seen(pl.Callback):
    """The batches as the objective gets them."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, *_):
        self.batches.append((batch.index.tolist(), batch.image.clone()))

    def on_validation_batch_start(self, trainer, pl_module, batch, *_):
        self.batches.append((batch.index.tolist(), batch.image.clone()))


def seen(data, tmp_path, epochs=2, **fit):
    # a constant rate: other schedules depend on the number of epochs, which must then stay the same in a resumed run
    options = {"num_classes": 12, "image_size": 32, "schedule": ScheduleConfig("constant")}
    callback, module = Seen(), RobustClassifier("cifar_resnet20", **options)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data, **fit)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return callback.batches


def world(**settings):
    return ConceptWorldDataModule(20, 4, 4, image_size=16, batch_size=8, seed=2, **settings)


@pytest.mark.filterwarnings("ignore::lightning_fabric.utilities.warnings.PossibleUserWarning")
@pytest.mark.filterwarnings("ignore:You have overridden `on_.*_batch_transfer`")
def test_training_sees_the_same_images(tmp_path):
    """Replays as well; validation images are never augmented; a resumed run goes on with the next epoch's draws."""
    expected = seen(world(replays=2), tmp_path)
    ours = seen(world(replays=2, augment_on_device=True), tmp_path)
    assert len(ours) == len(expected)
    for (index, image), (expected_index, theirs) in zip(ours, expected, strict=True):
        assert index == expected_index
        assert torch.equal(image, theirs)
    seen(world(augment_on_device=True), tmp_path / "half", epochs=1)
    resumed = {"ckpt_path": tmp_path / "half" / "last.ckpt", "weights_only": True}
    after = seen(world(augment_on_device=True), tmp_path / "half", **resumed)
    uninterrupted = seen(world(), tmp_path)
    assert [index for index, _ in after[-3:]] == [index for index, _ in uninterrupted[-3:]]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(after[-3:], uninterrupted[-3:], strict=True))


@pytest.mark.real
def test_cifar_leaves_it_too(real_data):
    items, plain, later = (
        [3, 8],
        *(CIFAR10DataModule(real_data / "cifar10", augment_on_device=x, limit_train=50, seed=4) for x in (False, True)),
    )
    for data in (plain, later):
        data.setup("fit")
        data.train_dataset.set_epoch(3)
    ours, theirs = (collate_batch(data.train_dataset.__getitems__(items)) for data in (later, plain))
    assert not torch.equal(ours.image, theirs.image)
    assert torch.equal(later.augment_batch(ours, 3).image, theirs.image)
