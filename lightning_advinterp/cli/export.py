"""``python -m lightning_advinterp.export RUN/last.ckpt --output DIR``: a run's network for other programs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lightning_advinterp.cli.suggestions import PROGRAM
from lightning_advinterp.core.errors import plain_errors, stops_explained, termination_explained
from lightning_advinterp.core.names import printable
from lightning_advinterp.core.trust import trusting
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.networks.export import CONFIG_FILE, WEIGHTS_FILE, export_network
from lightning_advinterp.networks.trial import try_network


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM.get() or "python -m lightning_advinterp.export",
        description=f"Write the bare backbone of a checkpoint as {WEIGHTS_FILE}, with {CONFIG_FILE} beside it, for "
        "torchvision, timm and others. Where a run averaged its weights (ema), the average is written.",
    )
    parser.add_argument("checkpoint", help="RUN/last.ckpt or RUN/best.ckpt of a run of this project")
    parser.add_argument("--network", help="the class path of its network, where the checkpoint names one")
    parser.add_argument("--trust", action="store_true", help="import the class that the checkpoint names, unseen")
    parser.add_argument("--output", required=True, help="the folder to write; made where it is missing")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Export, and say what was written.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    arguments = parser().parse_args(args)
    with stops_explained() as command, termination_explained():
        command.folder = Path(arguments.output)
        with plain_errors(), trusting(*filter(None, [arguments.network]), files=arguments.trust):
            loaded = load_checkpoint(arguments.checkpoint)
            try_network(loaded.network, loaded.network.input_size, gradient=False)
        files = export_network(
            loaded.network,
            arguments.output,
            classes=loaded.classes,
            class_names=loaded.class_names,
            resize=loaded.resize,
            averaged=loaded.averaged,
        )
    for file in files:
        print(printable(str(file)))


if __name__ == "__main__":
    main()
