"""Which concepts a dissection found for the units that are traced."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.networks.behind import tap_node
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.trace import trace_network
from lightning_advinterp.networks.weights import weights_hash
from lightning_advinterp.report.load import read_results
from lightning_advinterp.report.store import read_record
from lightning_advinterp.units.basis_words import split_word
from lightning_advinterp.units.spaces import UnitLayer


def concepts_of(network: Network, layers: Sequence[UnitLayer], dissection: Result) -> dict[tuple[str, int], Row]:
    """Return what a dissection found for the units of layers, by layer and unit.

    A dissection may have read the same units under another name: a block's last convolution is read at the block's
    output, which is also the output of the stage that ends with the block.

    Args:
        network: that was dissected.
        layers: whose units are traced.
        dissection: with the table ``dissection``.
    """
    dissected = {row["tap"] for row in dissection.tables["dissection"]}
    places = _places(network, dissected | {unit.reading for unit in layers})
    concepts: dict[tuple[str, int], Row] = {}
    for row in dissection.tables["dissection"]:
        for layer in layers:
            if row["images"] == REAL and places[row["tap"]] == places[layer.reading]:
                concepts[layer.layer, row["unit"]] = {name: row[name] for name in ("label", "category", "iou")}
    return concepts


def _places(network: Network, taps: set[str]) -> dict[str, Any]:
    """Return what tells for every tap which value it is; the tap itself where that cannot be told."""
    places: dict[str, Any] = {tap: tap for tap in taps}
    try:
        trace = trace_network(network.backbone)
    except Exception:  # what cannot be traced is told by its name
        return places
    for tap in taps:
        if split_word(tap)[1] is not None:  # units in a basis are no value of the network
            continue
        try:
            place = network.place(tap)
            places[tap] = (tap_node(trace, network, tap), place.token, place.channels)
        except LookupError:
            continue
    return places


def stored_dissection(folder: str, network: Network, key: str) -> Result:
    """Return the dissection that a folder holds.

    Args:
        folder: of an evaluation.
        network: that must have been dissected.
        key: the setting that names the folder, for messages.

    Raises:
        ValueError: if it holds none, or one of another network.
    """
    remedy = "give the output of an evaluation of this network with --analyses dissection"
    try:
        results = read_results(folder)
    except (OSError, DamagedFileError) as error:
        raise ValueError(f"{key}: {error} Expected an evaluation's folder: {remedy}.") from None
    if "dissection" not in results:
        raise ValueError(f"{key}: {folder} holds {', '.join(results) or 'nothing'}, but no dissection; {remedy}.")
    record: Mapping[str, Any] = read_record(Path(folder)) or {}
    stored_hash, network_hash = str(record.get("provenance", {}).get("weights_sha256")), weights_hash(network)
    if stored_hash != network_hash:
        raise ValueError(
            f"{key}: {folder} holds the dissection of another network (weights {stored_hash[:12]}…; this one has "
            f"{network_hash[:12]}…); {remedy}."
        )
    return results["dissection"]
