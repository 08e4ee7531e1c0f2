"""What a command's ``--help`` prints: a screen of the keys that most users need, from a text file beside this module.

The command's own parser has hundreds of keys and needs torch, torchvision and Lightning to list them; ``--help all``
does that.
"""

from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / "help"
"""A text for each command that has one, in which ``{program}`` stands for how the command was started."""


def first_help(command: str, program: str, args: Sequence[str]) -> str | None:
    """Return the text that a command line asks for.

    Args:
        command: its name.
        program: how it was started, such as ``python train.py``.
        args: the rest of the command line.

    Returns:
        The text; None: the command line asks for no help, or for all keys, or the command has no text.
    """
    places = [place for place, word in enumerate(args) if word in ("-h", "--help")]
    path = FOLDER / f"{command}.txt"
    if not places or not path.is_file() or list(args[places[0] + 1 : places[0] + 2]) == ["all"]:
        return None
    if command == "broden" and places[0] > 0:  # its sub-commands have their own
        return None
    return path.read_text(encoding="utf-8").rstrip("\n").replace("{program}", program)
