"""Trainer.fit takes plain loaders and data modules of pairs: images are numbered, and loaders stay as they are."""

import pytest
import pytorch_lightning as pl
import torch
from helpers import SmallBackbone
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler, TensorDataset

from lightning_advinterp import RobustClassifier
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.data.numbered import NumberedPairs, numbered
from lightning_advinterp.objectives import Madry

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:You have overridden `on_.*_batch_transfer`"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step`"),
]
IMAGES = torch.rand(10, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(10) % 4


class Pairs(Dataset):
    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, place):
        return IMAGES[place], int(LABELS[place])


class Module(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(Pairs(), batch_size=4)


class Loader(DataLoader):
    """Whose batches may be anything."""


def stacked(items):
    """A user's own function, which knows of pairs alone."""
    images, labels = zip(*items, strict=True)
    return torch.stack(images), torch.tensor(labels)


def trained(*data, **more):
    """Weights after an epoch whose attack starts at random places, which derive from the images' numbers."""
    torch.manual_seed(0)
    module = RobustClassifier(
        SmallBackbone(num_classes=4), image_size=16, objective=Madry(AttackConfig("pgd", steps=1))
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=1, enable_model_summary=False, **quiet)
    trainer.fit(module, *data, **more)
    return module.network.state_dict()


def test_pairs_are_numbered_by_their_places():
    expected = trained(DataLoader(TensorDataset(IMAGES, LABELS, torch.arange(10)), batch_size=4))
    elsewhere = trained(DataLoader(TensorDataset(IMAGES, LABELS, torch.arange(10) + 7), batch_size=4))
    assert not torch.equal(elsewhere["backbone.conv1.weight"], expected["backbone.conv1.weight"])
    kinds = {
        "pairs": [DataLoader(Pairs(), batch_size=4)],
        "function": [DataLoader(Pairs(), batch_size=4, collate_fn=stacked), DataLoader(Pairs(), batch_size=4)],
        "batches": [DataLoader(Pairs(), batch_sampler=BatchSampler(SequentialSampler(Pairs()), 4, drop_last=False))],
        "module": [Module()],
    }
    for kind, data in kinds.items():
        weights = trained(*data)
        assert all(torch.equal(value, expected[name]) for name, value in weights.items()), kind


def test_a_loader_stays_as_it_is_and_keeps_its_settings():
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(
        *(Pairs(), 3), shuffle=True, drop_last=True, generator=generator, num_workers=1, persistent_workers=True
    )
    before = dict(vars(loader))
    adapted = numbered(loader)
    assert vars(loader) == before
    for name in (
        "sampler",
        "batch_size",
        "drop_last",
        "generator",
        "num_workers",
        "prefetch_factor",
        "persistent_workers",
    ):
        assert getattr(adapted, name) is getattr(loader, name) or getattr(adapted, name) == getattr(loader, name)
    assert isinstance(adapted.dataset, NumberedPairs)
    batches = list(adapted)
    assert [len(numbers) for _, _, numbers in batches] == [3, 3, 3]
    assert all(torch.equal(IMAGES[numbers], images) for images, _, numbers in batches)
    assert numbered(adapted) is adapted


def test_what_cannot_be_numbered_is_refused_in_words():
    with pytest.raises(ValueError, match="got a list of 2; give a plain DataLoader of pairs"):
        trained(Loader(Pairs(), batch_size=4))
