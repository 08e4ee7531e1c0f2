"""A trained backbone for others: its tensors under its library's own names, and a small JSON that says what it is."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.files import remove_unfinished, write_atomically, write_json
from lightning_advinterp.core.locks import held
from lightning_advinterp.core.tensor_files import save_tensors
from lightning_advinterp.networks.factory import preprocessing
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.request import Request
from lightning_advinterp.networks.sources import (
    CifarSource,
    TimmSource,
    TorchvisionSource,
    find_source,
)
from lightning_advinterp.networks.tensor_checks import listed, no_numbers
from lightning_advinterp.taxonomy.wnid import wnid_in

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
EXPORT_FORMAT = 1
"""Version of ``config["advinterp"]``."""

_LIBRARIES = {TorchvisionSource: "torchvision", TimmSource: "timm", CifarSource: "lightning_advinterp"}


def export_network(
    network: Network,
    folder: str | Path,
    *,
    classes: Sequence[str] = (),
    class_names: Sequence[str] = (),
    resize: int | None = None,
    averaged: bool = False,
) -> tuple[Path, Path]:
    """Write ``model.safetensors`` and ``config.json``, each whole or not at all.

    The tensors are the bare backbone's, without prefixes: torchvision's or timm's own ``load_state_dict`` takes them.
    Normalisation is not among them; whoever loads them applies ``(pixel − mean) / std`` to pixels in [0, 1].

    Args:
        network: the network.
        folder: where to write; made where it is missing.
        classes: for each output its wnid or folder name; empty where unknown.
        class_names: the same for people.
        resize: shorter side of an image before the centre crop; by default in the proportion of the architecture's
            recipe.
        averaged: whether the weights are a moving average.

    Returns:
        The paths of both files.

    Raises:
        ValueError: if there is not one class for each output.
        RunStoppedError: if weights are no numbers.
        OSError: if the folder cannot be written to.
    """
    if len(classes) not in (0, network.num_classes):
        raise ValueError(f"classes must name each of {network.num_classes} outputs, got {len(classes)}.")
    state = network.backbone.state_dict()
    # Copies: tied weights share memory, which the format refuses, and channels_last strides do not survive.
    tensors = {key: value.detach().cpu().clone().contiguous() for key, value in state.items()}
    wrong = dict(no_numbers(tensors))
    if wrong:
        raise RunStoppedError(f"export: the network has {listed(wrong)}, which no program can use; nothing is written.")
    content = save_tensors(tensors)
    weights, config = Path(folder) / WEIGHTS_FILE, Path(folder) / CONFIG_FILE
    described = describe(network, classes, class_names, resize)
    described["advinterp"] |= {"averaged": averaged, "sha256": hashlib.sha256(content).hexdigest()}
    with held(folder):  # both files are of one network
        remove_unfinished(Path(folder))
        write_atomically(weights, lambda file: file.write(content))
        write_json(config, described, indent=1)
    return weights, config


def describe(
    network: Network, classes: Sequence[str] = (), class_names: Sequence[str] = (), resize: int | None = None
) -> dict[str, Any]:
    """Return what ``config.json`` says: timm's layout, so that ``local-dir:FOLDER`` loads it, and more.

    Args:
        network: as in :func:`export_network`, and so are the others.
        classes: see there.
        class_names: see there.
        resize: see there.
    """
    source = find_source(network.name)
    library = "lightning_advinterp" if network.stem or network.softplus else _LIBRARIES.get(type(source))
    recipe = preprocessing(network.name).at(network.input_size)
    names = list(class_names) or list(classes)
    entries = [
        {"index": index, "wnid": wnid_in(name), "folder": name, "name": names[index]}
        for index, name in enumerate(classes)
    ]
    described: dict[str, Any] = {
        "architecture": source.model.partition(".")[0] if isinstance(source, TimmSource) else network.name,
        "num_classes": network.num_classes,
        "pretrained_cfg": {
            "input_size": [len(network.mean), network.input_size, network.input_size],
            "mean": list(network.mean),
            "std": list(network.std),
            "interpolation": recipe.interpolation,
            "crop_pct": network.input_size / (resize or recipe.resize),
            "num_classes": network.num_classes,
        },
        "advinterp": {
            "format": EXPORT_FORMAT,
            "library": library,
            "arguments": _arguments(network),
            "network": network.spec(),
            "phi": network.phi,
            "resize": resize or recipe.resize,
            "classes": entries,
        },
    }
    if entries:
        described["label_names"] = list(classes)
        described["label_descriptions"] = dict(zip(classes, names, strict=True))
    return described


def _arguments(network: Network) -> dict[str, Any]:
    """Return the further arguments with which the library's own constructor builds the backbone."""
    source = find_source(network.name)
    if not isinstance(source, TorchvisionSource | TimmSource):
        return dict(network.options)
    return source.arguments(Request(network.num_classes, network.input_size, network.options, init=False))
