"""The units that an analysis looks at: which there are, where they are read, and how they become maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.parts import tokens_apart
from lightning_advinterp.units.bases import Basis
from lightning_advinterp.units.basis_words import read_in_basis
from lightning_advinterp.units.maps import Layout, Reduce, reduced
from lightning_advinterp.units.outputs import kind_of, module_at, output_shapes, patch_grids
from lightning_advinterp.units.words import check_words, readings


@dataclass(frozen=True)
class UnitLayer:
    """A layer that has units.

    Attributes:
        layer: what tables call it, the path of the convolution or module.
        tap: what is read, a layer name for ``forward_features``.
        signed: whether activations below zero are possible there; None where that is not known beforehand.
        reads: kind of the module that is read: ``conv``, ``norm``, ``activation``, ``max_pool``, ``block``, …
        side: whether its output or its input is read.
        layout: how the output holds the units; None where the network does not take an image of its own size, so that
            the first output will say.
        basis: what the layer's own units are mapped by; None: by nothing.
        basis_name: what tables call it, after an ``@``.
    """

    layer: str
    tap: str
    signed: bool | None
    reads: str = "other"
    side: Literal["output", "input"] = "output"
    layout: Layout | None = None
    basis: Basis | None = None
    basis_name: str = ""

    @property
    def reading(self) -> str:
        """What is read, and in which basis, if any: one name for each that a network has."""
        return self.tap if self.basis is None else f"{self.tap}@{self.basis_name}"

    @property
    def width(self) -> int | None:
        """How many units there are; None where the first output will say."""
        if self.basis is not None:
            return self.basis.latents
        return None if self.layout is None else self.layout.units

    @property
    def has_places(self) -> bool:
        """Whether a unit has a map."""
        return self.layout is None or self.layout.has_places

    def maps(self, output: Tensor) -> Tensor:
        """Return what the tap returned as maps of units, ``[B, U, H, W]``; of vectors H = W = 1.

        Raises:
            ValueError: if it is of another form than the layer's.
        """
        layout = self.layout
        if layout is None:
            layout = _known(Layout.of(tuple(output.shape[1:]), None, []), self.layer, (1, *output.shape[1:]))
        try:
            maps = layout.maps(output)
        except ValueError as error:
            raise ValueError(f"layers: {self.layer!r}: {error}") from None
        return maps if self.basis is None else self.basis.maps(maps)

    def without(self, output: Tensor, units: Sequence[int]) -> Tensor:
        """Return a copy of what the tap returned in which some units are zero everywhere.

        In a basis the reconstruction with these values at zero less the one with all values is added, so that what the
        basis does not explain stays.
        """
        layout = self.layout or Layout.of(tuple(output.shape[1:]), None, [])
        layout = _known(layout, self.layer, (1, *output.shape[1:]))
        if self.basis is None:
            return layout.without(output, units)
        return output + self.basis.change_without(output.movedim(layout.axis, -1), units).movedim(-1, layout.axis)

    def values(self, output: Tensor) -> Tensor:
        """Return the units' values in the form of what the tap returned: in a basis the units' axis has other units."""
        if self.basis is None:
            return output
        axis = _known(self.layout or Layout.of(tuple(output.shape[1:]), None, []), self.layer, output.shape).axis
        return self.basis.encode(output.movedim(axis, -1)).movedim(-1, axis)

    def reduced(self, output: Tensor, reduce: Reduce) -> Tensor:
        """Return one number per image and unit, ``[B, U]``: the maximum or mean over all places."""
        return reduced(self.maps(output), reduce)


@dataclass(frozen=True)
class UnitSpace:
    """Layers with units, in order.

    Attributes:
        layers: the layers.
    """

    layers: tuple[UnitLayer, ...]

    @property
    def taps(self) -> tuple[str, ...]:
        """What is read, each once."""
        return tuple(dict.fromkeys(layer.tap for layer in self.layers))

    def __iter__(self) -> Iterator[UnitLayer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def require_places(self, what: str) -> None:
        """Refuse layers whose units have no maps.

        Raises:
            ValueError: naming the layer and its shape.
        """
        for layer in self.layers:
            if not layer.has_places:
                raise ValueError(
                    f"layers: {what} needs maps of units, {layer.layer!r} gives {layer.layout}; name a layer that has "
                    "places."
                )


def unit_space(network: Network, layers: str | Sequence[str] | UnitSpace) -> UnitSpace:
    """Return the units of the layers that words or paths stand for.

    A black image passes the network once, so that what cannot be read is refused before any work.

    Args:
        network: with the layers.
        layers: ``all_conv``: every convolution of the main path, read where its response is used; ``all_mlp``: the
            neurons of all blocks' MLPs; ``all_heads``: what every attention head returns, before the heads are
            projected; ``all_blocks``: what all blocks return; ``all``: each of these once; ``last``: the family's φ, or
            the last features that a timm network declares; or module paths, read as they return; in a list or separated
            by commas. Parts (``blocks.3:class``) are those of :mod:`~lightning_advinterp.networks.parts`, with
            ``:heads`` and ``:registers`` for each of them. ``LAYER@FILE`` reads a layer in the basis that a file holds.
            A space is returned as it is.

    Raises:
        ValueError: if a layer is unknown, there are none of a kind, or a layer returns nothing that has units; names
            the layer and its shape.
    """
    if isinstance(layers, UnitSpace):
        return layers
    check_words(network, layers)
    named = readings(network, layers)
    places = {tap: network.place(tap) for _, tap, _ in named if tap != "logits"}
    wholes = {place.path for place in places.values() if place.token is not None}
    shapes = output_shapes(network, list(dict.fromkeys([tap for _, tap, _ in named] + sorted(wholes))))
    grids = patch_grids(network) if shapes and any(len(shape) == 3 for shape in shapes.values()) else []
    units = []
    for (layer, tap, file), signed in named.items():
        module, place = module_at(network, tap), places.get(tap)
        layout = None
        if shapes is not None:
            images, *shape = shapes[tap]
            candidate = Layout.of(tuple(shape), module, grids) if images == 1 else None  # windows count as images
            layout = _known(candidate, layer, shapes[tap])
            if place is not None and place.token is not None:
                _check_tokens(network, layer, Layout.of(shapes[place.path][1:], None, grids))
        side: Literal["output", "input"] = "output" if place is None else place.side
        unit = UnitLayer(layer, tap, signed, kind_of(module), side, layout)
        units.append(unit if file is None else in_basis(unit, file, network))
    _refuse_equal_names(units)
    return UnitSpace(tuple(units))


def _check_tokens(network: Network, layer: str, layout: Layout | None) -> None:
    """Refuse a token of a layer whose tokens are not the patches and those that the network puts before them."""
    tokens = tokens_apart(network.backbone)
    if layout is None or layout.form != "tokens" or layout.apart != len(tokens):
        raise ValueError(
            f"layers: {layer!r} would be one of {', '.join(tokens)}, but its layer returns {layout or 'no tokens'}, "
            f"{layout.apart if layout else 0} of them before the patches; name a layer that returns all tokens."
        )


def in_basis(unit: UnitLayer, file: str, network: Network) -> UnitLayer:
    """Return a layer that is read in the basis of a file.

    Args:
        unit: the layer as it is.
        file: of the basis.
        network: on whose device it is used.

    Raises:
        ValueError: if it is the basis of another layer, or of another number of units.
        FileNotFoundError: if there is no such file.
    """
    basis, name = read_in_basis(file, unit.layer, unit.tap, None if unit.layout is None else unit.layout.units)
    basis = basis.to(next(network.parameters(), torch.zeros(())))
    return replace(unit, layer=f"{unit.layer}@{name}", signed=basis.signed(unit.signed), basis=basis, basis_name=name)


def _refuse_equal_names(units: Sequence[UnitLayer]) -> None:
    """Refuse two files whose layers tables would call alike."""
    names: set[str] = set()
    for unit in units:
        if unit.layer in names:
            raise ValueError(
                f"layers: two files would both be called {unit.layer!r} in tables; give one of them another name."
            )
        names.add(unit.layer)


def unit_layers(network: Network, layers: str | Sequence[str] | UnitSpace) -> tuple[UnitLayer, ...]:
    """Return the layers of :func:`unit_space`."""
    return unit_space(network, layers).layers


def _known(layout: Layout | None, layer: str, shape: Sequence[int]) -> Layout:
    if layout is None:
        first = "B" if shape[0] == 1 else f"{shape[0]} B"
        raise ValueError(
            f"layers: {layer!r} returns shape [{first}, {', '.join(map(str, shape[1:]))}]; units are the channels of "
            "maps [B, U, H, W] or [B, H, W, U], of tokens [B, T, U] on a grid of patches, or of vectors [B, U]: name "
            "such a layer."
        )
    return layout
