"""The command lines: parsing and wiring only.

``train.py`` and ``advinterp-train`` call :func:`train`, ``evaluate.py`` and ``advinterp-evaluate`` call
:func:`evaluate`.
"""

import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from rich.console import Console

from lightning_advinterp.analyses import AccuracyAnalysis, Runner
from lightning_advinterp.analyses.analysis import Row
from lightning_advinterp.callbacks import (
    AccuracyCallback,
    GuardCallback,
    PicturesCallback,
    TensorBoardCallback,
    ThroughputCallback,
)
from lightning_advinterp.callbacks.analysis import validation_set
from lightning_advinterp.data.cifar import CIFAR10DataModule
from lightning_advinterp.data.concept_world import ConceptWorldDataModule
from lightning_advinterp.data.image_folder_module import ImageFolderDataModule
from lightning_advinterp.evaluation import Evaluation, run_evaluation
from lightning_advinterp.module import RobustClassifier
from lightning_advinterp.report.table import accuracy_table
from lightning_advinterp.run_directory import CheckpointConfig, RunDirectory

_log = logging.getLogger(__name__)
_console = Console()

DATA_MODULES = (ConceptWorldDataModule, ImageFolderDataModule, CIFAR10DataModule)
"""What a configuration may name without its path; any other data module by class path."""


class TrainCLI(LightningCLI):
    """LightningCLI with this project's top-level keys.

    Checkpointing and everything that watches a run are keys of their own (``null`` = off), never entries of
    ``trainer.callbacks``: a second ``--config`` replaces a list, but merges keys.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the keys beside ``trainer``, ``model`` and ``data``, and link what must agree."""
        parser.add_argument("--name", type=str, default="run", help="Name of the run: OUTPUT/NAME is its folder.")
        parser.add_argument("--output", type=str, default="runs", help="Folder of all runs.")
        parser.add_argument(
            "--resume",
            type=str,
            default="auto",
            help="auto: go on from the run's last checkpoint, if there is one; never; or a checkpoint file.",
        )
        parser.add_argument(
            "--compare_with_standard",
            type=bool,
            default=False,
            help="Also train the standard objective, with the same budget and seed, and print both side by side.",
        )
        for key, kind, text in (
            ("checkpoint", CheckpointConfig, "What best.ckpt is chosen by."),
            ("accuracy", AccuracyCallback, "Accuracy under attack after every epoch."),
            ("guard", GuardCallback, "Guard against catastrophic overfitting and feature collapse."),
            ("pictures", PicturesCallback, "Real and adversarial images in TensorBoard."),
        ):
            parser.add_argument(f"--{key}", type=kind | None, default={}, help=f"{text} null: off.")
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.init_args.seed")
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
        parser.link_arguments("data.image_size", "model.image_size", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and refuse what would break a run later."""
        self.config = parser.parse_args(args if args is None or isinstance(args, list) else list(args))
        if self.config.trainer.inference_mode:
            parser.error(
                "trainer.inference_mode must be false: attacks and explanations need gradients during validation, "
                "and tensors made in inference mode never have them. Leave the key out."
            )
        if str(self.config.trainer.precision).startswith("16"):
            warnings.warn(
                "trainer.precision: 16-mixed does not scale the losses of attacks, whose gradients may vanish; "
                "bf16-mixed has float32's range.",
                stacklevel=2,
            )

    def instantiate_classes(self) -> None:
        """Build the data module, the module, the callbacks and the trainer."""
        self.config_init = self.parser.instantiate(self.config)
        self.datamodule: pl.LightningDataModule = self.config_init.data
        self.model: RobustClassifier = self.config_init.model
        self.directory = RunDirectory(Path(self.config.output) / self.config.name)
        self.trainer = self.instantiate_trainer()

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Build the trainer with the run's folder, logger and callbacks."""
        given = dict(self.config_init.trainer)
        if given["logger"] in (None, True):
            given["logger"] = TensorBoardLogger(
                self.directory.path.parent, self.directory.path.name, version="", default_hp_metric=False
            )
        given["callbacks"] = [*_as_list(given["callbacks"]), *self._watchers()]
        return pl.Trainer(**given | {"default_root_dir": self.directory.path} | kwargs)

    def _watchers(self) -> list[pl.Callback]:
        """The callbacks of the top-level keys; checkpoints come last, so that they see what the others log."""
        watchers = [self.config_init[key] for key in ("accuracy", "guard", "pictures")]
        attacks = [] if self.config_init.accuracy is None else list(self.config_init.accuracy.attacks())
        settings = yaml.safe_load(self.config_text)
        chosen: Mapping[str, Any] = {key: settings[key] for key in ("model", "data", "seed_everything")}
        watchers += [ThroughputCallback(), TensorBoardCallback(chosen, attacks)]
        if self.config.trainer.fast_dev_run or self.config.trainer.enable_checkpointing is False:
            return [watcher for watcher in watchers if watcher is not None]
        watchers += self.directory.checkpoint_callbacks(self.config_init.checkpoint)
        return [watcher for watcher in watchers if watcher is not None]

    @property
    def config_text(self) -> str:
        """The resolved configuration as YAML that ``--config`` takes."""
        text: str = self.parser.dump(self.config, skip_none=False)
        return text

    def fit(self) -> None:
        """Train, or go on training."""
        checkpoint = self.directory.checkpoint_to_resume(self.config.resume)
        if self.trainer.is_global_zero and not self.config.trainer.fast_dev_run:
            self.directory.save_config(self.config_text)
        if checkpoint is not None:
            _log.warning("Resuming from %s.", checkpoint)
        self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=checkpoint, weights_only=True)

    def final_accuracy(self) -> list[Row]:
        """Accuracy of the trained network on the validation images, clean and under the configured attacks."""
        callback: AccuracyCallback | None = self.config_init.accuracy
        attacks = {} if callback is None else callback.attacks()
        runner = Runner(
            self.model.network.to(self.trainer.strategy.root_device),
            validation_set(self.trainer),
            attacks=attacks,
            batch_size=100 if callback is None else callback.batch_size,
            device=self.trainer.strategy.root_device,
            seed=0 if callback is None else callback.seed,
            limit=None if callback is None else callback.limit,
            progress=True,
        )
        return runner.run([AccuracyAnalysis(attacks)])["accuracy"].tables["accuracy"]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _train_once(args: Sequence[str] | None) -> TrainCLI:
    cli = TrainCLI(
        RobustClassifier,
        pl.LightningDataModule,
        subclass_mode_data=True,
        save_config_callback=None,
        trainer_defaults={"inference_mode": False, "max_epochs": 10},
        seed_everything_default=0,
        args=None if args is None else list(args),
        run=False,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,
        parser_kwargs={"description": "Train an image classifier; see configs/ for complete examples."},
    )
    cli.fit()
    return cli


