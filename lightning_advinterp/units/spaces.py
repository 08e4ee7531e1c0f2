"""The units that an analysis looks at: which there are, where they are read, and how they become maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from lightning_advinterp.networks.families import declared_features
from lightning_advinterp.networks.network import ALIASES, Network
from lightning_advinterp.networks.sites import check_layers
from lightning_advinterp.units.bases import Basis
from lightning_advinterp.units.basis_words import check_basis, read_in_basis, split_word
from lightning_advinterp.units.blocks import block_paths, mlp_activations
from lightning_advinterp.units.conv_layers import ConvTap, conv_taps
from lightning_advinterp.units.maps import Layout, Reduce, reduced
from lightning_advinterp.units.outputs import cuts_patches, kind_of, module_at, output_shapes, patch_grids

WORDS = ("all_conv", "all_mlp", "all_blocks", "last")
"""What stands for layers beside their paths."""


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


def layer_words(layers: str | Sequence[str]) -> tuple[str, ...]:
    """Return what a user says of layers as a list: words and paths, given as such or separated by commas."""
    names = layers.split(",") if isinstance(layers, str) else layers
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def check_words(network: Network, layers: str | Sequence[str]) -> None:
    """Refuse paths that a network lacks, with the nearest that it has, and files that are no bases.

    Raises:
        ValueError: naming the first.
        FileNotFoundError: if there is no such file.
    """
    words = [split_word(word) for word in layer_words(layers)]
    if not words:
        raise ValueError(f"layers must be {', '.join(WORDS)}, or names of layers, got none.")
    check_layers(network.backbone, [name for name, _ in words if name not in (*WORDS, *ALIASES)])
    for _, file in words:
        if file is not None:
            check_basis(file)


def unit_space(network: Network, layers: str | Sequence[str] | UnitSpace) -> UnitSpace:
    """Return the units of the layers that words or paths stand for.

    A black image passes the network once, so that what cannot be read is refused before any work.

    Args:
        network: with the layers.
        layers: ``all_conv``: every convolution of the main path, read where its response is used; ``all_mlp``: the
            neurons of all blocks' MLPs; ``all_blocks``: what all blocks return; ``last``: the family's φ, or
            the last features that a timm network declares; or module paths, read as they return; in a list or separated
            by commas. ``LAYER@FILE`` reads a layer in the basis that a file holds. A space is returned as it is.

    Raises:
        ValueError: if a layer is unknown, there are none of a kind, or a layer returns nothing that has units; names
            the layer and its shape.
    """
    if isinstance(layers, UnitSpace):
        return layers
    check_words(network, layers)
    convolutions = conv_taps(network)
    readings: dict[tuple[str, str, str | None], bool | None] = {}
    for word in layer_words(layers):
        name, file = split_word(word)
        for (layer, tap), signed in _named(network, name, convolutions).items():
            readings[layer, tap, file] = signed
    _refuse_two_readings([(layer, tap) for layer, tap, file in readings if file is None])
    shapes = output_shapes(network, list(dict.fromkeys(tap for _, tap, _ in readings)))
    grids: list[tuple[int, int]] | None = None
    units = []
    for (layer, tap, file), signed in readings.items():
        module = module_at(network, tap)
        layout = None
        if shapes is not None:
            images, *shape = shapes[tap]
            if len(shape) == 2 and grids is None:
                grids = patch_grids(network)
            candidate = Layout.of(tuple(shape), module, grids or []) if images == 1 else None  # windows count as images
            layout = _known(candidate, layer, shapes[tap])
        side: Literal["output", "input"] = "input" if tap == "penultimate" else "output"
        unit = UnitLayer(layer, tap, signed, kind_of(module), side, layout)
        units.append(unit if file is None else in_basis(unit, file, network))
    _refuse_equal_names(units)
    return UnitSpace(tuple(units))


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


def _refuse_two_readings(readings: Sequence[tuple[str, str]]) -> None:
    """Refuse a layer that is read in two places, whose rows nobody could tell apart."""
    taps: dict[str, str] = {}
    for layer, tap in readings:
        if taps.setdefault(layer, tap) != tap:
            raise ValueError(
                f"layers: {layer!r} would be read twice, at {taps[layer]!r} as one of all_conv and at {tap!r} by its "
                "name; leave one of the two out."
            )


def _named(network: Network, name: str, convolutions: list[ConvTap]) -> dict[tuple[str, str], bool | None]:
    """Return layers and what is read of them, for one word or path, with the sign of what is read."""
    if name == "all_conv":
        _refuse_patch_embedding(network, convolutions)
        return {(conv.layer, conv.tap): conv.signed for conv in convolutions}
    signs = {conv.tap: conv.signed for conv in convolutions}
    if name == "last":
        last = network.phi or declared_features(network.backbone)  # timm's Swin has no φ: its channels come last
        if last is None:
            raise ValueError(f"layers: {network.name} has no known last feature layer (phi); name the layers instead.")
        paths = [last]
    elif name == "all_mlp":
        paths = mlp_activations(network.backbone)
    elif name == "all_blocks":
        paths = block_paths(network.backbone, convolutions)
    else:
        paths = [name]
    if not paths:
        what = "MLPs in blocks" if name == "all_mlp" else "blocks"
        raise ValueError(f"layers: {network.name} has no {what} that {name} could stand for; name the layers.")
    return {(path, path): signs.get(path) for path in paths}


def _refuse_patch_embedding(network: Network, convolutions: list[ConvTap]) -> None:
    """Refuse ``all_conv`` where there are no convolutions, or none but the one that cuts an image into patches."""
    blocks = mlp_activations(network.backbone)
    if convolutions and not (blocks and all(cuts_patches(network.backbone, conv.layer) for conv in convolutions)):
        return
    if blocks:
        embedding = f" but its patch embedding {convolutions[0].layer!r}" if convolutions else ""
        raise ValueError(f"layers: {network.name} has no convolutions{embedding}; say all_mlp, all_blocks, or last.")
    raise ValueError(f"layers: {network.name} has no convolutions; name the layers.")


def _known(layout: Layout | None, layer: str, shape: Sequence[int]) -> Layout:
    if layout is None:
        first = "B" if shape[0] == 1 else f"{shape[0]} B"
        raise ValueError(
            f"layers: {layer!r} returns shape [{first}, {', '.join(map(str, shape[1:]))}]; units are the channels of "
            "maps [B, U, H, W] or [B, H, W, U], of tokens [B, T, U] on a grid of patches, or of vectors [B, U]: name "
            "such a layer."
        )
    return layout
