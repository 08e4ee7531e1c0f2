"""Panels of what units mean: the images that drive them most, real and adversarial (Dong et al. 2022, Fig. 2, 4-9)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from lightning_advinterp.analyses.base.unit_images import Highlight, Pictures, Wanted, take_pictures
from lightning_advinterp.analyses.semantics.analysis import SemanticsAnalysis
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.spaces import unit_layers

_NEAR = 2
"""A predicted class within so many WordNet edges of a unit's own counts as its concept."""


@dataclass(frozen=True)
class PanelsConfig:
    """Which units are shown, and how.

    Attributes:
        units: these units of every layer, one figure each and a contact sheet of all; empty: the contact sheet alone,
            of the layer's most and least consistent units.
        count: so many of each on a contact sheet.
        images: images per unit and kind.
        highlight: ``activation``: the unit's map enlarged to the image, above half of its maximum; ``discrepancy``: the
            discrepancy map of Zhou et al. 2015, above half of its maximum: 5,184 forward passes per image at 224 px.
        layers: at most so many contact sheets, the last ones of the layers asked for.
    """

    units: list[int] = field(default_factory=list)
    count: int = 4
    images: int = 8
    highlight: Highlight = "activation"
    layers: int = 4

    def __post_init__(self) -> None:
        for name in ("count", "images", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}.")
        if self.highlight not in ("activation", "discrepancy"):
            raise ValueError(f"highlight must be activation or discrepancy, got {self.highlight!r}.")


@dataclass(frozen=True)
class UnitRow:
    """One unit's images of one kind.

    Attributes:
        row: the unit's row of the table ``semantics``.
        pictures: its images.
        matching: which of them the network takes for the unit's concept (empty for real images).
    """

    row: Row
    pictures: Pictures
    matching: tuple[bool, ...]


def check_units(network: Network, layers: str | Sequence[str], config: PanelsConfig) -> None:
    """Refuse units that a layer does not have, before any work is done.

    Args:
        network: with the layers.
        layers: see :func:`~lightning_advinterp.units.spaces.unit_layers`.
        config: which units are asked for.

    Raises:
        ValueError: naming the layer and its units.
    """
    shown = unit_layers(network, layers)[-config.layers :]
    if not config.units:
        return
    parameter = next(network.parameters())
    image = parameter.new_zeros(1, 3, network.input_size, network.input_size)
    with torch.no_grad(), frozen_eval(network):
        _, maps = network.forward_features(image, [one.tap for one in shown])
    for one in shown:
        _check_units(one.layer, maps[one.tap].shape[1], config.units)


def _check_units(layer: str, width: int, units: Sequence[int]) -> None:
    if max(units) >= width or min(units) < 0:
        raise ValueError(f"panels.units: layer {layer!r} has units 0 to {width - 1}, got {list(units)}.")


def chosen_units(rows: Sequence[Row], config: PanelsConfig) -> dict[str, list[int]]:
    """Return for every layer that is shown its units: those asked for, or the most and the least consistent.

    Args:
        rows: the table ``semantics``.
        config: which.

    Raises:
        ValueError: if a layer has no such unit.
    """
    layers = list(dict.fromkeys(row["layer"] for row in rows))[-config.layers :]
    found: dict[str, list[int]] = {}
    for layer in layers:
        own = [row for row in rows if row["layer"] == layer and row["images"] == REAL]
        if config.units:
            _check_units(layer, len(own), config.units)
            found[layer] = list(config.units)
            continue
        alive = sorted((row for row in own if not row["dead"]), key=lambda row: (-row["lc"], row["unit"]))
        ends = alive[: config.count] + alive[max(config.count, len(alive) - config.count) :]
        found[layer] = [row["unit"] for row in ends]
    return found


def unit_rows(
    network: Network,
    dataset: Any,
    attacks: Mapping[str, Attack],
    analysis: SemanticsAnalysis,
    rows: Sequence[Row],
    units: Mapping[str, Sequence[int]],
    config: PanelsConfig,
    **options: Any,
) -> dict[str, list[UnitRow]]:
    """Return per layer the rows of its units, real images first, then every attack's.

    After a ReLU only images that make the unit fire are shown: a dead unit has none.

    Args:
        network: the network.
        dataset: the images that the analysis was shown.
        attacks: name to attack.
        analysis: which images drive the units most.
        rows: the table ``semantics``.
        units: layer to units.
        config: how many images, and what is highlighted.
        **options: of :func:`~lightning_advinterp.analyses.base.unit_images.take_pictures`.
    """
    numbers = analysis.first_units()
    by = {(row["layer"], row["unit"], row["images"]): row for row in rows}
    ranked = {kind: analysis.top(kind, config.images)[0] for kind in (REAL, *attacks)}
    chosen = [by[layer, unit, kind] for layer, some in units.items() for unit in some for kind in (REAL, *attacks)]
    wanted = []
    for row in chosen:
        place, top = numbers[row["layer"]] + row["unit"], ranked[row["images"]]
        fires = (top.values[place] > (-torch.inf if row["signed"] else 0)) & ~top.constant[place]
        wanted.append(Wanted(row["tap"], row["unit"], row["images"], tuple(top.index[place][fires].tolist())))
    taken = take_pictures(network, dataset, attacks, wanted, highlight=config.highlight, **options)
    found: dict[str, list[UnitRow]] = {layer: [] for layer in units}
    for row, pictures in zip(chosen, taken, strict=True):
        near = () if row["images"] == REAL else matches(analysis.classes, row["mode_index"], pictures.predicted)
        found[row["layer"]].append(UnitRow(row, pictures, near))
    return found


def matches(space: ClassSpace, concept: int | None, predicted: Sequence[int]) -> tuple[bool, ...]:
    """Tell which predictions are the unit's concept: classes at most two WordNet edges from its modal class.

    Args:
        space: knows the distances; where it does not, only the modal class itself counts.
        concept: the modal class, an output of the network; None for a dead unit.
        predicted: outputs of the network.
    """
    if concept is None:
        return tuple(False for _ in predicted)
    distances = space.distances
    return tuple(
        one == concept or (distances is not None and float(distances[concept, one]) <= _NEAR) for one in predicted
    )
