"""``robustbench:NAME``: the architectures of RobustBench's model zoo, by the zoo's names or by their own.

``robustbench.csv`` lists the zoo's networks that are plain ones: data set, threat models, name, architecture,
normalisation. It was made from the zoo's code (MIT licence, version of March 2025). The zoo's files are downloaded by
the user, and given as ``weights``.
"""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from lightning_advinterp.networks.names import suggestion
from lightning_advinterp.networks.zoo.deepmind import DeepMindPreActResNet, DeepMindWideResNet
from lightning_advinterp.networks.zoo.resnet import PreActResNet, SmallImageResNet
from lightning_advinterp.networks.zoo.wide_resnet import WideResNet

PREFIX = "robustbench:"
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "wide_resnet": WideResNet,
    "deepmind_wide_resnet": DeepMindWideResNet,
    "deepmind_preact_resnet": DeepMindPreActResNet,
    "preact_resnet": PreActResNet,
    "resnet": SmallImageResNet,
}
"""Those that torchvision and timm do not have."""

_CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
_CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
_WIDE = re.compile(r"(dm-)?wrn-(\d+)-(\d+)", re.IGNORECASE)
_EXAMPLES = "Carmon2019Unlabeled, cifar100/Wang2023Better_WRN-28-10, cifar10/L2/Rice2020Overfitting"


@dataclass(frozen=True)
class Entry:
    """A network of the zoo.

    Attributes:
        architecture: a key of :data:`ARCHITECTURES`, or a name of torchvision or timm.
        num_classes: number of logits.
        mean: of pixels in [0, 1].
        std: likewise.
        options: of the architecture's constructor.
    """

    architecture: str
    num_classes: int = 10
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    options: dict[str, Any] = field(default_factory=dict)


def find_entry(name: str) -> Entry:
    """Return what ``robustbench:NAME`` is.

    Args:
        name: with or without the prefix: an architecture (``WRN-28-10``, ``DM-WRN-70-16``, ``PreActResNet-18``,
            ``ResNet-18``), or a name of the zoo, with its data set and threat model where these decide
            (``cifar100/NAME``, ``cifar10/L2/NAME``); CIFAR-10 where none is named.

    Raises:
        ValueError: if there is none, with the nearest names, or if several differ.
    """
    short = name.removeprefix(PREFIX)
    entry = _architecture(short)
    if entry is not None:
        return entry
    dataset, _, rest = short.rpartition("/")
    dataset, _, threat = (dataset or "cifar10").partition("/")
    rows = [row for row in _zoo() if row["name"] == rest and row["dataset"] == dataset]
    rows = [row for row in rows if not threat or threat.lower() in row["threats"].lower().split()]
    if not rows:
        names = [f"{row['dataset']}/{row['name']}" for row in _zoo()]
        raise ValueError(
            f"name must be {PREFIX}NAME with an architecture (WRN-28-10, DM-WRN-70-16, PreActResNet-18) or one of "
            f"{len(names)} networks of the zoo, such as {_EXAMPLES}; got {name!r}."
            f"{suggestion(f'{dataset}/{rest}', names)}"
        )
    if len(rows) > 1:
        choices = ", ".join(f"{PREFIX}{dataset}/{row['threats'].split()[0]}/{rest}" for row in rows)
        raise ValueError(f"name: {name} is several networks in the zoo; say which: {choices}.")
    row = rows[0]
    mean, std = (tuple(map(float, row[key].split())) for key in ("mean", "std"))
    options = dict(pair.split("=") for pair in row["options"].split())
    return Entry(row["architecture"], _CLASSES[dataset], mean, std, {key: int(value) for key, value in options.items()})


def needs_weights(name: str) -> str:
    """Return what to write for a network that was named without weights: the zoo's names have a prefix."""
    in_zoo = any(row["name"] == name.rpartition("/")[2] for row in _zoo())
    form = f"{{network: {PREFIX if in_zoo else ''}{name}, weights: FILE}}"
    whose = ", with the file that RobustBench's loader stores" if in_zoo else ""
    return f"a network by its name needs its weights, {form}{whose}."


def _architecture(name: str) -> Entry | None:
    """Return the entry of an architecture's own name.

    Images are not normalised, as most of the zoo's wide ResNets want it; DeepMind's are by CIFAR-10's mean and std.
    """
    wide = _WIDE.fullmatch(name)
    if wide is not None:
        options = {"depth": int(wide[2]), "width": int(wide[3])}
        if wide[1]:
            return Entry("deepmind_wide_resnet", 10, *_CIFAR10, options)
        return Entry("wide_resnet", options=options)
    plain = name.lower().replace("-", "").replace("_", "")
    if plain == "preactresnet18":
        return Entry("preact_resnet")
    if plain in ("resnet18", "resnet34", "resnet50"):
        return Entry("resnet", options={"depth": int(plain.removeprefix("resnet"))})
    return None


@cache
def _zoo() -> list[dict[str, str]]:
    with (Path(__file__).with_name("robustbench.csv")).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
