"""The command line of sets in Broden's format: check one, build one, render the concept world as one."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from lightning_advinterp.core.names import printable
from lightning_advinterp.data.broden.check import check_set
from lightning_advinterp.data.broden.dataset import BrodenDataset
from lightning_advinterp.data.broden.findings import HELP
from lightning_advinterp.data.broden.folders import build_set
from lightning_advinterp.data.broden.recipe import EXAMPLE
from lightning_advinterp.data.broden.rendered import ConceptWorldConcepts, write_concept_world

NAME = "python -m lightning_advinterp.data.broden"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the three commands."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(NAME, description="Sets of images with pixel labels of concepts.", epilog=HELP)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="decode a whole set and list what is wrong with it", epilog=HELP)
    check.add_argument("folder", help="holds index.csv")
    check.add_argument("--quick", action="store_true", help="only what is checked whenever a set is opened")
    build = commands.add_parser(
        "build",
        help="build a set from folders of images and masks",
        formatter_class=raw,
        epilog=f"a recipe with every key:\n\n{EXAMPLE}",
    )
    build.add_argument("recipe", help="YAML file: where images and masks lie, and what mask values mean")
    build.add_argument("folder", help="is made; must not exist")
    render = commands.add_parser("render", help="write the concept world, which needs no download")
    render.add_argument("parent", help="folder in which concept_world_<fingerprint>/ is made")
    render.add_argument("--n", type=int, default=1000, help="pictures (%(default)s)")
    render.add_argument("--size", type=int, default=224, help="side of the pictures in pixels (%(default)s)")
    render.add_argument("--label_size", type=int, default=112, help="side of the maps in pixels (%(default)s)")
    render.add_argument("--seed", type=int, default=0, help="number of the world (%(default)s)")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run one command; what is wrong goes to standard error, with exit status 1.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    arguments = parser().parse_args(args)
    start = time.perf_counter()
    try:
        data = _run(arguments)
    except (ValueError, OSError) as error:
        _fail(error)
    height, width = data.label_size
    root = printable(str(data.root))
    print(f"{root}: {len(data)} images, maps of {height} x {width} pixels, {len(data.concepts)} labels")
    for number, name in enumerate(data.categories):
        images = sum(bool(row.cells[number]) for row in data.rows)
        labels = sum(concept.category == number for concept in data.concepts.values())
        print(f"  {printable(name):<10} {images:>7} images with labels, {labels:>5} labels scored")
    print(f"no findings in {time.perf_counter() - start:.1f} s; fingerprint {data.fingerprint}")


def _run(arguments: argparse.Namespace) -> BrodenDataset:
    if arguments.command == "check":
        return (
            BrodenDataset(arguments.folder, size=1) if arguments.quick else check_set(arguments.folder, progress=True)
        )
    if arguments.command == "build":
        return build_set(arguments.recipe, arguments.folder, progress=True)
    world = ConceptWorldConcepts(arguments.n, size=arguments.size, label_size=arguments.label_size, seed=arguments.seed)
    return BrodenDataset(write_concept_world(arguments.parent, world, progress=True))


def _fail(error: Exception) -> NoReturn:
    print(printable(str(error)), file=sys.stderr)
    raise SystemExit(1)
