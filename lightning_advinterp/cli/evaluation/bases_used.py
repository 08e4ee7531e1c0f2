"""The bases that an evaluation reads layers in: printed, and part of where its numbers come from."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.core.settings import walked
from lightning_advinterp.units.basis_files import load_basis
from lightning_advinterp.units.basis_words import split_word
from lightning_advinterp.units.words import layer_words

_KEYS = ("layers", "layer")
"""Settings that name layers."""


def bases_used(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Return what is known of every basis that settings name, by what tables call it.

    Args:
        evaluation: with the settings of all analyses.

    Returns:
        ``file, sha256`` (of the file), ``kind, latents, layer, network, weights_sha256``.

    Raises:
        ValueError, FileNotFoundError: if one cannot be read.
    """
    bases: dict[str, dict[str, Any]] = {}
    for path, value in walked(evaluation):
        if path.rpartition(".")[2] not in _KEYS or not isinstance(value, str):
            continue
        for word in layer_words(value):
            layer, file = split_word(word)
            if file is None:
                continue
            basis, origin = load_basis(file)
            content = hashlib.sha256(Path(file).read_bytes()).hexdigest()
            bases[f"{layer}@{Path(file).stem}"] = {
                "file": file,
                "sha256": content,
                "kind": basis.kind,
                "latents": basis.latents,
                "layer": origin.layer,
                "network": origin.network,
                "weights_sha256": origin.weights_sha256,
            }
    return bases


def basis_lines(bases: Mapping[str, Mapping[str, Any]], weights_sha256: str) -> list[str]:
    """Return a line for each basis, which says where it was made on another network.

    Args:
        bases: of :func:`bases_used`.
        weights_sha256: of the network that is looked at.
    """
    lines = []
    for name, basis in bases.items():
        line = f"basis {name}: {basis['kind']} of {basis['layer']}, {basis['latents']:,} latents, {basis['file']}"
        if basis["weights_sha256"] != weights_sha256:
            line += f"; it was made on other weights than this network's, those of {basis['network']}"
        lines.append(line)
    return lines
