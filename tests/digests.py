"""SHA-256 of what a training run leaves, for comparing runs byte by byte."""

import hashlib
from pathlib import Path

import torch

_LEFT_OUT = ("dirpath", "best_model_path", "kth_best_model_path", "last_model_path", "current_score")


def digest(value: object, hasher=None) -> str:
    """SHA-256 over all numbers and names in nested containers.

    Left out are the paths of files, and the score that ``best.ckpt`` had when last written, which Lightning keeps but
    does not read back.
    """
    hasher = hasher or hashlib.sha256()
    if isinstance(value, torch.Tensor):
        hasher.update(f"{value.dtype}{list(value.shape)}".encode() + value.contiguous().numpy().tobytes())
    elif isinstance(value, dict):
        for key, entry in value.items():
            if key not in _LEFT_OUT:
                digest([Path(str(key)).name, entry], hasher)  # best_k_models is keyed by path
    elif isinstance(value, list | tuple):
        for entry in value:
            digest(entry, hasher)
    else:
        hasher.update(repr(value).encode())
    return hasher.hexdigest()


def outcome(folder: Path) -> dict[str, str]:
    """The digests of all that a finished run leaves."""
    digests = {}
    for name in ("last", "best"):
        content = torch.load(folder / f"{name}.ckpt", weights_only=True)
        digests[f"{name}: averaged weights"] = digest(content["state_dict"])
        digests[f"{name}: trained weights"] = digest(content["current_model_state"])
        digests[f"{name}: all else"] = digest(
            {key: value for key, value in content.items() if key not in ("state_dict", "current_model_state")}
        )
    return digests
