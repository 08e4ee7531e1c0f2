"""Lightning's other doors: a checkpoint as a module, and the trainer's test, predict and validate, as it comes."""

import pytest
import pytorch_lightning as pl
import torch
from helpers import Memory, SmallBackbone, small_batch
from torch.utils.data import DataLoader, TensorDataset

from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.datamodules import ConceptWorldDataModule
from lightning_advinterp.objectives import Madry
from lightning_advinterp.training.callbacks import AccuracyCallback, PicturesCallback
from lightning_advinterp.training.module import RobustClassifier
from lightning_advinterp.training.optimization import OptimizerConfig

pytestmark = [
    pytest.mark.filterwarnings("ignore:You have overridden `on_.*_batch_transfer`"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
]
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def trainer(*callbacks, **settings):
    """Lightning's trainer with its own defaults, inference mode among them."""
    return pl.Trainer(accelerator="cpu", max_epochs=1, callbacks=list(callbacks), **QUIET | settings)


@pytest.fixture(scope="module")
def data():
    return ConceptWorldDataModule(train_size=16, val_size=12, test_size=13, image_size=16, batch_size=8, num_workers=0)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A module and the checkpoint of its training."""
    torch.manual_seed(0)
    module = RobustClassifier("cifar_resnet20", num_classes=data.num_classes, image_size=16, seed=5)
    run = trainer(inference_mode=False)
    run.fit(module, datamodule=data)
    path = tmp_path_factory.mktemp("run") / "last.ckpt"
    run.save_checkpoint(path)
    return module.eval(), path


def test_a_checkpoint_becomes_a_module(trained, data):
    module, path = trained
    x = torch.rand(3, 3, 16, 16)
    loaded = RobustClassifier.load_from_checkpoint(path, map_location="cpu", strict=True).eval()
    assert torch.equal(loaded(x), module(x))
    assert (loaded.classes, loaded.class_names, loaded.seed) == (data.classes, data.class_names, 5)
    chosen = RobustClassifier.load_from_checkpoint(
        str(path), objective=Madry(AttackConfig("fgsm", "4/255")), optimizer=OptimizerConfig("adamw", lr=1e-3), seed=7
    )
    assert (type(chosen.objective), chosen.optimizer_config.name, chosen.objective.seed) == (Madry, "adamw", 7)
    trainer(inference_mode=False).fit(chosen, datamodule=data)


def test_a_file_that_is_no_checkpoint_is_refused_in_words(tmp_path):
    torch.save({"state_dict": SmallBackbone().state_dict()}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="was not written by a run of this project"):
        RobustClassifier.load_from_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("inference_mode", [True, False])
def test_every_pass_of_the_trainer(trained, data, inference_mode):
    module, path = trained
    watchers = (
        AccuracyCallback((AttackConfig("pgd", "4/255", steps=2),), limit=6, batch_size=4),
        PicturesCallback(images=2, attack=AttackConfig("fgsm", "4/255")),
    )
    (validated,) = trainer(*watchers, inference_mode=inference_mode).validate(module, datamodule=data, verbose=False)
    assert {"val/loss", "val/acc", "val/acc5", "val/pgd_acc"} <= validated.keys()
    (tested,) = trainer(inference_mode=inference_mode).test(module, datamodule=data, verbose=False)
    assert set(tested) == {"test/loss", "test/acc", "test/acc5"}
    logits = torch.cat(trainer(inference_mode=inference_mode).predict(module, datamodule=data))
    labels = torch.cat([batch.label for batch in data.predict_dataloader()])
    assert logits.shape == (13, data.num_classes)
    assert tested["test/acc"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    again = trainer(inference_mode=inference_mode).test(module, datamodule=data, ckpt_path=path, verbose=False)
    assert again == [tested]


def test_loaders_without_a_data_module(trained):
    module, _ = trained
    image, label, _ = small_batch(n=6, num_classes=12)
    classes = module.classes
    for loader in (DataLoader(TensorDataset(image, label), batch_size=4), DataLoader(Memory(small_batch(n=6)), 4)):
        assert len(trainer().validate(module, loader, verbose=False)) == 1
    logits = trainer().predict(module, DataLoader(image, batch_size=3))  # three images are no batch of three fields
    assert [len(part) for part in logits] == [3, 3]
    assert torch.allclose(torch.cat(logits), module.eval()(image), atol=1e-5)
    assert module.classes == classes


def test_training_batches_without_indices_are_refused_in_words(trained):
    image, label, index = small_batch(n=6)
    assert torch.equal(Batch.of([image, label]).index, torch.full((6,), -1))
    assert Batch.of((image, label, index), indexed=True).index is index
    for batch in ((image, label), image, {"image": image}, (image, label, index, index), (image, "label")):
        with pytest.raises(ValueError, match="a batch must be images, labels and their indices in the data set, got a"):
            Batch.of(batch, indexed=True)
