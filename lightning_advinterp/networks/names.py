"""Names that people type: the nearest ones that exist, and those that other settings say."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return up to ``count`` known names closest to ``name``, best first.

    Names that end in ``name``, or that ``name`` ends in, come first: a prefix too many or too few is the
    commonest slip. The rest is :func:`difflib.get_close_matches`.
    """
    names = list(dict.fromkeys(names))
    lower_name = name.lower()
    ending = [k for k in names if k and (lower_name.endswith("." + k.lower()) or k.lower().endswith("." + lower_name))]
    ending.sort(key=lambda k: abs(len(k) - len(name)))
    lowered = {k.lower(): k for k in reversed(names)}
    close = [lowered[k] for k in difflib.get_close_matches(lower_name, lowered, n=count, cutoff=0.5)]
    return list(dict.fromkeys(ending + close))[:count]


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return ``" Did you mean a, b or c?"``, or nothing where no known name is near."""
    close = nearest(name, names)
    if not close:
        return ""
    *first, last = close
    return f" Did you mean {', '.join(first) + ' or ' if first else ''}{last}?"


def plain_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of torchvision's or timm's builder, which must not say what this package says itself.

    Raises:
        ValueError: naming the option, and the setting that takes its place.
    """
    for option, setting in (("pretrained", "weights"), ("checkpoint_path", "weights"), ("model_name", "name")):
        if option in options:
            raise ValueError(f"options of {name}: {option} is no option here; the network's {setting} says it.")
    return dict(options)
