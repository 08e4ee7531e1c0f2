"""A user's own data module of plain data sets is trained on and watched as it is."""

import pytest
import pytorch_lightning as pl
import torch
from helpers import SmallBackbone
from torch.utils.data import DataLoader, TensorDataset

from lightning_advinterp import RobustClassifier
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.datamodules.described import describe
from lightning_advinterp.training.callbacks import AccuracyCallback, FragilityCallback, GuardCallback, PicturesCallback

FGSM = AttackConfig("fgsm", "8/255")


class PlainData(pl.LightningDataModule):
    """Triples to train on, since random draws derive from images' numbers, and pairs to validate on."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.images = torch.rand(24, 3, 16, 16, generator=generator)
        self.labels = torch.randint(0, 5, (24,), generator=generator)

    def train_dataloader(self):
        return DataLoader(TensorDataset(self.images[:16], self.labels[:16], torch.arange(16)), batch_size=8)

    def val_dataloader(self):
        return DataLoader(TensorDataset(self.images[16:], self.labels[16:]), batch_size=8)


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*logging interval")
@pytest.mark.filterwarnings("ignore:You have overridden")
def test_a_plain_data_module_is_watched(tmp_path):
    torch.manual_seed(0)
    module = RobustClassifier("helpers.SmallBackbone", num_classes=5, image_size=16)
    assert isinstance(module.network.backbone, SmallBackbone)
    fragility = FragilityCallback(limit=2, batch_size=2, seconds=None)
    watching = [AccuracyCallback([FGSM], limit=None), GuardCallback(images=8), PicturesCallback(images=2), fragility]
    data = PlainData()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=watching,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
    )
    trainer.fit(module, data)
    with torch.no_grad():
        right = (module.network.eval()(data.images[16:]).argmax(1) == data.labels[16:]).double().mean()
    assert float(trainer.callback_metrics["val/acc"]) == pytest.approx(float(right))
    assert "guard/pgd_acc" in trainer.callback_metrics
    assert (
        float(trainer.callback_metrics["fragility/images"]) + float(trainer.callback_metrics["fragility/skipped"]) == 2
    )


def test_what_a_data_module_does_not_say_is_unknown():
    for description in (describe(None), describe(PlainData())):
        assert (description.classes, description.class_names, description.resize, description.replays) == (
            None,
            None,
            None,
            1,
        )
        assert not description.augments_on_device
        assert len(description.validation) == 0
