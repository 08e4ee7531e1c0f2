"""The keys of a training beside ``trainer``, ``model`` and ``data``."""

from typing import Any

from pytorch_lightning.cli import LightningArgumentParser

from lightning_advinterp.cli.suggestions import SuggestingParser
from lightning_advinterp.training.callbacks import (
    AccuracyCallback,
    DissectionCallback,
    EMACallback,
    ExportCallback,
    FragilityCallback,
    GuardCallback,
    PicturesCallback,
    SemanticsCallback,
)
from lightning_advinterp.training.run_directory import CheckpointConfig


class TrainParser(SuggestingParser, LightningArgumentParser):
    """Lightning's parser, naming the nearest key."""


def add_keys(parser: LightningArgumentParser) -> None:
    """Add the keys, and link what must agree."""
    parser.add_argument("--name", type=str, default="run", help="Name of the run: OUTPUT/NAME is its folder.")
    parser.add_argument("--output", type=str, default="runs", help="Folder of all runs.")
    parser.add_argument(
        "--resume",
        type=str,
        default="auto",
        help="auto: go on from the run's furthest whole checkpoint, if there is one; never; or a checkpoint file.",
    )
    parser.add_argument(
        "--allow_changes",
        type=bool,
        default=False,
        help="Go on also where objective, network, data or seed are others than at the run's earlier start.",
    )
    parser.add_argument(
        "--compare_with_standard",
        type=bool,
        default=False,
        help="Also train the standard objective, with the same budget and seed, and print both side by side.",
    )
    parser.add_argument(
        "--figures", type=str, default="png", help="Formats of the figures beside the log: png, svg, pdf."
    )
    _add_dry_run(parser)
    parser.add_argument("--trust", type=bool, default=False, help="Import the classes that checkpoints name, unseen.")
    for key, kind, text in (
        ("checkpoint", CheckpointConfig, "What best.ckpt is chosen by, and checkpoints within an epoch."),
        ("accuracy", AccuracyCallback, "Accuracy under attack after every epoch."),
        ("guard", GuardCallback, "Guard against catastrophic overfitting and feature collapse."),
        ("pictures", PicturesCallback, "Real and adversarial images in TensorBoard."),
    ):
        parser.add_argument(f"--{key}", type=kind | None, default={}, help=f"{text} null: off.")
    _add_watching(parser)
    parser.add_argument(
        "--ema", type=EMACallback | None, default=None, help="Judge and keep a moving average of the weights."
    )
    parser.add_argument(
        "--export", type=ExportCallback | None, default=None, help="Write the trained backbone for other programs."
    )
    parser.link_arguments("seed_everything", "model.seed")
    parser.link_arguments("seed_everything", "data.init_args.seed")
    parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
    parser.link_arguments("data.image_size", "model.image_size", apply_on="instantiate")


def _add_watching(parser: LightningArgumentParser) -> None:
    """Add the keys of what is watched beside accuracy."""
    for key, analysis, text in (
        ("dissection", DissectionCallback, "Network dissection on real and adversarial concept images."),
        ("semantics", SemanticsCallback, "Consistency of what units mean on real and adversarial images."),
        ("fragility", FragilityCallback, "How far explanations change while the prediction stays."),
    ):
        parser.add_argument(f"--{key}", type=analysis | None, default=None, help=f"{text} null: off.")
    parser.add_argument(
        "--watch",
        type=dict[str, dict[str, Any] | None] | None,
        default=None,
        help="Questions asked during training: name, or class path of your own, to {every_n_epochs, limit, batch_size, "
        "seed, attacks, settings}. null: off.",
    )
    parser.add_argument(
        "--watch_seconds",
        type=float | None,
        default=None,
        help="At most so many seconds an epoch for dissection, semantics, fragility and watch, by fewer images.",
    )


def _add_dry_run(parser: LightningArgumentParser) -> None:
    parser.add_argument(
        "--dry_run",
        type=bool,
        default=False,
        help="Train on a few batches, print the hours, memory and disk that the run takes, and stop.",
    )
    parser.add_argument("--trial_seconds", type=float, default=60.0, help="About how long a dry run may train.")
