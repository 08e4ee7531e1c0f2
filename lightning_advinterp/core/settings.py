"""Settings of any form, nested dataclasses, namespaces, dictionaries and lists, walked through alike."""

from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

_LARGEST_SEED = 2**32 - 1
"""NumPy's generators, which Lightning seeds with the same number, take no larger one."""

_LARGEST_COUNT = 2**31 - 1
_SEEDS = ("seed", "seed_everything", "seeds")
_LEAST = {
    **dict.fromkeys(("accumulate_grad_batches", "batch_size", "check_val_every_n_epoch", "crop", "every_n_epochs"), 1),
    **dict.fromkeys(("calibration_images", "limit", "num_classes", "part", "resize", "steps", "targets"), 1),
    **dict.fromkeys(("gradient_clip_val", "log_every_n_steps", "milestones"), 0),
}
"""The smallest value of settings of these names, wherever they stand."""

_UNITS = {"calibration_images": " images", "limit": " images"}


def walked(settings: Any, path: str = "", *, free: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield every value that is no group of others, with its path: a dot before every key.

    Args:
        settings: of any form.
        path: where they stand.
        free: look into dictionaries below the top too, whose keys are the user's own and name no setting.

    Example:
        >>> list(walked({"model": {"network": "a.Net"}, "rows": [{"seed": 1}]}))
        [('.model.network', 'a.Net'), ('.rows.seed', 1)]
    """
    if (is_dataclass(settings) and not isinstance(settings, type)) or isinstance(settings, Namespace):
        settings = vars(settings)
    elif isinstance(settings, Mapping) and path and not free:
        return
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from walked(value, f"{path}.{key}", free=free)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from walked(value, path, free=free)
    else:
        yield path, settings


def require_least(settings: object, least: Mapping[str, float], path: str = "") -> None:
    """Refuse settings below their least values; null passes.

    Args:
        settings: with an attribute for each of ``least``.
        least: name of a setting to its smallest value.
        path: what stands before the names in messages, such as ``detection.``.

    Raises:
        ValueError: naming the setting.
    """
    values = vars(settings)
    for name, bound in least.items():
        value = values[name]
        if value is not None and value < bound:
            raise ValueError(f"{path}{name} must be {bound} or more, got {value}.")


def require_above_zero(settings: object, most: Mapping[str, float], path: str = "") -> None:
    """Refuse settings that are not above 0, or lie above their largest values.

    Args:
        settings: with an attribute for each of ``most``.
        most: name of a setting to its largest value, which may be infinite.
        path: what stands before the names in messages.

    Raises:
        ValueError: naming the setting.
    """
    values = vars(settings)
    for name, bound in most.items():
        if not 0 < values[name] <= bound:
            raise ValueError(f"{path}{name} must lie above 0 and at {bound:g} or below, got {values[name]}.")


def check_numbers(settings: Any) -> None:
    """Refuse counts, sizes and seeds that are none, wherever they stand; what is left out passes.

    Raises:
        ValueError: naming the setting.
    """
    for path, value in walked(settings, free=False):
        name = path.rpartition(".")[2]
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if name in _SEEDS and not 0 <= value <= _LARGEST_SEED:
            raise ValueError(f"{path[1:]} must be a whole number from 0 to {_LARGEST_SEED}, got {value}.")
        least = _LEAST.get(name)
        if least is not None and not value >= least:
            raise ValueError(f"{path[1:]} must be {least} or more{_UNITS.get(name, '')}, got {value}.")
        if least is not None and value > _LARGEST_COUNT:
            raise ValueError(f"{path[1:]} must be {_LARGEST_COUNT} at most, got {value}.")
