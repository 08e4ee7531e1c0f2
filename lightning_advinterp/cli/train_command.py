"""The training command: parsing and wiring only."""

import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import yaml
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

from lightning_advinterp.cli.train_comparison import as_standard, judged, objective_name
from lightning_advinterp.cli.train_keys import TrainParser, add_keys
from lightning_advinterp.core.errors import plain_errors, stops_explained
from lightning_advinterp.core.locks import held
from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.core.settings import check_numbers
from lightning_advinterp.core.shipped import with_configurations
from lightning_advinterp.core.terminal import terminal
from lightning_advinterp.core.trust import trusting, vouch_for
from lightning_advinterp.data.broden import BrodenError
from lightning_advinterp.data.decode import BadImageError
from lightning_advinterp.datamodules import ConceptWorldDataModule
from lightning_advinterp.datamodules.cifar import CIFAR10DataModule
from lightning_advinterp.datamodules.image_folder import ImageFolderDataModule
from lightning_advinterp.networks.overridden import without_foreign_stem
from lightning_advinterp.report.vector import figure_formats
from lightning_advinterp.training.callbacks import (
    AccuracyCallback,
    BudgetCallback,
    FiniteLossCallback,
    MonitorsCallback,
    TensorBoardCallback,
    ThroughputCallback,
)
from lightning_advinterp.training.callbacks.watch import SHORTHANDS, watchers
from lightning_advinterp.training.module import RobustClassifier
from lightning_advinterp.training.monitors import monitors, others_may_log
from lightning_advinterp.training.outcome import print_outcome
from lightning_advinterp.training.page import page_of, save_page
from lightning_advinterp.training.preflight import check
from lightning_advinterp.training.resume import Start
from lightning_advinterp.training.run_directory import RunDirectory
from lightning_advinterp.training.taking_up import taking_up
from lightning_advinterp.training.trainer import create_trainer

__all__ = ["TrainCLI", "fit", "train"]

_log = logging.getLogger(__name__)

_EXPECTED_WARNINGS = (
    "Checkpoint directory .* exists and is not empty",  # the folder of a run is fixed, so that it can go on
    "You have overridden `on_(before|after)_batch_transfer` in `LightningModule`",  # these are meant
    "The '.*_dataloader' does not have many workers",  # the concept world lies in memory and needs none
    "Total length of `list` across ranks is zero",  # said before, of a run without validation images
    "You defined a `validation_step` but have no `val_dataloader`",
    ".*LeafSpec",  # pytorch-lightning 2.6.6 on torch 2.15
)
"""Lightning's warnings about what is intended here."""

DATA_MODULES = (ConceptWorldDataModule, ImageFolderDataModule, CIFAR10DataModule)
"""What a configuration may name without its path; any other data module by class path."""


