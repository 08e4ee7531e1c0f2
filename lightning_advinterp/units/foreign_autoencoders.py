"""State dicts of other libraries' sparse autoencoders."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.core.tensor_files import read_tensor_file
from lightning_advinterp.units.autoencoder import Activation, SparseAutoencoder

_ROLES: dict[str, dict[str, bool]] = {
    "encoder": {"W_enc": True, "encoder.weight": False},
    "encoder_bias": {"b_enc": False, "encoder.bias": False, "latent_bias": False},
    "decoder": {"W_dec": False, "decoder.weight": True},
    "decoder_bias": {"b_dec": False, "pre_bias": False, "b_pre": False, "decoder.bias": False, "bias": False},
    "threshold": {"threshold": False},
}
"""What a tensor is, by its names, and whether it is to be transposed to ``[L, U]``."""

_SUBTRACTED = ("pre_bias", "b_pre")
"""Names of a decoder's bias that is always taken from the input."""

_COUNTERS = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")
"""What OpenAI's autoencoders note of their training."""

_CONFIG = "cfg.json"
_ARCHITECTURES = {"standard": "relu", "relu": "relu", "topk": "topk", "jumprelu": "jumprelu"}


@dataclass(frozen=True)
class Convention:
    """What a state dict does not say of its autoencoder; None: it is not known.

    Attributes:
        activation: ``relu``, ``topk`` or ``jumprelu``.
        k: of ``topk``.
        subtracts_bias: whether the decoder's bias is taken from the input.
        normalized: whether each place's units are centred and divided by their standard deviation.
    """

    activation: Activation | None = None
    k: int | None = None
    subtracts_bias: bool | None = None
    normalized: bool | None = None

    def or_else(self, default: "Convention") -> "Convention":
        """Return this convention, with another's settings where it has none."""
        return Convention(*(first if first is not None else second for first, second in self._pairs(default)))

    def differences(self, default: "Convention") -> list[str]:
        """Return the settings of which both know, and something else."""
        names = ("activation", "k", "subtracts_bias", "normalized")
        return [
            name
            for name, (first, second) in zip(names, self._pairs(default), strict=True)
            if first is not None and second is not None and first != second
        ]

    def _pairs(self, default: "Convention") -> list[tuple[Any, Any]]:
        return [
            (self.activation, default.activation),
            (self.k, default.k),
            (self.subtracts_bias, default.subtracts_bias),
            (self.normalized, default.normalized),
        ]


def read_autoencoder(path: str | Path, stated: Convention, units: int) -> SparseAutoencoder:
    """Read a state dict of SAELens, OpenAI's ``sparse_autoencoder``, or of one that has their names.

    What the tensors do not say is read from SAELens' ``cfg.json`` beside them, or from what OpenAI's state dict holds
    (whose top-k autoencoders normalise their input, as its loader does); else it must be said.

    Args:
        path: ``.safetensors``, or what ``torch.save`` wrote.
        stated: by the user.
        units: of the layer.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if tensors are missing, unknown or of other shapes, the convention is unknown, or what is stated
            contradicts the file.
    """
    content = read_tensor_file(path, what="source")
    if not isinstance(content, Mapping):
        raise ValueError(f"source: {path} holds {type(content).__name__}, expected a state dict.")
    content = dict(content)
    noted = _openai_convention(content).or_else(_saelens_convention(Path(path).with_name(_CONFIG)))
    if wrong := stated.differences(noted):
        raise ValueError(
            f"{wrong[0]}: the file of source says otherwise ({path}, or {_CONFIG} beside it); leave it out."
        )
    convention = stated.or_else(noted)
    tensors = _tensors(content, str(path))
    if convention.activation is None and "threshold" in tensors:
        convention = Convention("jumprelu").or_else(convention)
    convention = _complete(convention, any(name in content for name in _SUBTRACTED))
    _refuse_unused(stated, convention, "threshold" in tensors)
    return _built(tensors, convention, units, str(path))


def _openai_convention(content: dict[str, Any]) -> Convention:
    """Take the activation out of a state dict of OpenAI's, where it has one."""
    name, settings = content.pop("activation", None), content.pop("activation_state_dict", {})
    if name is None:
        return Convention()
    if name == "TopK" and settings.get("postact_fn", "ReLU") == "ReLU":
        return Convention("topk", int(settings["k"]), True, True)
    if name == "ReLU":
        return Convention("relu", None, True, False)
    raise ValueError(f"source: the activation {name!r} {settings or ''} is not known here; expected ReLU, or TopK.")


