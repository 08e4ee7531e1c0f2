"""The words and names by which users say which layers they mean, as layers and what is read of them."""

from collections.abc import Sequence

from torch import nn

from lightning_advinterp.networks.families import declared_features
from lightning_advinterp.networks.network import ALIASES, Network
from lightning_advinterp.networks.parts import attention_heads, locate, no_heads, tokens_apart
from lightning_advinterp.networks.sites import check_layers, parse_layer
from lightning_advinterp.units.basis_words import check_basis, split_word
from lightning_advinterp.units.blocks import attention_paths, block_paths, in_order, mlp_activations
from lightning_advinterp.units.conv_layers import ConvTap, conv_taps
from lightning_advinterp.units.outputs import cuts_patches

WORDS = ("all", "all_conv", "all_mlp", "all_heads", "all_blocks", "last")
"""What stands for layers beside their paths."""

_KINDS = {"all_mlp": "MLPs in blocks", "all_heads": "attention heads", "all_blocks": "blocks"}
_HEADS, _REGISTERS = "heads", "registers"
"""What stands for several parts, after ``:``."""

Readings = dict[tuple[str, str], bool | None]
"""Layers and what is read of them, with whether it can be negative, None where that is not known."""


def layer_words(layers: str | Sequence[str]) -> tuple[str, ...]:
    """Return what a user says of layers as a list: words and paths, given as such or separated by commas."""
    names = layers.split(",") if isinstance(layers, str) else layers
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def check_words(network: Network, layers: str | Sequence[str]) -> None:
    """Refuse paths and parts that a network lacks, with the nearest that it has, and files that are no bases.

    Raises:
        ValueError: naming the first.
        FileNotFoundError: if there is no such file.
    """
    words = [split_word(word) for word in layer_words(layers)]
    if not words:
        raise ValueError(f"layers must be {', '.join(WORDS)}, or names of layers, got none.")
    for name, _ in words:
        base, _, part = name.partition(":")
        if base in (*WORDS, *ALIASES):
            continue
        check_layers(network.backbone, [name])
        if part not in ("", _HEADS, _REGISTERS):
            locate(network.backbone, name)
    for _, file in words:
        if file is not None:
            check_basis(file)


def readings(network: Network, layers: str | Sequence[str]) -> dict[tuple[str, str, str | None], bool | None]:
    """Return the layers that words and names stand for, in order.

    Returns:
        Of each layer its name, what is read of it and the file of its basis, None for none; with whether what is read
        can be negative, None where that is not known.

    Raises:
        ValueError: if a word stands for nothing in this network, or a layer would be read in two places.
    """
    convolutions = conv_taps(network)
    named: dict[tuple[str, str, str | None], bool | None] = {}
    for word in layer_words(layers):
        name, file = split_word(word)
        for (layer, tap), signed in _named(network, name, convolutions).items():
            named[layer, tap, file] = signed
    _refuse_two_readings([(layer, tap) for layer, tap, file in named if file is None])
    return named


def _refuse_two_readings(named: Sequence[tuple[str, str]]) -> None:
    """Refuse a layer that is read in two places, whose rows nobody could tell apart."""
    taps: dict[str, str] = {}
    for layer, tap in named:
        if taps.setdefault(layer, tap) != tap:
            raise ValueError(
                f"layers: {layer!r} would be read twice, at {taps[layer]!r} as one of all_conv and at {tap!r} by its "
                "name; leave one of the two out."
            )


def _named(network: Network, name: str, convolutions: list[ConvTap]) -> Readings:
    """Return layers and what is read of them, for one word or path, with the sign of what is read."""
    if name == "all":
        return _main_path(network, convolutions)
    if name == "all_conv":
        _refuse_patch_embedding(network, convolutions)
        return {(conv.layer, conv.tap): conv.signed for conv in convolutions}
    signs = {conv.tap: conv.signed for conv in convolutions}
    base, _, part = name.partition(":")
    named: Readings = {}
    for path in _paths(network, base, convolutions):
        named |= {(tap, tap): signs.get(tap) for tap in _with_part(network.backbone, path, part, name)}
    return named