def train(args: Sequence[str] | None = None) -> None:
    """Train as configured, then print what came of it.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    cli = _train_once(args)
    if cli.trainer.interrupted or cli.config.trainer.fast_dev_run or not cli.trainer.is_global_zero:
        return
    networks = {cli.config.name: cli.final_accuracy()}
    if cli.config.compare_with_standard:
        standard = _train_once(
            [
                *("--config", str(cli.directory.config)),
                *("--name", f"{cli.config.name}-standard", "--resume", "auto"),
                *("--compare_with_standard", "false", "--model.objective", "Standard"),
            ]
        )
        networks[standard.config.name] = standard.final_accuracy()
    _console.print()
    _console.print(accuracy_table(networks, "Accuracy on validation images"))
    folder = cli.directory.path
    _console.print(f"\nconfiguration  {cli.directory.config}")
    _console.print(f"checkpoints    {folder / 'last.ckpt'}, {folder / 'best.ckpt'}")
    _console.print(f"curves         tensorboard --logdir {folder.parent}")
    _console.print(
        f"next           python evaluate.py --checkpoint {cli.directory.last} --analyses accuracy "
        f"--attack pgd --eps 4/255 --output evaluations/{cli.config.name}",
        soft_wrap=True,
    )


def evaluate(args: Sequence[str] | None = None) -> None:
    """Evaluate a network, and write tables, figures and a page.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    parser = ArgumentParser(description="Measure what a network does, and write tables, figures and a page.")
    parser.add_argument("--config", action=ActionConfigFile, help="A YAML file of the keys below.")
    parser.add_class_arguments(Evaluation)
    given: Namespace = parser.parse_args(None if args is None else list(args))
    try:
        run_evaluation(parser.instantiate(given), console=_console)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
