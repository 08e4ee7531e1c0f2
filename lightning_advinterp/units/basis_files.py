"""Bases as files: safetensors with notes that say which layer of which network they are of."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.core.files import write_atomically
from lightning_advinterp.core.tensor_files import read_notes, read_tensor_file, save_tensors
from lightning_advinterp.units.autoencoder import ACTIVATIONS, SparseAutoencoder
from lightning_advinterp.units.bases import Basis, Identity, NonNegativeParts, PrincipalComponents, Rotation

_NOTE, _NOTE_HASH = "basis", "basis_sha256"
_MOST_ITERATIONS = 100_000


@dataclass(frozen=True)
class BasisOrigin:
    """Where a basis comes from.

    Attributes:
        layer: path of the module whose units it maps.
        network: name of the network.
        weights_sha256: hash of the network's weights.
        recipe: how it was made, as plain data: settings, images, quality.
    """

    layer: str
    network: str
    weights_sha256: str
    recipe: Mapping[str, Any] = field(default_factory=dict)


def save_basis(path: str | Path, basis: Basis, origin: BasisOrigin) -> None:
    """Write a basis; the file is whole or absent.

    Args:
        path: must end with ``.safetensors``.
        basis: what is written.
        origin: is written beside it.

    Raises:
        ValueError: if the path ends otherwise.
        OSError: if it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"output must be a file NAME.safetensors, got {str(path)!r}.")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in basis.tensors().items()}
    tensors.setdefault("width", torch.tensor(basis.units))  # a file of no tensors is none
    note = json.dumps({"kind": basis.kind, "settings": basis.settings(), **asdict(origin)}, sort_keys=True)
    content = save_tensors(tensors, {_NOTE: note, _NOTE_HASH: _digest(note)})
    write_atomically(path, lambda file: file.write(content))


def load_basis(path: str | Path, what: str = "layers") -> tuple[Basis, BasisOrigin]:
    """Read a basis that :func:`save_basis` wrote.

    Args:
        path: the file.
        what: the argument that names it, for messages.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or is no basis of this package.
    """
    note = read_notes(path, what=what).get(_NOTE)
    if note is None:
        raise ValueError(
            f"{what}: {path} does not say which layer it is a basis of; make it one of this package, "
            f"advinterp bases --source {path} --layer LAYER --activation relu|topk."
        )
    if read_notes(path, what=what).get(_NOTE_HASH) != _digest(note):
        raise ValueError(f"{what}: {path} is damaged: its notes differ from their hash; make it anew.")
    tensors = read_tensor_file(path, what=what)
    try:
        entries = json.loads(note)
        texts = [entries[name] for name in ("layer", "network", "weights_sha256", "kind")]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a note is no text")
        basis = _READERS[entries["kind"]](tensors, entries["settings"])
        origin = BasisOrigin(entries["layer"], entries["network"], entries["weights_sha256"], dict(entries["recipe"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{what}: {path} is no basis that this version can read ({error}).") from None
    return basis, origin


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _matrix(tensors: Mapping[str, Tensor], name: str, *shape: int) -> Tensor:
    """Return a tensor of floats of a shape; −1 stands for any size of 1 or more.

    Raises:
        ValueError: if it is of another shape, or holds no numbers.
    """
    tensor = tensors[name]
    fits = tensor.dim() == len(shape) and all(
        size > 0 and expected in (-1, size) for size, expected in zip(tensor.shape, shape, strict=True)
    )
    if not fits or not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
        raise ValueError(f"{name} must be finite numbers of shape {list(shape)}, got {list(tensor.shape)}")
    return tensor.float() if tensor.dtype != torch.float64 else tensor


def _count(value: Any, name: str, most: float) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most:g}, got {value!r}")
    return value


def _identity(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Basis:
    return Identity(_count(settings["width"], "width", math.inf))


def _rotation(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Basis:
    directions = _matrix(tensors, "directions", -1, -1)
    return Rotation(directions, _matrix(tensors, "mean", directions.shape[1]))


def _components(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Basis:
    directions = _matrix(tensors, "directions", -1, -1)
    return PrincipalComponents(directions, _matrix(tensors, "mean", directions.shape[1]))


def _parts(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Basis:
    iterations = _count(settings["iterations"], "iterations", _MOST_ITERATIONS)
    return NonNegativeParts(_matrix(tensors, "parts", -1, -1), iterations)


def _autoencoder(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Basis:
    encoder = _matrix(tensors, "encoder", -1, -1)
    latents, units = encoder.shape
    activation, k = settings["activation"], settings["k"]
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be {', '.join(ACTIVATIONS)}, got {activation!r}")
    if activation == "topk":
        _count(k, "k", latents)
    return SparseAutoencoder(
        encoder,
        _matrix(tensors, "encoder_bias", latents),
        _matrix(tensors, "decoder", latents, units),
        _matrix(tensors, "decoder_bias", units),
        _matrix(tensors, "input_bias", units),
        _matrix(tensors, "threshold", latents),
        activation,
        k,
        bool(settings["normalized"]),
    )


_READERS: dict[str, Callable[[Mapping[str, Tensor], Mapping[str, Any]], Basis]] = {
    Identity.kind: _identity,
    Rotation.kind: _rotation,
    PrincipalComponents.kind: _components,
    NonNegativeParts.kind: _parts,
    SparseAutoencoder.kind: _autoencoder,
}