class TrainCLI(LightningCLI):
    """LightningCLI with this project's top-level keys.

    Checkpointing and everything that watches a run are keys of their own (``null`` = off), never entries of
    ``trainer.callbacks``: a second ``--config`` replaces a list, but merges keys.
    """

    @classmethod
    def parse(cls, args: Sequence[str] | None = None) -> "TrainCLI":
        """Parse a command line and build all that it names, without training.

        Args:
            args: the command line, ``sys.argv`` if left out.
        """
        with trusting():  # what a configuration vouches for ends with the command
            return cls(
                RobustClassifier,
                pl.LightningDataModule,
                subclass_mode_data=True,
                save_config_callback=None,
                trainer_defaults={"inference_mode": False},
                seed_everything_default=0,
                args=None if args is None else list(args),
                run=False,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                parser_class=TrainParser,
                parser_kwargs={"description": "Train an image classifier; see configs/ for complete examples."},
            )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the keys beside ``trainer``, ``model`` and ``data``, and link what must agree."""
        add_keys(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and refuse what would break a run later."""
        words = with_configurations(sys.argv[1:] if args is None else list(args))
        self.config = parser.parse_args(_switched_on(without_foreign_stem(words, "model.")))
        check_numbers(self.config)
        if self.config.trainer.inference_mode:
            parser.error(
                "trainer.inference_mode must be false: attacks and explanations need gradients during validation, "
                "and tensors made in inference mode never have them. Leave the key out."
            )
        limits = self.config.trainer
        if limits.max_epochs is None and limits.max_steps == -1 and limits.max_time is None:
            limits.max_epochs = 10
        if str(self.config.trainer.precision).startswith("16"):
            warnings.warn(
                "trainer.precision: 16-mixed does not scale the losses of attacks, whose gradients may vanish; "
                "bf16-mixed has float32's range.",
                stacklevel=2,
            )

    def instantiate_classes(self) -> None:
        """Build the data module, the module, the callbacks and the trainer."""
        vouch_for(self.config, files=self.config.trust)
        self.config_init = self.parser.instantiate(self.config)
        self.datamodule: pl.LightningDataModule = self.config_init.data
        self.model: RobustClassifier = self.config_init.model
        if self.config.trainer.sync_batchnorm:
            self.model.objective.check_even_passes()
        self.watched = watchers(self.config.watch)
        formats = figure_formats(self.config.figures)
        for name in set(SHORTHANDS) & set(self.config.watch or {}):
            self.config_init[name] = None  # what `watch` says of a question counts
        for callback in (self.config_init.pictures, *self._asking()):
            if callback is not None:
                callback.figure_formats = formats
        self.directory = RunDirectory.of(self.config.output, self.config.name)
        self.trainer = self.instantiate_trainer()

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Build the trainer; Lightning's own would know nothing of the run's folder."""
        return create_trainer(dict(self.config_init.trainer), self.directory, self._watchers(), **kwargs)

    def _watchers(self) -> list[pl.Callback]:
        """The callbacks of the top-level keys, in the order in which they act.

        Averaged weights are taken away at the end of a validation epoch, so what measures them comes before;
        checkpoints come last, so that they see what the others log.
        """
        watchers = [*self._asking(), self.config_init["guard"], self.config_init["pictures"]]
        seconds = self.config.watch_seconds
        watchers += [self.config_init["ema"], self.config_init["export"]]
        watchers += [] if seconds is None else [BudgetCallback(seconds)]
        attacks = [] if self.accuracy is None else list(self.accuracy.attacks())
        settings = yaml.safe_load(self.config_text)
        chosen: Mapping[str, Any] = {key: settings[key] for key in ("model", "data", "seed_everything")}
        monitored = {} if others_may_log(self.config_init) else {m.key: m.owner for m in monitors(self.config_init)}
        watchers += [
            MonitorsCallback(monitored),
            FiniteLossCallback(self.directory.path),
            ThroughputCallback(),
            TensorBoardCallback(chosen, attacks),
        ]
        if self.config.trainer.fast_dev_run or self.config.trainer.enable_checkpointing is False:
            return [watcher for watcher in watchers if watcher is not None]
        watchers += self.directory.checkpoint_callbacks(self.config_init.checkpoint)
        return [watcher for watcher in watchers if watcher is not None]

    def _asking(self) -> list[Any]:
        """The callbacks that ask questions, wherever they were configured."""
        callbacks = [*(self.config_init[key] for key in SHORTHANDS), *self.watched]
        return [callback for callback in callbacks if callback is not None]

    @property
    def accuracy(self) -> AccuracyCallback | None:
        """The callback that measures accuracy under attack, wherever it was configured."""
        callbacks = [callback for callback in self.watched if isinstance(callback, AccuracyCallback)]
        shorthand: AccuracyCallback | None = self.config_init.accuracy
        return callbacks[0] if callbacks else shorthand

    @cached_property
    def config_text(self) -> str:
        """The resolved configuration as YAML that ``--config`` takes; it costs as much as parsing it."""
        text: str = self.parser.dump(self.config, skip_unset=False)
        return text

    def check(self) -> Start | None:
        """See that the run can go through to its end, and return where it goes on; see :mod:`.preflight`."""
        return check(self.config_init, self.directory, self.trainer, self.config_text)

    def fit(self, start: Start | None = None) -> None:
        """Train, or go on from a checkpoint."""
        if self.trainer.is_global_zero and not self.config.trainer.fast_dev_run:
            self.directory.save_config(self.config_text)
        if start is not None:
            _log.warning("Resuming from %s.", start)
        checkpoint = None if start is None else start.path
        with warnings.catch_warnings(), taking_up(checkpoint):
            for message in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message)
            self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=checkpoint, weights_only=True)


@trusting()
def fit(args: Sequence[str] | None = None) -> TrainCLI:
    """Train as configured, or go on where the run stopped.

    Args:
        args: the command line, ``sys.argv`` if left out.

    Returns:
        What was built from it, trained.
    """
    with stops_explained(BadImageError, BrodenError) as command, ExitStack() as stack:
        with plain_errors(MisconfigurationException):
            cli = TrainCLI.parse(args)
            vouch_for(cli.config, files=cli.config.trust)
            if cli.config.dry_run:  # a file's would train, or be passed over, unseen
                raise ValueError("dry_run: give it on the command line of train.py, --dry_run.")
            if cli.trainer.is_global_zero and not cli.config.trainer.fast_dev_run:
                # Before anything is looked at: another process may be about to change it.
                stack.enter_context(held(cli.directory.path))
                command.folder = cli.directory.path
            start = cli.check()
        cli.fit(start)
    return cli


@trusting()
def train(args: Sequence[str] | None = None) -> None:
    """Train as configured, then print what came of it.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    keep_freed_memory()
    with stops_explained(BadImageError, BrodenError) as command:
        if _say_what_it_takes(args):
            return
        cli = fit(args)
        command.folder = cli.directory.path
        _compare_and_print(cli)


