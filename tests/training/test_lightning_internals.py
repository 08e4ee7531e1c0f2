"""Lightning's private parts: used in one file, with versions that the test suite has passed with."""

import ast
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from packaging.requirements import Requirement
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from lightning_advinterp.datamodules import lightning_internals as internals
from lightning_advinterp.training.callbacks.ema import EMACallback

ADAPTER = Path(internals.__file__)
PACKAGE = ADAPTER.parents[1]
LIGHTNING_ROOMS = ("training", "cli", "datamodules")
LIGHTNING = {"pytorch_lightning", "lightning_fabric"}
INTERNAL_NAMES = {"fit_loop", "epoch_loop", "val_loop", "batch_progress", "epoch_progress", "_trainer"}


def test_the_installed_version_is_one_that_was_proven():
    installed = version("pytorch-lightning")
    assert installed in internals.PROVEN, (
        f"pytorch-lightning {installed}: run the whole test suite; where it passes, add the version to PROVEN in "
        f"{ADAPTER.name}, and raise the upper bound in pyproject.toml where it excludes it."
    )


def test_the_project_pins_what_was_proven():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = {parsed.name: parsed for parsed in map(Requirement, project["dependencies"])}
    requirement = requirements["pytorch-lightning"]
    assert {specifier.operator for specifier in requirement.specifier} == {">=", "<"}
    assert all(proven in requirement.specifier for proven in internals.PROVEN)


def defined_names(nodes):
    """Return the functions and attributes that a file defines itself."""
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    return names | {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and hasattr(node.target, "id")}


def private_names_of_lightning():
    """Return the private attributes of the classes that the package uses."""
    instances = [pl.LightningModule(), ModelCheckpoint(), EarlyStopping("loss"), EMACallback()]
    names = {*dir(pl.Trainer), *dir(pl.LightningModule), *(name for instance in instances for name in vars(instance))}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def private_uses(path):
    """Yield where a file touches what Lightning keeps to itself."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    private = (INTERNAL_NAMES | private_names_of_lightning()) - defined_names(nodes)
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in private:
            yield f"{node.lineno}: {node.attr}"
        elif isinstance(node, ast.Constant) and node.value in INTERNAL_NAMES:
            yield f"{node.lineno}: {node.value!r}"
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in LIGHTNING:
            yield from (f"{node.lineno}: {alias.name}" for alias in node.names if alias.name.startswith("_"))


def test_no_other_file_touches_them():
    touched = []
    for room in LIGHTNING_ROOMS:
        for path in (PACKAGE / room).rglob("*.py"):
            if path != ADAPTER:
                touched += [f"{path.relative_to(PACKAGE)}:{use}" for use in private_uses(path)]
    assert not touched
    assert list(private_uses(ADAPTER))  # the search sees them


class Line(pl.LightningModule):
    """A model of two numbers."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.ones(8, 1)), batch_size=2)

    val_dataloader = train_dataloader


class Recorder(pl.Callback):
    """Asks the adapter while a training runs."""

    def __init__(self, path):
        self.path = path
        self.follows, self.epochs = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.follows.append(internals.validation_follows(trainer))

    def on_validation_start(self, trainer, pl_module):
        self.epochs.append(internals.epochs_processed(trainer))
        trainer.save_checkpoint(self.path)


def fit(folder, model, *callbacks, **settings):
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **{"max_epochs": 2, "val_check_interval": 2} | settings,
    )
    trainer.fit(model)
    return trainer


@pytest.mark.filterwarnings("ignore::pytorch_lightning.utilities.warnings.PossibleUserWarning")
def test_what_they_say_of_a_training(tmp_path):
    model, recorder, ema = Line(), Recorder(tmp_path / "ahead.ckpt"), EMACallback(0.5)
    assert internals.attached_trainer(model) is None
    trainer = fit(tmp_path, model, recorder, ema)
    assert internals.attached_trainer(model) is trainer
    assert recorder.follows == [False, True] * 4  # four batches an epoch, a validation every two
    assert recorder.epochs == [0, 0, 1, 1]
    assert internals.epochs_processed(trainer) == 2
    assert internals.averaged_model(ema).n_averaged == 8
    assert not internals.copies_this_process(trainer)
    checkpoint = torch.load(recorder.path, weights_only=False)
    assert internals.progress_in(checkpoint) == (2, 1, 4)
    assert internals.progress_in({"state_dict": {}}) is None


def test_a_strategy_that_copies_the_process_is_told():
    trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp_spawn", logger=False)
    assert internals.copies_this_process(trainer)


@pytest.mark.parametrize(
    ("callback", "moment"),
    [
        (EarlyStopping("loss"), None),
        (EarlyStopping("loss", check_on_train_epoch_end=True), True),
        (ModelCheckpoint(), None),
        (ModelCheckpoint(save_on_train_epoch_end=False), False),
        (ModelCheckpoint(every_n_train_steps=3), False),
    ],
)
def test_when_a_callback_looks_at_its_monitor(callback, moment):
    assert internals.looks_at_epoch_end(callback) is moment


def test_an_entry_that_cannot_be_taken_up_is_raised_while_restoring(tmp_path):
    model = Line()
    trainer = fit(tmp_path, model, max_epochs=1, limit_val_batches=0)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=False)
    checkpoint["optimizer_states"] = [7]
    torch.save(checkpoint, tmp_path / "damaged.ckpt")
    with pytest.raises(AttributeError, match="copy") as caught:
        trainer.fit(Line(), ckpt_path=tmp_path / "damaged.ckpt", weights_only=False)
    assert internals.raised_while_restoring(caught.value)
    assert not internals.raised_while_restoring(ValueError("of something else"))
