"""Which units are shown in panels, and which images the network takes for their concepts."""

from collections.abc import Sequence

from lightning_advinterp.analyses.panels.config import PanelsConfig
from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.spaces import unit_space

NEAR = 2
"""A predicted class within so many WordNet edges of a unit's own counts as its concept."""


def check_units(network: Network, layers: str | Sequence[str], config: PanelsConfig) -> None:
    """Refuse units that a layer does not have, before any work is done.

    Args:
        network: with the layers.
        layers: see :func:`~lightning_advinterp.units.spaces.unit_space`.
        config: which units are asked for.

    Raises:
        ValueError: naming the layer and its units.
    """
    for layer in unit_space(network, layers).layers[-config.layers :]:
        if config.units and layer.width is not None:
            _check_units(layer.layer, layer.width, config.units)


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
    units_by_layer: dict[str, list[int]] = {}
    for layer in layers:
        layer_rows = [row for row in rows if row["layer"] == layer and row["images"] == REAL]
        if config.units:
            _check_units(layer, len(layer_rows), config.units)
            units_by_layer[layer] = list(config.units)
            continue
        alive = sorted((row for row in layer_rows if not row["dead"]), key=lambda row: (-row["lc"], row["unit"]))
        ends = alive[: config.count] + alive[max(config.count, len(alive) - config.count) :]
        units_by_layer[layer] = [row["unit"] for row in ends]
    return units_by_layer


def near_concept(space: ClassSpace, concept: int | None, predicted: Sequence[int]) -> tuple[bool, ...]:
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
        output == concept or (distances is not None and float(distances[concept, output]) <= NEAR)
        for output in predicted
    )
