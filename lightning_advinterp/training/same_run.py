"""Whether a configuration goes on with the run that its folder holds, or means another one."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.core.yaml_files import load_yaml

_log = logging.getLogger(__name__)

_SECTIONS = ("seed_everything", "model", "data")
"""Keys of a configuration that make a run what it is; the others say how long it goes and what watches it."""
_HARMLESS = {
    *("model.optimizer", "model.schedule"),  # compared with the checkpoint's own states, see ``resume`` and ``course``
    *("model.compile", "model.channels_last"),
    *(
        f"data.init_args.{name}"
        for name in (
            *("num_workers", "pin_memory", "prefetch", "batch_size", "augment_on_device", "on_bad_image"),
            *("download", "limit_val", "val_size", "test_size"),
        )
    ),
}
"""What may change within a run all the same."""
_DEFAULTS = {field.name: field.default for field in fields(AttackConfig)}
"""What an attack's settings are where they are left out; None: the type's own."""


def check_same_run(config: Path, text: str) -> None:
    """Refuse a configuration of another objective, network, data or seed than the checkpoint was trained with.

    Args:
        config: the configuration beside the checkpoint; what cannot be read is passed over with a warning.
        text: the configuration of the run that is to go on.

    Raises:
        ValueError: naming what differs.
    """
    if not config.exists():
        return
    try:
        was = load_yaml(config)
    except (ValueError, OSError) as error:
        _log.warning("%s cannot be read (%s); it is not compared with the configuration.", config, _first_line(error))
        return
    now = yaml.safe_load(text)
    if not isinstance(was, Mapping):
        _log.warning("%s holds no keys; it is not compared with the configuration.", config)
        return
    differs = [difference for key in _SECTIONS if key in was for difference in _differences(key, was[key], now[key])]
    if (now["model"].get("schedule") or {}).get("name") == "plateau":  # whose state knows no first rate
        rates = [(settings["model"].get("optimizer") or {}).get("lr") for settings in (was, now)]
        differs += [f"model.optimizer.lr was {rates[0]}, is {rates[1]}"] if rates[0] != rates[1] else []
    if differs:
        raise ValueError(
            f"name: {config.parent} holds a run of other settings: {'; '.join(differs)}. Give another name, set "
            "these as they were, or go on in spite of it with --allow_changes true."
        )


def _differences(key: str, was: Any, now: Any) -> Iterator[str]:
    """Yield what differs below one key, the nearest class first: its arguments are another class's."""
    if key.endswith(".attack"):
        was, now = _as_said(was), _as_said(now)
    if key in _HARMLESS or was == now or _same_path(was, now):
        return
    if not isinstance(was, Mapping) or not isinstance(now, Mapping):
        yield f"{key} was {_short(was)}, is {_short(now)}"
        return
    if was.get("class_path") != now.get("class_path"):
        yield f"{key} was {_short(was.get('class_path'))}, is {_short(now.get('class_path'))}"
        return
    # A later version of this program may have arguments that an earlier one did not write.
    keys = set(was) if key.endswith(("model", "init_args")) else {*was, *now}
    for name in [*was, *(name for name in now if name not in was)]:
        if name in keys:
            yield from _differences(f"{key}.{name}", was.get(name), now.get(name))


def _as_said(attack: Any) -> Any:
    """Return an attack's settings without those that are left out, which earlier versions wrote too.

    Nothing is built: an old folder's file may name a class that is no longer there, or not to be imported.
    """
    if isinstance(attack, list | tuple):
        attacks = [_as_said(entry) for entry in attack]
        return attacks[0] if len(attacks) == 1 else attacks
    settings = attack if isinstance(attack, Mapping) else {"type": attack}
    options = settings.get("options")
    settings = {**settings, **(options if isinstance(options, Mapping) else {})}  # the two forms mean the same
    said = {name: value for name, value in settings.items() if value not in (None, _DEFAULTS.get(name))}
    return {"type": _DEFAULTS["type"]} | {name: value for name, value in said.items() if name != "options"}


def _same_path(was: Any, now: Any) -> bool:
    texts = isinstance(was, str) and isinstance(now, str) and "\0" not in was + now
    return texts and Path(was).resolve() == Path(now).resolve()


def _short(value: Any) -> str:
    text = repr(value.rpartition(".")[2] if isinstance(value, str) and "/" not in value else value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
