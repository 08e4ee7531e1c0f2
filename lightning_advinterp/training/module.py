"""The LightningModule: a network, an objective, and what Lightning needs to know about them.

Start reading here. ``training_step`` hands the batch to the objective; everything an experiment varies (the
network, the objective and its attack, the optimiser, the schedule) comes in through the constructor.

Log keys: ``train/loss`` and ``train/{part}`` for every part of the objective's loss are one process's of one batch, and
``train/lr`` is the step's learning rate. At the epoch's end monitors see under these keys the mean over all images and
processes, which is also logged as ``train/loss_epoch`` and ``train/{part}_epoch``. ``val/loss``, ``val/acc`` and
``val/acc5``: clean images. Accuracy under attack (``val/{attack}_acc``) belongs to
:class:`~lightning_advinterp.training.callbacks.accuracy.AccuracyCallback`, so that no checkpoint decides by which
attack a network is judged.
"""

from pathlib import Path
from typing import Any, Literal, Self

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn

from lightning_advinterp.core.randomness import mixed_seed
from lightning_advinterp.data.batch import Batch, check_range
from lightning_advinterp.data.numbered import numbered
from lightning_advinterp.datamodules.described import describe
from lightning_advinterp.datamodules.lightning_internals import adapt_training_loader, attached_trainer
from lightning_advinterp.networks import Network, create_network
from lightning_advinterp.networks.checkpoint import CHECKPOINT_FORMAT
from lightning_advinterp.networks.choice import with_options, with_outputs
from lightning_advinterp.networks.compiled import CompiledPasses, check_backend, compile_passes, compiled
from lightning_advinterp.networks.from_module import as_sized_network
from lightning_advinterp.networks.modes import batch_of_one_explained
from lightning_advinterp.networks.normalization import Channels, said_statistics
from lightning_advinterp.networks.same_outputs import require_recorded_outputs, require_same_outputs
from lightning_advinterp.networks.softplus_layers import exchange_relu
from lightning_advinterp.objectives import Objective, Standard
from lightning_advinterp.training.clean_images import JudgedOnCleanImages
from lightning_advinterp.training.course import check_course, training_length
from lightning_advinterp.training.epoch_means import EpochMeans
from lightning_advinterp.training.from_checkpoint import module_from_checkpoint
from lightning_advinterp.training.logged import reduce_logged
from lightning_advinterp.training.optimization import OptimizerConfig, ScheduleConfig, create_optimizer, create_schedule


