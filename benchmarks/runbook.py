"""The table of docs/scale.md: hours and disk of Table 1, Table 2 and Fig. 10 at full size, as arithmetic.

    python benchmarks/runbook.py --forward_ms 43 --gradient 2.14 --gpu 2500

Hours are images x (forwards + (gradient - 1) x backwards) x seconds of a forward pass, for each network in proportion
to the operations that torchvision states for it. Nothing is run.
"""

import argparse
from typing import NamedTuple

from torchvision.models import get_model_weights

BRODEN, IMAGENET, TARGETS, CALIBRATION, GRID = 63_305, 50_000, 10, 64, 10
TABLE_1 = ("alexnet",) * 2 + ("vgg16",) * 3 + ("resnet18",) * 2 + ("inception_v3",) * 2
TABLE_2 = ("alexnet",) * 2 + ("vgg16",) * 2 + ("resnet18",) * 2
FIG_10 = ("resnet18",)
PIXELS = 224 * 224 * 3


class Work(NamedTuple):
    """An experiment: its networks, images of each, and passes of an image."""

    name: str
    networks: tuple[str, ...]
    images: int
    forwards: int
    backwards: int


EQUATION_4 = 20  # steps, each a forward and a backward pass
WORKS = (
    Work("Table 2: real, FGSM", TABLE_2, IMAGENET, 2 + 1, 1),
    # thresholds: real, random weights; counts: these two, the attack, its images, noise as large
    Work("Table 1: dissection", TABLE_1, BRODEN, 2 + 2 + EQUATION_4 + 2, EQUATION_4),
    Work("Table 1: calibration, at most", TABLE_1, CALIBRATION, GRID * (EQUATION_4 + 1), GRID * EQUATION_4),
    Work("Fig. 10: the set, 10 targets", FIG_10, IMAGENET * TARGETS, 1 + EQUATION_4 + 1, EQUATION_4),
    Work("Fig. 10: LC, CS1, CS2", FIG_10, IMAGENET, 1 + TARGETS, 0),
)


def operations(network):
    """Return a network's billions of operations per image, as torchvision states them."""
    return next(iter(get_model_weights(network))).meta["_ops"]


def resnet18_images(work, gradient):
    """Return an experiment's cost in forward passes of one image through ResNet-18."""
    each = work.forwards + (gradient - 1) * work.backwards
    return work.images * each * sum(operations(network) / operations("resnet18") for network in work.networks)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forward_ms", type=float, default=43.0, help="of ResNet-18 on one CPU core, an image")
    parser.add_argument("--gradient", type=float, default=2.14, help="a forward and a backward pass, in forward passes")
    parser.add_argument("--gpu", type=float, default=2500.0, help="forward passes of ResNet-18 in a second on a GPU")
    flags = parser.parse_args()
    print("| | networks | images | passes of an image | ResNet-18 forwards | 1 CPU core, h | 1 GPU, h | 8 GPUs, h |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for work in WORKS:
        total = resnet18_images(work, flags.gradient)
        hours = (total * flags.forward_ms / 3.6e6, total / flags.gpu / 3600, total / flags.gpu / 3600 / 8)
        cells = " | ".join(f"{value:,.2f}" if value < 10 else f"{value:,.0f}" for value in hours)
        passes = f"{work.forwards} + {work.backwards}"
        print(f"| {work.name} | {len(work.networks)} | {work.images:,} | {passes} | {total:.3g} | {cells} |")
    print(f"\ndisk of the set: at most {IMAGENET * TARGETS * PIXELS / 1e9:.0f} GB (uint8, PNG packs them)")


if __name__ == "__main__":
    main()
