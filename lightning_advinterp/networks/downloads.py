"""Whether weights that are to be downloaded can be had, seen before a library waits for a network that is not there."""

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch

_SECONDS = 5.0
"""How long a host may take to answer; libraries wait up to a minute, with a line for every trial."""
_HUB_FILES = (
    "model.safetensors",
    "pytorch_model.bin",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)
"""What the weights of a network of timm are called on the hub."""


def require_url(owner: str, url: str) -> None:
    """See that a file of torch's cache is there, or that its host answers.

    Args:
        owner: whose weights they are, and what they are called, for the message.
        url: of the file.

    Raises:
        FileNotFoundError: if neither is so, with what to do.
    """
    cache, file = Path(torch.hub.get_dir()) / "checkpoints", urlsplit(url).path.rpartition("/")[2]
    if (cache / file).exists():
        return
    reason = unreachable(url)
    if reason is not None:
        raise missing(owner, reason, f"put {file} into {cache}")


def hub_obstacle(repository: str, files: Iterable[str] = _HUB_FILES) -> str | None:
    """Return why a file of the Hugging Face hub can be had neither from its cache nor from the hub, None if it can.

    Args:
        repository: ``ORG/NAME``, also with ``@REVISION``.
        files: one of them in the cache is enough.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    name, _, revision = repository.partition("@")
    cached = (try_to_load_from_cache(name, file, revision=revision or None) for file in files)
    if any(isinstance(path, str) for path in cached):
        return None
    return "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else unreachable(constants.ENDPOINT)


def require_timm(owner: str, config: Mapping[str, Any]) -> None:
    """See that what timm would download is there, or that its host answers.

    Args:
        owner: whose weights they are, for the message.
        config: timm's own of pretrained weights.

    Raises:
        FileNotFoundError: if neither is so, with what to do.
    """
    if config.get("file") or config.get("state_dict"):
        return
    if config.get("hf_hub_id"):
        from huggingface_hub import constants

        repository, file = config["hf_hub_id"], config.get("hf_hub_filename")
        obstacle = hub_obstacle(repository, _HUB_FILES if file is None else (file, *_HUB_FILES))
        if obstacle is not None:
            command = f"hf download {repository.partition('@')[0]}"
            remedy = f"fill {constants.HF_HUB_CACHE} by `{command}` where there is a connection"
            raise missing(owner, obstacle, remedy)
    elif config.get("url"):
        require_url(owner, config["url"])


def missing(owner: str, reason: str, remedy: str) -> FileNotFoundError:
    """Return the error of weights that are neither here nor to be had; a table of networks leaves such a row out."""
    return FileNotFoundError(
        f"weights: {owner} are not on this machine and cannot be downloaded ({reason}); {remedy}, or give a file as "
        "weights, or leave weights out for random ones."
    )


def unreachable(url: str) -> str | None:
    """Return why a host does not answer, None if it does; behind a proxy nothing is tried, since it decides.

    Args:
        url: of a file there.
    """
    address = urlsplit(url)
    if address.hostname is None or getproxies().keys() & {address.scheme, "all"}:
        return None
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname, port), timeout=_SECONDS).close()
    except OSError as error:
        return f"{address.hostname}: {error.strerror or error}"
    return None