def _say_what_it_takes(args: Sequence[str] | None) -> bool:
    """Print what a run takes, where its command line asks for that alone; return whether it does."""
    words = sys.argv[1:] if args is None else list(args)
    if not any(word.split("=")[0] == "--dry_run" for word in words):
        return False
    # Evaluations are imported with it, which a training does not wait for.
    from lightning_advinterp.cli.train_trial import estimate_training, print_estimate

    with plain_errors(MisconfigurationException):
        cli = TrainCLI.parse(words)
        vouch_for(cli.config, files=cli.config.trust)
        if cli.config.dry_run:
            print_estimate(estimate_training(cli, TrainCLI.parse, words), cli, terminal())
    return bool(cli.config.dry_run)


def _switched_on(words: Sequence[str], flag: str = "--dry_run") -> list[str]:
    """Let a flag stand alone, as in the other commands."""
    ends = [*words[1:], "-"]
    return [
        f"{flag}=true" if word == flag and end.startswith("-") else word for word, end in zip(words, ends, strict=True)
    ]


def _compare_and_print(cli: TrainCLI) -> None:
    if cli.trainer.interrupted or cli.config.trainer.fast_dev_run or not cli.trainer.is_global_zero:
        return
    runs = {objective_name(cli): cli}
    networks = {objective_name(cli): judged(cli)}
    if cli.config.compare_with_standard and cli.trainer.world_size > 1:
        _log.warning(
            "compare_with_standard: only on one process; train the standard objective by a command of its own."
        )
    elif cli.config.compare_with_standard:
        standard = fit(as_standard(cli))
        runs[objective_name(standard)] = standard
        networks[objective_name(standard)] = judged(standard)
    pages = [save_page(run.directory, run.trainer, networks[name], name) for name, run in runs.items()]
    page = page_of(pages) if pages[0] is not None else None
    accuracies = {name: results.get("accuracy") for name, results in networks.items()}
    print_outcome(accuracies, cli.directory, terminal(), page, cli.trainer.loggers)
