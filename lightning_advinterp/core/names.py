"""Names on their way out: of files, classes, attacks and arms, into terminals, tables, figures, commands and paths.

Such names come from users' folders, configurations and checkpoints, and may hold anything. A file name on Linux is a
string of bytes; Python keeps those that are no UTF-8 as lone surrogates, which no file and no terminal can be sent.
"""

import hashlib
import re
import shlex
import unicodedata
from collections.abc import Container, Mapping
from itertools import count
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

_LINE = "\n\t"
_BIDI = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that nobody sees and that turn the text around them."""

_FORMULA = re.compile("'*[=+\\-@\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that spreadsheets compute, in full width too; a tab or carriage return is escaped anyway."""

_UNSAFE = re.compile(r"[/\\\0-\x1f\x7f:*?\"<>|]")
_LONGEST = 150
"""Bytes of a file's name without its ending; file systems take 255."""


def readable(text: str) -> str:
    r"""Write bytes that are no UTF-8 as ``\xNN``; all other text stays as it is.

    >>> readable("caf\udce9.jpg")
    'caf\\xe9.jpg'
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
        except UnicodeEncodeError:  # a surrogate that stands for no byte, as JSON can hold it
            return text.encode(errors="backslashreplace").decode()
    return text


def readable_json(value: Any) -> Any:
    """Return nested dictionaries and lists with all of their texts :func:`readable`."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, Mapping):
        return {readable(str(key)): readable_json(item) for key, item in value.items()}
    return [readable_json(item) for item in value] if isinstance(value, list | tuple) else value


def printable(text: str, keep: str = _LINE) -> str:
    r"""Write what a terminal would obey and nobody would see as escapes, and bytes that are no UTF-8 too.

    Args:
        text: any.
        keep: control characters that are meant.

    >>> printable("\x1b[31mred\x1b[0m")
    '\\x1b[31mred\\x1b[0m'
    """
    text = readable(text)
    if text.isprintable():
        return text
    return "".join(letter if letter in keep or not _hidden(letter) else _escaped(letter) for letter in text)


def _hidden(letter: str) -> bool:
    return unicodedata.category(letter) == "Cc" or letter in _BIDI


def _escaped(letter: str) -> str:
    return f"\\x{ord(letter):02x}" if ord(letter) < 256 else f"\\u{ord(letter):04x}"


def cell(text: str) -> str:
    r"""Return a text as a cell of a CSV file that no spreadsheet takes for a formula.

    Text that begins with ``=``, ``+``, ``-`` or ``@`` gets an apostrophe before it, and so does text that begins with
    apostrophes before one of these, so that :func:`from_cell` returns it. Control characters and bytes that are no
    UTF-8 stay written as ``\xNN``.

    >>> cell("=1+1"), cell("'=x"), cell("it's")
    ("'=1+1", "''=x", "it's")
    """
    text = printable(text, keep="")
    return f"'{text}" if _FORMULA.match(text) else text


def from_cell(text: str) -> str:
    """Return the text that :func:`cell` wrote.

    >>> from_cell("'=1+1"), from_cell("it's")
    ('=1+1', "it's")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def file_name(name: str) -> str:
    """Return a name as that of a file without its ending: in one folder, not hidden, of a length that can be written.

    A name that has to be changed gets a short hash, so that no two become one.

    >>> file_name("panels_layer4.1.conv2"), file_name("../x")
    ('panels_layer4.1.conv2', '_._x-d6b96a')
    """
    safe = _UNSAFE.sub("_", printable(name, keep=""))
    safe = re.sub(r"^[.\s]|[.\s]$", "_", safe) or "_"
    safe = safe.encode()[:_LONGEST].decode(errors="ignore")
    if safe == name:
        return name
    return f"{safe}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:6]}"


def require_inside(name: str, argument: str) -> None:
    """Refuse a name of a folder below an output that would leave it.

    Args:
        name: of the folder; parts separated by / are folders in folders.
        argument: what gave it, for the message.

    Raises:
        ValueError: if it is empty, absolute, or goes up.
    """
    parts = PurePath(name.replace("\\", "/")).parts
    absolute = Path(name).is_absolute() or PureWindowsPath(name).drive or name.startswith(("/", "\\", "~"))
    if not parts or absolute or ".." in parts or printable(name, keep="") != readable(name):
        raise ValueError(
            f"{argument} must name a folder below the output, without '..' and not absolute, got {name!r}; "
            "choose where it lies by output."
        )


def shell(*words: str | Path) -> str:
    r"""Return words as a command line that a shell reads as they are.

    >>> shell("python", "evaluate.py", "my runs/$HOME")
    "python evaluate.py 'my runs/$HOME'"
    """
    return " ".join(map(_quoted, map(str, words)))


def _quoted(word: str) -> str:
    if printable(word, keep="") == word:
        return shlex.quote(word)
    # $'…' of bash and zsh: the only quotes in which bytes that cannot be shown can be written.
    letters = (
        letter if letter.isprintable() and letter not in "\\'" else "".join(f"\\x{byte:02x}" for byte in _bytes(letter))
        for letter in word
    )
    return f"$'{''.join(letters)}'"


def _bytes(letter: str) -> bytes:
    try:
        return letter.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return b"?"


def markdown_cell(text: str) -> str:
    r"""Return a text as it stands in a cell of a Markdown table: nothing in it is markup, and it is one line.

    >>> markdown_cell("a|b <b>"), markdown_cell("robust_adv-0")
    ('a\\|b \\<b>', 'robust_adv-0')
    """
    return re.sub(r"([\\`*\[|<$])", r"\\\1", printable(text, keep=""))


def untaken(title: str, titles: Container[str]) -> str:
    """Return a title, with a number where another one has it.

    >>> untaken("ResNet", {"ResNet", "ResNet (2)"})
    'ResNet (3)'
    """
    numbered = (title if number == 1 else f"{title} ({number})" for number in count(1))
    return next(name for name in numbered if name not in titles)
