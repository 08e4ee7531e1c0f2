"""A module again from the checkpoint of a run."""

from pathlib import Path
from typing import Any, TypeVar, cast

from lightning_advinterp.networks.checkpoint import load_checkpoint

Module = TypeVar("Module")


def module_from_checkpoint(kind: type[Module], path: str | Path, arguments: dict[str, Any]) -> Module:
    """Rebuild a module with the network that a checkpoint describes, and its weights; no code in it is run.

    Args:
        kind: the module's class.
        path: the checkpoint.
        arguments: of its constructor, for what a checkpoint does not hold (objective, optimizer, schedule); Lightning's
            own of the loading are passed over. A ``network`` is a module that takes the weights, where the
            checkpoint's was trained around one like it.
    """
    loaded = load_checkpoint(path, arguments.get("network"))
    ignored = {"strict", "weights_only", "network"}
    settings = {"seed": loaded.seed} | {key: value for key, value in arguments.items() if key not in ignored}
    create: Any = kind
    module = create(loaded.network, **settings)
    module.classes, module.class_names, module.resize = loaded.classes, loaded.class_names, loaded.resize
    return cast(Module, module)