class RobustClassifier(JudgedOnCleanImages):
    """An image classifier trained by any objective.

    Args:
        network: torchvision name (``resnet18``), ``timm/NAME``, ``cifar_resnet20``, or a class path; in Python also a
            network that is built, or a module from images ``[B, 3, H, W]`` in [0, 1] to logits, of which a copy is
            taken: it needs image_size, and is not normalised unless mean and std say so.
        weights: initial weights: an enum name (``IMAGENET1K_V1``), ``pretrained``, or a file.
        num_classes: number of outputs; a head of another size than the weights' is made anew.
        image_size: side of the input images in pixels, recorded with the network.
        stem: ``small`` or ``medium`` gives ResNets a first layer for 32 or 64 px images.
        network_options: further arguments of the network's constructor.
        mean: of the pixels in [0, 1], which images are normalised by: a number for all channels, one for each, or none,
            imagenet or half; by default what the weights say, else what is usual for the architecture, and nothing for
            a class path.
        std: likewise; not needed where mean is a name.
        weights_set: which of several sets of tensors in the weights' file, such as ema; the raw weights by default.
        new_head: start the last layer afresh, although the weights have one of the right size: for other classes.
        softplus: train with softplus layers of this β in the place of the ReLU layers; the checkpoint records it.
        objective: what a training step minimises.
        optimizer: the optimiser and its settings.
        schedule: the learning rate's course.
        channels_last: memory format of weights and images; faster on GPUs with tensor cores.
        compile: compile the passes of training and validation, attacks included; a string names a backend of
            ``torch.compile``. Analyses and callbacks stay eager.
        seed: the samples' random draws derive from (seed, epoch, index).
    """

    def __init__(
        self,
        network: str = "resnet18",
        weights: str | None = None,
        num_classes: int | None = None,
        image_size: int | None = None,
        stem: Literal["small", "medium"] | None = None,
        network_options: dict[str, Any] | None = None,
        mean: Channels | None = None,
        std: Channels | None = None,
        weights_set: str | None = None,
        new_head: bool = False,
        softplus: float | None = None,
        objective: Objective | None = None,
        optimizer: OptimizerConfig = OptimizerConfig(),
        schedule: ScheduleConfig = ScheduleConfig(),
        channels_last: bool = False,
        compile: bool | str = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        built: Any = network
        if isinstance(built, nn.Module) and not isinstance(built, Network):
            built = as_sized_network(built, image_size, said_statistics(mean, std))
        elif not isinstance(built, Network):
            settings = {"num_classes": num_classes, "input_size": image_size, "stem": stem, "mean": mean, "std": std}
            settings |= {"weights_set": weights_set, "new_head": new_head} | {"softplus": softplus}
            built = create_network(network, weights, **with_options(settings, network_options))
        if softplus is not None:
            exchange_relu(built, softplus)
        self.network: Network = built
        self.objective = objective or Standard()
        self.objective.seed = seed
        self.optimizer_config, self.schedule_config = optimizer, schedule
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network.to(memory_format=self.memory_format)
        self.compile_backend = "inductor" if compile is True else compile or None
        if self.compile_backend is not None:
            check_backend(self.compile_backend)
        self._passes: CompiledPasses | None = None
        self.seed = seed
        self._backward_inputs: tuple[Tensor, ...] = ()
        self._index_on_host: Tensor | None = None
        self._augmenting: Any = None
        self._resumed_schedules: list[dict[str, Any]] = []
        self.train_means = EpochMeans()
        self._resumed_means: list[dict[str, list[float]]] = []
        self._logged_in: dict[str, int] = {}
        self._resumed_value: tuple[int, float] | None = None
        self.classes: list[str] = []
        self.class_names = []
        self.resize: int | None = None
        outputs = self.network.num_classes
        if outputs < 2:
            raise ValueError(f"num_classes must be 2 or more, since a classifier chooses among them, got {outputs}.")
        self.create_metrics(outputs)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # what it takes and ignores has no meaning here
        cls, checkpoint_path: str | Path, map_location: Any = None, hparams_file: Any = None, **kwargs: Any
    ) -> Self:
        """Rebuild a module with the checkpoint's network, see :func:`~.from_checkpoint.module_from_checkpoint`."""
        module = module_from_checkpoint(cls, checkpoint_path, kwargs)
        return module if map_location is None else module.to(map_location)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, K]`` of images ``[B, 3, H, W]`` in [0, 1]."""
        logits: Tensor = self.network(x)
        return logits

    def take_classes(self, data: pl.LightningDataModule | None) -> None:
        """Take the names of the classes from a data module that is set up; weights of other classes are refused.

        Raises:
            ValueError: naming the first class that differs.
        """
        description = describe(data)
        self.classes = description.classes or []
        self.class_names = self.classes if description.class_names is None else description.class_names
        self.resize = description.resize
        origin = self.network.origin
        named = with_outputs(origin, self.classes, self.class_names)
        remedy = "set model.new_head: true to start the last layer afresh, or take data of the weights' classes"
        require_same_outputs(origin, named, f"model.weights ({origin.weights}) and the data", remedy)
        if self.classes:
            self.network.origin = named

    def setup(self, stage: str) -> None:
        """Take the class names from the data module, and see whether its batches suit the objective."""
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:  # without a data module, what a checkpoint said stays
            self.take_classes(data)
        description = describe(data)
        self._augmenting = data if description.augments_on_device else None
        if stage == "fit":
            adapt_training_loader(self, numbered)
        if stage == "fit" and (advice := self.objective.advice(description.replays)) is not None:
            rank_zero_warn(advice)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """See that all labels are outputs of the network, before a GPU stops without a word."""
        batch = Batch.of(batch, indexed=self.trainer.training)
        labels = batch.label
        if not (self.trainer.testing or self.trainer.predicting) and labels.device.type == "cpu" and labels.ndim == 1:
            check_range(labels, self.network.num_classes)
        self._index_on_host = batch.index
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:
        """Make float images on the device, after they travelled as uint8; augment them there if that was left to do."""
        batch = Batch(*batch)
        if self._augmenting is not None and self.trainer.training:
            batch = self._augmenting.augment_batch(batch, self.current_epoch)
        image, label, index = batch.to_float()
        host, self._index_on_host = self._index_on_host, None
        return Batch(image.contiguous(memory_format=self.memory_format), label, index).keeping(host)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Derive the global random state (dropout) from (seed, epoch, process, step), so that a resumed run repeats it.

        Once an epoch would not do: whether a loader draws before or after the epoch's start differs after a resume.
        """
        torch.manual_seed(mixed_seed(self.seed, self.current_epoch, self.global_rank, batch_idx))

    @property
    def passes(self) -> CompiledPasses | None:
        """The compiled passes, made at the first step (a copy of the module makes its own); None without any."""
        if self._passes is None and self.compile_backend is not None:
            self._passes = compile_passes(self.network, self.compile_backend)
        return self._passes

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Hand the batch to the objective and log what comes back."""
        with batch_of_one_explained(self.network, len(batch.label)), compiled(self.network, self.passes):
            loss = self.objective(self.network, batch, epoch=self.current_epoch)
        size = len(batch.label)
        self.log("train/loss", loss.total.detach(), prog_bar=True, batch_size=size)
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"], batch_size=size)
        for name, value in loss.parts.items():
            self.log(f"train/{name}", value, prog_bar=name in ("acc", "adv_acc"), batch_size=size)
        self.train_means.add({"loss": loss.total, **loss.parts}, size)
        self._backward_inputs = loss.inputs
        return loss.total

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Fill the gradients of the parameters, and of what the objective asks for, alone.

        The images that an attack differentiated want none of the loss.
        """
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        kwargs.setdefault("inputs", [*trainable, *self._backward_inputs])
        self._backward_inputs = ()  # they hold the last batch's memory
        loss.backward(*args, **kwargs)  # type: ignore[no-untyped-call]

    def log(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        """Log, and note in which epoch: Lightning keeps showing monitors the value of an earlier one."""
        super().log(name, value, *args, **kwargs)
        trainer = attached_trainer(self)
        if trainer is not None and not trainer.sanity_checking:
            self._logged_in[name] = self.current_epoch

    def logged_this_epoch(self, name: str) -> bool:
        """Whether a value of this key was logged in the epoch under way."""
        return self._logged_in.get(name) == self.current_epoch

    def configure_optimizers(self) -> Any:
        """Build the optimiser and its schedule."""
        optimizer = create_optimizer(self.network, self.optimizer_config)
        total, per_epoch = training_length(self.trainer)
        schedule = create_schedule(optimizer, self.schedule_config, total_steps=total, steps_per_epoch=per_epoch)
        if self._resumed_schedules:  # Lightning lets the schedule take up this state next
            check_course(self._resumed_schedules[0], schedule["scheduler"])
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_start(self) -> None:
        """Go on with the means of an epoch that is resumed."""
        self.train_means.load_state_dict(self._resumed_means, self.global_rank)
        self._resumed_means = []

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means; a plateau schedule judges it, if it was measured, before the checkpoint is written."""
        reduce_logged(self.trainer)
        for name, value in self.train_means.compute().items():
            # The values agree already; sync_dist keeps Lightning from warning that they might not.
            self.log(f"train/{name}", value, on_epoch=True, logger=False, sync_dist=True)
            self.log(f"train/{name}_epoch", value, on_epoch=True, sync_dist=True)
        self.train_means.clear()
        for schedule in self.trainer.lr_scheduler_configs:
            judged = self._judged_by(schedule.monitor) if schedule.reduce_on_plateau else None
            if judged is not None:
                schedule.scheduler.step(judged)  # type: ignore[arg-type]  # a plateau takes what it judges by

    def _judged_by(self, monitor: str | None) -> float | None:
        """The monitored value, if it was measured in this epoch, before a checkpoint from within it or since."""
        value = self.trainer.callback_metrics.get(monitor or "")
        if value is not None and self.logged_this_epoch(monitor or ""):
            return float(value)
        epoch, resumed = self._resumed_value or (None, None)
        return resumed if epoch == self.current_epoch else None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add all that rebuilds the network from the file alone, and the objective's state, as plain types."""
        state = self.objective.state_dict()
        if state:
            checkpoint["objective"] = state
        judged = self._judged_by(self.schedule_config.monitor) if self.schedule_config.name == "plateau" else None
        checkpoint["epoch_under_way"] = {
            "means": self.train_means.state_dict(),
            "plateau": None if judged is None else [self.current_epoch, judged],
        }
        checkpoint["advinterp"] = {
            "format": CHECKPOINT_FORMAT,
            "network": self.network.spec(),
            "classes": self.classes,
            "class_names": self.class_names,
            "phi": self.network.phi,
            "seed": self.seed,
            "resize": self.resize,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the objective's state, and what was measured of the epoch under way."""
        under_way = checkpoint.get("epoch_under_way", {})
        self._resumed_means, self._resumed_value = under_way.get("means", []), under_way.get("plateau")
        self.objective.load_state_dict(checkpoint.get("objective", {}))
        self._resumed_schedules = checkpoint.get("lr_schedulers", [])
        require_recorded_outputs(checkpoint, self.network.origin, "resume: the checkpoint")
