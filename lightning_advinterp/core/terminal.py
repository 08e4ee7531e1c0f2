"""The terminal as the commands write to it: names from files are text there, never markup, colours or emoji."""

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from lightning_advinterp.core.names import printable


class PlainConsole(Console):
    """A console that prints every string as it is, tables' cells and titles included."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False} | options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return what is printed of a string; every string passes here."""
        return super().render_str(printable(text), **options)


def terminal(*, quiet: bool = False) -> PlainConsole:
    """Return the console of a command; what the output's encoding lacks is written as an escape, and no error.

    Args:
        quiet: print nothing, as processes beside the first.
    """
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return PlainConsole(quiet=quiet)