def _paths(network: Network, word: str, convolutions: list[ConvTap]) -> list[str]:
    """Return the paths that a word or a path stands for."""
    if word == "last":
        last = network.phi or declared_features(network.backbone)  # φ has places; features of tokens have none
        if last is None:
            raise ValueError(f"layers: {network.name} has no known last feature layer (phi); name the layers instead.")
        return [last]
    if word in ("all", "all_conv"):
        raise ValueError(f"layers: {word} has no parts; say all_blocks:class for instance, or name a layer.")
    if word not in _KINDS:
        return [word]
    paths = _of_kind(network.backbone, word, convolutions)
    if not paths:
        silent = [module for module in network.backbone.modules() if no_heads(module)] if word == "all_heads" else []
        reason = f" ({type(silent[0]).__name__} {no_heads(silent[0])})" if silent else ""
        raise ValueError(
            f"layers: {network.name} has no {_KINDS[word]} that {word} could stand for{reason}; name the layers."
        )
    return paths


def _of_kind(backbone: nn.Module, word: str, convolutions: list[ConvTap]) -> list[str]:
    """Return the paths of all MLPs' neurons, heads or blocks; none where the network has none."""
    if word == "all_mlp":
        return mlp_activations(backbone)
    if word == "all_blocks":
        return block_paths(backbone, convolutions)
    heads: list[str] = []
    for path in attention_paths(backbone):
        heads += _heads(backbone, path)
    return heads


def _main_path(network: Network, convolutions: list[ConvTap]) -> Readings:
    """Return every place of the main path once: convolutions, MLPs' neurons, heads, and blocks."""
    named: Readings = {(conv.layer, conv.tap): conv.signed for conv in convolutions}
    taps = {tap for _, tap in named}
    paths: Readings = {}
    for word in _KINDS:
        paths |= {(path, path): None for path in _of_kind(network.backbone, word, convolutions) if path not in taps}
    if not paths:
        if not named:
            raise ValueError(f"layers: {network.name} has no convolutions, MLPs or blocks; name the layers.")
        return named  # as they are computed, which may be another order than they are declared in
    named |= paths
    order = in_order(network.backbone, [parse_layer(tap).path for _, tap in named])
    return dict(sorted(named.items(), key=lambda item: order[parse_layer(item[0][1]).path]))


def _with_part(backbone: nn.Module, path: str, part: str, name: str) -> list[str]:
    """Return a path with the part that is meant, or with each of several."""
    if not part:
        return [path]
    if part == _HEADS:
        return _heads(backbone, path) or [f"{path}:head0"]  # which is refused with the reason
    if part != _REGISTERS:
        return [f"{path}:{part}"]
    registers = [token for token in tokens_apart(backbone) if token.startswith("register")]
    if not registers:
        raise ValueError(f"layers: {type(backbone).__name__} has no register tokens, which {name} asks for.")
    return [f"{path}:{token}" for token in registers]


def _heads(backbone: nn.Module, path: str) -> list[str]:
    heads = attention_heads(backbone, path)
    return [] if heads is None else [f"{path}:head{number}" for number in range(heads[1])]


def _refuse_patch_embedding(network: Network, convolutions: list[ConvTap]) -> None:
    """Refuse ``all_conv`` where there are no convolutions, or none but the one that cuts an image into patches."""
    blocks = mlp_activations(network.backbone)
    if convolutions and not (blocks and all(cuts_patches(network.backbone, conv.layer) for conv in convolutions)):
        return
    if blocks:
        embedding = f" but its patch embedding {convolutions[0].layer!r}" if convolutions else ""
        raise ValueError(f"layers: {network.name} has no convolutions{embedding}; say all_mlp, all_blocks, or last.")
    raise ValueError(f"layers: {network.name} has no convolutions; name the layers.")
