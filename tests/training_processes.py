"""Trainings on several processes through Lightning, and the same by hand in one process."""

import contextlib
import copy
import io
import logging
import os
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from helpers import Memory, SmallBackbone, small_batch
from torch.utils.data import DataLoader

from lightning_advinterp.analyses.fragility.config import FragilityConfig
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.datamodules.base import ImageDataModule
from lightning_advinterp.objectives import (
    AWP,
    Consistency,
    EnsembleAdversarial,
    Fast,
    Free,
    GradAlign,
    HessianNorm,
    IGNorm,
    IGSumNorm,
    Kurakin,
    Madry,
    Mart,
    SourceNetwork,
    Standard,
    Trades,
)
from lightning_advinterp.training.layer_sync import SyncBatchNormPlugin
from lightning_advinterp.training.module import RobustClassifier
from lightning_advinterp.training.optimization import OptimizerConfig, ScheduleConfig

SHARE, STEPS, LR = 4, 3, 0.05
"""Images per process and step, steps, and learning rate."""
PGD = AttackConfig("pgd", "16/255", steps=2)
FRAGILITY = FragilityConfig("quick", eps=("16/255",), steps=2, faithfulness=0, pool=2, seed=2)
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def save_source(folder):
    """The weights of the static network that EnsembleAdversarial attacks besides."""
    torch.manual_seed(9)
    torch.save(SmallBackbone().state_dict(), Path(folder) / "source.pth")


def objectives(folder):
    """Every objective, and every way in which its forward passes meet BatchNorm."""
    weights = str(Path(folder) / "source.pth")
    source = SourceNetwork(network="helpers.SmallBackbone", weights=weights, options={"num_classes": 5})
    return {
        "standard": Standard(),
        "madry": Madry(PGD),
        "madry, bn: eval": Madry(PGD, bn="eval"),
        "fast": Fast(),
        "kurakin": Kurakin(),
        "consistency": Consistency(),
        "consistency, bn: eval": Consistency(bn="eval"),
        "consistency, bn: frozen": Consistency(bn="frozen"),
        "consistency, pgd": Consistency(PGD, trades_beta=3.0),
        "free": Free(),
        "trades": Trades(AttackConfig("trades", "16/255", steps=2)),
        "ensemble": EnsembleAdversarial([source]),
        "hessian norm": HessianNorm(1e-2, Consistency()),
        "hessian norm, bn: eval": HessianNorm(1e-2, bn="eval"),
        "ig norm": IGNorm(attack=PGD, path_steps=3, attack_path_steps=2),
        "ig norm, bn: eval": IGNorm(
            0.5, Consistency(bn="eval"), PGD, path_steps=3, attack_path_steps=2, recompute=True
        ),
        "ig sum norm": IGSumNorm(attack=PGD, path_steps=3, attack_path_steps=2),
        "mart": Mart(PGD),
        "consistency, mart": Consistency(PGD, mart_beta=5.0),
        "grad align": GradAlign(0.5, Consistency()),
        "grad align, bn: eval": GradAlign(0.5, Consistency(bn="eval")),
        "awp": AWP(0.05, Madry(PGD)),
        "awp, consistency": AWP(0.05, Consistency(mart_beta=5.0)),
        "awp, bn: frozen": AWP(0.05, Consistency(bn="frozen")),
    }


def joint(number):
    """The images of both processes in one step; process ``rank`` has every second one."""
    return small_batch(n=2 * SHARE, seed=50 + number, dtype=torch.float64)


def share(number, rank):
    return Batch(*(field[rank::2] for field in joint(number)))


def module_of(objective, **settings):
    torch.manual_seed(0)
    module = RobustClassifier(
        "helpers.SmallBackbone",
        num_classes=5,
        image_size=16,
        network_options={"phi": "relu2"},
        objective=objective,
        optimizer=OptimizerConfig(lr=LR, momentum=0.0, weight_decay=0.0),
        schedule=ScheduleConfig("constant"),
        seed=3,
        **settings,
    )
    return module.double()


class Notes(pl.Callback):
    """The gradients that an optimiser sees and the buffers after each step, of this process."""

    def __init__(self):
        self.gradients, self.buffers = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients.append({name: p.grad.clone() for name, p in pl_module.network.named_parameters()})

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.buffers.append({name: b.clone() for name, b in pl_module.network.named_buffers()})


