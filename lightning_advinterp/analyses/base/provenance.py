"""Where a number comes from: settings, seed, hashes and versions, stored beside it."""

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.networks import Network, weights_hash

_PACKAGES = (
    "lightning-advinterp",
    "torch",
    "torchvision",
    "timm",
    "pytorch-lightning",
    "torchmetrics",
    "numpy",
    "pillow",
)


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide numbers."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def provenance(network: Network, data: Mapping[str, ImageSet], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything needed to tell two results apart.

    Args:
        network: its architecture and the hash of its weights are recorded.
        data: images by the names that they go by (``data``, ``concepts``); fingerprint and number are recorded.
        settings: plain types.
    """
    return {
        "settings": dict(settings),
        "network": network.spec(),
        "weights_sha256": weights_hash(network),
        "weights": network.origin.provenance(),
        **{name: {"fingerprint": images.fingerprint, "images": len(images)} for name, images in data.items()},
        "versions": package_versions(),
        "threads": torch.get_num_threads(),
    }


def digest(*parts: Any) -> str:
    """Return a short name for plain data: equal data, equal name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