def _saelens_convention(path: Path) -> Convention:
    """Read SAELens' configuration, where there is one."""
    if not path.is_file():
        return Convention()
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        architecture = config.get("architecture", "standard")
        name = config.get("activation_fn_str", config.get("activation_fn", "relu"))
        k = config.get("k", (config.get("activation_fn_kwargs") or {}).get("k"))
        normalization = config.get("normalize_activations", "none")
        subtracts, rescaled = config.get("apply_b_dec_to_input"), config.get("rescale_acts_by_decoder_norm", False)
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"source: {path} is no configuration of SAELens ({error}).") from None
    activation: Any = _ARCHITECTURES.get("topk" if name == "topk" else str(architecture))
    expected = activation is not None and name in ("relu", "topk") and normalization in ("none", "layer_norm")
    if not expected or rescaled:
        raise ValueError(
            f"source: {path} has architecture {architecture!r}, activation_fn {name!r}, normalize_activations "
            f"{normalization!r} and rescale_acts_by_decoder_norm {rescaled!r}; expected {', '.join(_ARCHITECTURES)}, "
            "relu or topk, none or layer_norm, and false."
        )
    return Convention(activation, k if activation == "topk" else None, subtracts, normalization == "layer_norm")


def _complete(convention: Convention, subtracted: bool) -> Convention:
    """Refuse what is not known, where a wrong guess would give wrong numbers.

    Args:
        convention: what is known.
        subtracted: whether the bias' name says that it is taken from the input, as OpenAI's always is.
    """
    if convention.activation is None:
        raise ValueError("activation: the source does not say it; give --activation relu, or topk with --k.")
    if convention.activation == "topk" and convention.k is None:
        raise ValueError("k: the source does not say how many latents are active at a place; give --k.")
    if convention.subtracts_bias is None and not subtracted:
        raise ValueError(
            "subtracts_bias: the source does not say whether the decoder's bias is taken from the input; give "
            f"--subtracts_bias true|false, or its {_CONFIG} beside it."
        )
    return convention.or_else(Convention(None, 0, True, False))


def _refuse_unused(stated: Convention, convention: Convention, has_threshold: bool) -> None:
    """Refuse a k or a threshold that the activation does not have."""
    if stated.k is not None and convention.activation != "topk":
        raise ValueError(f"k={stated.k} is no setting of activation={convention.activation}; leave it out.")
    if has_threshold != (convention.activation == "jumprelu"):
        raise ValueError(
            f"activation: the source has {'a' if has_threshold else 'no'} threshold, which jumprelu alone has, got "
            f"{convention.activation}; give the activation of this file."
        )


def _tensors(content: Mapping[str, Any], path: str) -> dict[str, Tensor]:
    """Return tensors by what they are, as ``[L, U]``, ``[L]`` and ``[U]``."""
    tensors: dict[str, Tensor] = {}
    for name, value in content.items():
        if name in _COUNTERS:
            continue
        role = next((role for role, names in _ROLES.items() if name in names), None)
        if role is None or role in tensors or not isinstance(value, Tensor):
            expected = "; ".join(" or ".join(names) for names in _ROLES.values())
            raise ValueError(f"source: {path} holds {name!r}, expected one of each of: {expected}.")
        tensors[role] = value.T.contiguous() if _ROLES[role][name] else value
    missing = [role for role in ("encoder", "decoder") if role not in tensors]
    if missing:
        raise ValueError(
            f"source: {path} has no {missing[0]}, expected {' or '.join(_ROLES[missing[0]])}; it holds "
            f"{', '.join(content) or 'nothing'}."
        )
    return tensors


def _built(tensors: Mapping[str, Tensor], convention: Convention, units: int, path: str) -> SparseAutoencoder:
    encoder = tensors["encoder"].float()
    latents = len(encoder)
    shapes = {
        "encoder": (latents, units),
        "encoder_bias": (latents,),
        "decoder": (latents, units),
        "decoder_bias": (units,),
        "threshold": (latents,),
    }
    values = {name: tensors.get(name, torch.zeros(shape)).float() for name, shape in shapes.items()}
    for name, shape in shapes.items():
        if tuple(values[name].shape) != shape:
            raise ValueError(
                f"source: the {name.replace('_', ' ')} in {path} has shape {list(values[name].shape)}, expected "
                f"{list(shape)} for a layer of {units} units."
            )
    assert convention.activation is not None
    assert convention.k is not None
    if convention.activation == "topk" and not 1 <= convention.k <= latents:
        raise ValueError(f"k must be from 1 to the source's {latents} latents, got {convention.k}.")
    subtracted = values["decoder_bias"] if convention.subtracts_bias else torch.zeros(units)
    return SparseAutoencoder(
        values["encoder"],
        values["encoder_bias"],
        values["decoder"],
        values["decoder_bias"],
        subtracted.clone(),
        values["threshold"],
        convention.activation,
        convention.k if convention.activation == "topk" else 0,
        bool(convention.normalized),
    )