@contextlib.contextmanager
def launched_from_outside(rank, world_size):
    """What torchrun sets, so that Lightning takes this process as it is."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
    variables |= {"GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
    os.environ.update({key: str(value) for key, value in variables.items()})
    yield
    for key in variables:
        del os.environ[key]


def trainer_of(world_size, *callbacks, **settings):
    return pl.Trainer(
        accelerator="cpu",
        devices=world_size,
        strategy="ddp",
        inference_mode=False,
        callbacks=list(callbacks),
        use_distributed_sampler=False,
        **QUIET | settings,
    )


def by_lightning(rank, world_size, folder, names=None, sync=False, **settings):
    """Gradients and buffers of each step of each objective, as this process sees them."""
    notes_by_name = {}
    with launched_from_outside(rank, world_size):
        for name, objective in objectives(folder).items():
            if names is not None and name not in names:
                continue
            notes, module = Notes(), module_of(objective, **settings)
            kinds = [type(part) for part in module.network.modules()]
            extra = {"plugins": [SyncBatchNormPlugin()], "sync_batchnorm": True} if sync else {}
            images = [share(number, rank) for number in range(STEPS)]
            loader = DataLoader(images, batch_size=None)
            trainer_of(world_size, notes, max_epochs=1, **extra).fit(module, loader)
            assert [type(part) for part in module.network.modules()] == kinds
            notes_by_name[name] = {"gradients": notes.gradients, "buffers": notes.buffers}
    return notes_by_name


def gradients_of(module, batch):
    module.zero_grad()
    module.objective(module.network, batch, epoch=0).total.backward()
    return {name: parameter.grad.clone() for name, parameter in module.network.named_parameters()}


def step(module, gradients):
    with torch.no_grad():
        for name, parameter in module.network.named_parameters():
            parameter.sub_(LR * gradients[name])


def by_hand(objective, world_size=2):
    """The same on one process: each share through a network of its own, and the mean of their gradients.

    As DDP documents it, each step begins with the buffers of process 0.
    """
    objective.seed = 3
    replicas = [module_of(copy.deepcopy(objective)) for _ in range(world_size)]
    notes_by_rank = [{"gradients": [], "buffers": []} for _ in range(world_size)]
    for number in range(STEPS):
        buffers = {name: b.clone() for name, b in replicas[0].network.named_buffers()}
        shares = []
        for rank, module in enumerate(replicas):
            for name, buffer in module.network.named_buffers():
                buffer.copy_(buffers[name])
            shares.append(gradients_of(module, share(number, rank)))
        mean = {name: sum(part[name] for part in shares) / world_size for name in shares[0]}
        for module, notes in zip(replicas, notes_by_rank, strict=True):
            step(module, mean)
            notes["gradients"].append(mean)
            notes["buffers"].append({name: b.clone() for name, b in module.network.named_buffers()})
    return notes_by_rank, shares


def jointly_by_hand(objective):
    """The same on one process whose batches hold the images of both."""
    module = module_of(objective)
    notes = {"gradients": [], "buffers": []}
    for number in range(STEPS):
        both = Batch(*(torch.cat(fields) for fields in zip(share(number, 0), share(number, 1), strict=True)))
        gradients = gradients_of(module, both)
        step(module, gradients)
        notes["gradients"].append(gradients)
        notes["buffers"].append({name: b.clone() for name, b in module.network.named_buffers()})
    return notes


class Uneven(ImageDataModule):
    """An odd number of validation images: the processes' shares, and the numbers of their batches, differ."""

    num_classes, image_size, classes = 5, 16, ()

    def __init__(self, val=9):
        super().__init__(batch_size=4, num_workers=0, seed=3)
        self.train_dataset = Memory(small_batch(n=18, dtype=torch.float64))
        self.val_dataset = Memory(small_batch(n=val, seed=50, dtype=torch.float64))


class Batches(pl.Callback):
    """How many validation batches this process sees, and of which images."""

    def __init__(self):
        self.index = []

    def on_validation_batch_start(self, trainer, pl_module, batch, *_):
        if not trainer.sanity_checking:
            self.index.append(batch.index.tolist())


def uneven_validation(rank, world_size):
    """Two epochs of training, each followed by a validation of 9 images: 5 in 2 batches, and 4 in 1."""
    from lightning_advinterp.training.callbacks import AccuracyCallback, FragilityCallback, GuardCallback

    batches, watch = Batches(), AccuracyCallback((PGD,), limit=7, batch_size=2)
    with launched_from_outside(rank, world_size) if world_size > 1 else contextlib.nullcontext():
        module = module_of(Consistency())
        guard = GuardCallback(8, AttackConfig("pgd", "16/255", steps=1))
        fragility = FragilityCallback(FRAGILITY, limit=None, batch_size=2, seconds=None, seed=FRAGILITY.seed)
        trainer = trainer_of(world_size, batches, watch, fragility, guard, max_epochs=2)
        trainer.fit(module, datamodule=Uneven())
        logged = {key: float(value) for key, value in trainer.callback_metrics.items() if not key.startswith("time/")}
        alone = trainer_of(world_size).validate(module, datamodule=Uneven(), verbose=False)[0]
    state = {key: value.clone() for key, value in module.network.state_dict().items()}
    return {"batches": batches.index, "logged": logged, "validate": alone, "state": state, "guard": guard.state_dict()}


