"""Read, replace or ablate named layers of a network, for the length of a ``with`` block."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.parts import Place, locate
from lightning_advinterp.networks.sites import Edit, Reader, Record, site_table_of

Replacement: TypeAlias = Callable[[Tensor], Tensor] | Tensor
"""A function of what the layer returned, or a tensor that can be expanded to its shape."""


@contextmanager
def taps(
    network: nn.Module,
    layers: Sequence[str] = (),
    *,
    replace: Mapping[str, Replacement] | None = None,
    ablate: Mapping[str, Sequence[int]] | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Read, replace or ablate layers in every forward pass inside the block.

    Everything is undone on leaving, also by an error. Blocks nest: an inner block sees and changes what the
    outer ones made of a layer; within one block replacements come before ablations, and reading comes last,
    so a layer that is changed and read gives the changed value. :meth:`Network.forward_features` sees the
    changes too.

    A layer called several times in a pass: reading gives its last call, changing changes every call;
    ``path#0`` means the first call alone. ``path:part`` means a part, see
    :mod:`~lightning_advinterp.networks.parts`. Hooks do not reach into a forward pass that was compiled before.

    Args:
        network: a :class:`Network`, or any module.
        layers: paths in the backbone (``layer4.1.conv2``), ``layer1.0.relu#0``, ``phi`` or ``penultimate``.
        replace: per layer a function from its output to another of any shape that its successors take, or a
            tensor that is expanded to the output's shape.
        ablate: per layer the channels (axis 1) to be set to zero.

    Yields:
        A dict that holds, after each forward pass, the activations of ``layers`` of that pass as part of its
        graph. A layer that the pass did not reach is absent.

    Raises:
        ValueError: for an unknown layer (with the nearest ones) or a channel that a layer does not have.
    """
    backbone = backbone_of(network)
    names = (*layers, *(replace or {}), *(ablate or {}))
    places = {layer: _place(network, layer) for layer in names}
    record = Record({}, frozenset(layers))
    edits = [_edit(layer, places[layer], _replacing(layer, change)) for layer, change in (replace or {}).items()]
    edits += [_edit(layer, places[layer], _ablating(layer, units)) for layer, units in (ablate or {}).items()]
    readers = [
        Reader(layer, place.call, record, place.side, None if place.whole else place.take)
        for layer, place in places.items()
        if layer in record.wanted
    ]
    site_table = site_table_of(backbone)
    site_table.records.append(record)
    try:
        for edit in edits:
            site_table.add(backbone, places[edit.layer].path, edit)
        for reader in readers:
            site_table.site(backbone, places[reader.layer].path).readers.append(reader)
        yield record.values if record.values is not None else {}
    finally:
        site_table.remove(edits, readers, record)


def backbone_of(network: nn.Module) -> nn.Module:
    """Return the module whose paths name layers: a :class:`Network`'s backbone, else the module itself.

    Compiled networks are looked through.
    """
    inner = getattr(network, "_orig_mod", network)
    return inner.backbone if isinstance(inner, Network) else inner


def _place(network: nn.Module, layer: str) -> Place:
    inner = getattr(network, "_orig_mod", network)
    return inner.place(layer) if isinstance(inner, Network) else locate(inner, layer)


def _edit(layer: str, place: Place, change: Callable[[Tensor], Tensor]) -> Edit:
    if place.whole:
        return Edit(layer, place.call, change, place.side)
    return Edit(layer, place.call, lambda values: place.put(values, change(place.take(values))), place.side)


def _replacing(layer: str, change: Replacement) -> Callable[[Tensor], Tensor]:
    if not isinstance(change, Tensor):
        return change

    def replaced(output: Tensor) -> Tensor:
        try:
            return change.to(output).expand_as(output)
        except RuntimeError as error:
            raise ValueError(
                f"replace: the tensor for layer {layer!r} must expand to its output's shape "
                f"{tuple(output.shape)}, got {tuple(change.shape)}."
            ) from error

    return replaced


def _ablating(layer: str, units: Sequence[int]) -> Callable[[Tensor], Tensor]:
    removed = sorted({int(channel) for channel in units})

    def ablated(output: Tensor) -> Tensor:
        channels = output.shape[1] if output.dim() > 1 else 0
        if removed and not 0 <= removed[0] <= removed[-1] < channels:
            raise ValueError(
                f"ablate: layer {layer!r} has {channels} channels, counted from 0, got {removed}; "
                f"its output is {tuple(output.shape)}."
            )
        keep = torch.ones(channels, dtype=torch.bool, device=output.device)
        keep[removed] = False
        return output.where(keep.view(-1, *[1] * (output.dim() - 2)), output.new_zeros(()))

    return ablated