class Named(Uneven):
    """The same images, of five classes of WordNet."""

    classes = ("n02084071", "n02121808", "n02958343", "n04490091", "n01503061")
    class_names = ("dog", "cat", "car", "truck", "bird")


def watched_validation(rank, world_size):
    """What dissection and semantics log of 7 concept images and 9 validation images."""
    from lightning_advinterp.analyses.dissection.config import DissectionConfig
    from lightning_advinterp.analyses.semantics.config import SemanticsConfig
    from lightning_advinterp.training.callbacks import DissectionCallback, SemanticsCallback

    fgsm, twice = AttackConfig("fgsm", "32/255"), AttackConfig("bim", "16/255", steps=2, target="random")
    watch = [
        DissectionCallback(
            attacks=(fgsm, twice),
            settings=DissectionConfig("all_conv", quantile=0.9, groups=4, replicates=5),
            limit=7,
            batch_size=3,
        ),
        SemanticsCallback((twice, fgsm), SemanticsConfig(share=0.3), limit=9, batch_size=2),
    ]
    with launched_from_outside(rank, world_size) if world_size > 1 else contextlib.nullcontext():
        strategy = "ddp" if world_size > 1 else "auto"
        common = {"accelerator": "cpu", "devices": world_size, "inference_mode": False, **QUIET}
        trainer = pl.Trainer(strategy=strategy, callbacks=watch, use_distributed_sampler=False, **common)
        trainer.validate(module_of(Standard()), datamodule=Named(), verbose=False)
        return {key: float(value) for key, value in trainer.callback_metrics.items() if not key.startswith("time/")}


SYNCHRONISED = (
    *("standard", "madry", "consistency", "consistency, pgd", "free", "trades"),
    *("hessian norm, bn: eval", "ig norm, bn: eval", "consistency, mart", "grad align, bn: eval", "awp, consistency"),
)
COMPILED = ("consistency", "madry")


def everything(rank, world_size, folder):
    """All of it from one start, which costs more than the trainings."""
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    return {
        "alone": by_lightning(rank, world_size, folder),
        "synchronised": by_lightning(rank, world_size, folder, SYNCHRONISED, sync=True),
        "compiled": by_lightning(rank, world_size, folder, COMPILED, compile="aot_eager"),
        "uneven": uneven_validation(rank, world_size),
        "watched": watched_validation(rank, world_size),
    }


class LogsAtTheEnd(pl.Callback):
    """A user's callback that logs a process's own number after every epoch."""

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.log("mine", float(trainer.global_rank), sync_dist=True)


def epochs_with_a_bar(rank, world_size):
    """What two epochs log where the first process draws a bar, which stands before or after the other callbacks."""
    from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar

    from lightning_advinterp.training.callbacks import GuardCallback
    from lightning_advinterp.training.callbacks.throughput import ThroughputCallback

    logged = []
    with launched_from_outside(rank, world_size), contextlib.redirect_stdout(io.StringIO()):
        for bar in (RichProgressBar(), TQDMProgressBar()):
            loggers = [ThroughputCallback(), LogsAtTheEnd(), GuardCallback(8, AttackConfig("fgsm", "16/255"))]
            for callbacks in ([bar, *loggers], [*loggers, bar]):
                trainer = trainer_of(world_size, *callbacks, max_epochs=2, enable_progress_bar=True)
                trainer.fit(module_of(Standard()), datamodule=Uneven())
                logged.append({key: float(value) for key, value in trainer.callback_metrics.items()})
    return logged


class Unlike(ImageDataModule):
    """The processes' shares are of two kinds, so that the last batch's loss falls on one and rises on the other."""

    num_classes, image_size, classes = 5, 16, ()

    def __init__(self):
        super().__init__(batch_size=4, num_workers=0, seed=3)
        self.train_dataset = Memory(small_batch(n=19, dtype=torch.float64))
        self.val_dataset = Memory(small_batch(n=4, seed=50, dtype=torch.float64))


class RankDependentLoss(Standard):
    """Adds to the loss a number that falls with the epochs on process 0 and rises on process 1."""

    def loss(self, network, batch, *, epoch):
        loss = super().loss(network, batch, epoch=epoch)
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        return loss._replace(total=loss.total + (100 * epoch if rank else -10 * epoch))


def plateau_on_training_loss(rank, world_size):
    """The learning rate, the weights and the monitored value of a run whose plateau watches ``train/loss``."""
    module = module_of(RankDependentLoss())
    module.schedule_config = ScheduleConfig("plateau", monitor="train/loss", patience=0, gamma=0.5)
    with launched_from_outside(rank, world_size):
        trainer = trainer_of(world_size, max_epochs=3)
        trainer.fit(module, datamodule=Unlike())
    return {
        "rate": trainer.optimizers[0].param_groups[0]["lr"],
        "value": float(trainer.callback_metrics["train/loss"]),
        "state": module.state_dict(),
    }
