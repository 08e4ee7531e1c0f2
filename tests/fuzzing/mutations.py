"""Seeded mutations of files: what an accident, an editor, another program or an attacker makes of them.

A case is a dictionary of relative paths to contents. A mutation changes one file by one of the families that fit its
ending; its name says which, so that a finding can be read and repeated.
"""

import csv
import io
import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from random import Random

import yaml

from fuzzing.pictures import PICTURES
from fuzzing.tensors import ARRAYS, PICKLES, SAFETENSORS, TENSORS

Text = Callable[[str, Random], str]
Change = Callable[[bytes, Random], bytes]


class Node(Enum):
    """What may lie in a file's place."""

    FOLDER = "folder"
    FIFO = "fifo"
    LOOP = "loop"


Files = dict[str, bytes | Node]

NAMES = (
    "../secret", "../../secret.png", "/etc/hostname", "a/b", "..", "", " ", "[red]x[/red]", "[/]",
    "$\\frac{$", "x\x1b[31m",
    "=1+1", "n01440764", "\u202egnp", "é" * 300, "\0", "true", "null", "|", "<b>",
)  # fmt: skip
NUMBERS = ("nan", "inf", "-inf", "-1", "0", "1e308", "1e999", "9" * 30, "-0.5", "0x10", "1_000", "½", "", "one", "2.5")
VALUES = (
    None, True, False, -1, 0, 10**30, -(2**63), 1e308, float("nan"), float("inf"), "", "x", "../secret", [], {}, [[]],
    {"a": 1}, [None], "9" * 5000, 2.5,
)  # fmt: skip


def _spot(data: bytes, rng: Random) -> tuple[int, int]:
    start = rng.randrange(len(data) or 1)
    return start, min(len(data), start + rng.choice((1, 2, 8, 64, 512)))


def _flip(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data or b"\0")
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _noise(data: bytes, rng: Random) -> bytes:
    first, last = _spot(data, rng)
    return data[:first] + rng.randbytes(last - first) + data[last:]


def _fill(data: bytes, rng: Random) -> bytes:
    first, last = _spot(data, rng)
    return data[:first] + rng.choice((b"\0", b"\xff", b"A")) * (last - first) + data[last:]


def _insert(data: bytes, rng: Random) -> bytes:
    first, last = _spot(data, rng)
    return data[:first] + rng.randbytes(max(1, last - first)) + data[first:]


def _remove(data: bytes, rng: Random) -> bytes:
    first, last = _spot(data, rng)
    return data[:first] + data[last:]


def _repeat(data: bytes, rng: Random) -> bytes:
    first, last = _spot(data, rng)
    return data[:last] + data[first:last] + data[last:]


def _swap(data: bytes, rng: Random) -> bytes:
    first, second = sorted((rng.randrange(len(data) or 1), rng.randrange(len(data) or 1)))
    size = min(second - first, len(data) - second, 64)
    return data[:first] + data[second : second + size] + data[first + size : second] + data[first : first + size] + data[second + size :]  # fmt: skip # noqa: E501


BYTES: dict[str, Change] = {
    "cut": lambda data, rng: data[: rng.randrange(len(data) or 1)],
    "cut_end": lambda data, rng: data[: -rng.randrange(1, 9)],
    "empty": lambda data, rng: b"",
    "flip": _flip,
    "noise": _noise,
    "fill": _fill,
    "insert": _insert,
    "remove": _remove,
    "repeat": _repeat,
    "swap": _swap,
    "append": lambda data, rng: data + rng.randbytes(rng.choice((1, 100))),
    "prepend": lambda data, rng: rng.randbytes(rng.choice((1, 100))) + data,
    "twice": lambda data, rng: data + data,
}
"""Of any file."""


def _numbers(text: str) -> list[tuple[int, int]]:
    spots, start = [], None
    for place, letter in enumerate(text + " "):
        inside = letter.isdigit() or (letter in ".-" and start is not None)
        if inside and start is None:
            start = place
        elif not inside and start is not None:
            spots.append((start, place))
            start = None
    return spots


def _number(text: str, rng: Random) -> str:
    first, last = rng.choice(_numbers(text) or [(0, 0)])
    return text[:first] + rng.choice(NUMBERS) + text[last:]


def _word(text: str, rng: Random) -> str:
    words = [word for word in text.replace(",", " ").replace(";", " ").split() if word]
    return text.replace(rng.choice(words), rng.choice(NAMES), 1) if words else rng.choice(NAMES)


def _lines(change: Callable[[list[str], Random], object]) -> Text:
    def changed(text: str, rng: Random) -> str:
        lines = text.splitlines(keepends=True) or [""]
        change(lines, rng)
        return "".join(lines)

    return changed


def _swap_lines(lines: list[str], rng: Random) -> None:
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]


def _latin(text: str, rng: Random) -> bytes:
    place = rng.randrange(len(text) + 1)
    return (
        text[:place].encode() + rng.choice((b"\xe9", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80")) + text[place:].encode()
    )


def _text(change: Text) -> Change:
    return lambda data, rng: change(data.decode("utf-8", "replace"), rng).encode("utf-8", "replace")


TEXT: dict[str, Change] = {
    "number": _text(_number),
    "word": _text(_word),
    "drop_line": _text(_lines(lambda lines, rng: lines.pop(rng.randrange(len(lines))))),
    "double_line": _text(_lines(lambda lines, rng: lines.insert(rng.randrange(len(lines)), rng.choice(lines)))),
    "swap_lines": _text(_lines(_swap_lines)),
    "latin1": lambda data, rng: _latin(data.decode("utf-8", "replace"), rng),
    "utf16": lambda data, rng: data.decode("utf-8", "replace").encode("utf-16"),
    "bom": lambda data, rng: b"\xef\xbb\xbf" + data,
    "crlf": lambda data, rng: data.replace(b"\n", b"\r\n"),
    "cr": lambda data, rng: data.replace(b"\n", b"\r"),
    "quote": lambda data, rng: _insert_text(data, rng, b'"'),
    "nul": lambda data, rng: _insert_text(data, rng, b"\0"),
    "long": lambda data, rng: _insert_text(data, rng, b"9" * 200_000),
    "deep": lambda data, rng: _insert_text(data, rng, b"[" * 100_000),
}
"""Of text files."""


def _insert_text(data: bytes, rng: Random, piece: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + piece + data[place:]


def _places(value: object) -> list[tuple[object, object]]:
    """Every container and key below a value."""
    if not isinstance(value, dict | list):
        return []
    places: list[tuple[object, object]] = []
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        places += [(value, key), *_places(entry)]
    return places


def change_tree(tree: object, rng: Random) -> object:
    """Replace, remove, double or rename one entry of nested dictionaries and lists."""
    places = _places(tree)
    if not places or rng.random() < 0.05:
        return rng.choice(VALUES)
    owner, key = rng.choice(places)
    deed = rng.randrange(5)
    if deed == 0:
        del owner[key]  # type: ignore[attr-defined]
    elif deed == 1 and isinstance(owner, list):
        owner.insert(rng.randrange(len(owner) + 1), owner[key])
    elif deed == 1:
        owner[rng.choice(NAMES)] = owner.pop(key)  # type: ignore[attr-defined]
    elif deed == 2 and isinstance(owner[key], int | float):  # type: ignore[index]
        owner[key] = rng.choice((owner[key] + 1, -owner[key], owner[key] * 1e6, float(owner[key]), str(owner[key])))  # type: ignore[index]
    elif deed == 2 and isinstance(owner[key], str):  # type: ignore[index]
        owner[key] = rng.choice(NAMES)  # type: ignore[index]
    else:
        owner[key] = rng.choice(VALUES)  # type: ignore[index]
    return tree


def _json(data: bytes, rng: Random) -> bytes:
    return json.dumps(change_tree(json.loads(data), rng)).encode()


def _double_key(data: bytes, rng: Random) -> bytes:
    tree = json.loads(data)
    key = rng.choice(list(tree)) if isinstance(tree, dict) and tree else "x"
    return (
        data.rstrip()[:-1] + b", " + json.dumps(key).encode() + b": " + json.dumps(rng.choice(VALUES)).encode() + b"}"
    )


def _yaml(data: bytes, rng: Random) -> bytes:
    return yaml.safe_dump(change_tree(yaml.safe_load(data), rng)).encode()


def _yaml_tag(data: bytes, rng: Random) -> bytes:
    tag = rng.choice(("!!python/object/apply:os.mkdir [EXECUTED]", "!!python/name:os.system", "!!binary x", "*none"))
    return data + f"\nextra: {tag}\n".encode()


def _csv(data: bytes, rng: Random) -> bytes:
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", "replace"))))
    row = rng.choice(rows or [[]])
    deed, place = rng.randrange(4), rng.randrange(len(row) or 1)
    if deed == 0:
        del row[place : place + 1]
    elif deed == 1:
        row.insert(place, rng.choice((*NAMES, *NUMBERS)))
    else:
        row[place : place + 1] = [rng.choice((*NAMES, *NUMBERS))]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


FAMILIES: dict[str, dict[str, dict[str, Change]]] = {
    ".json": {"text": TEXT, "tree": {"json": _json, "json2": _json, "json3": _json, "double_key": _double_key}},
    ".yaml": {"text": TEXT, "tree": {"yaml": _yaml, "yaml2": _yaml, "tag": _yaml_tag}},
    ".csv": {"text": TEXT, "tree": {"cell": _csv, "cell2": _csv, "cell3": _csv}},
    ".ckpt": {"tensors": TENSORS, "pickle": PICKLES},
    ".pth": {"tensors": TENSORS, "pickle": PICKLES},
    ".safetensors": {"tensors": SAFETENSORS},
    ".npy": {"arrays": ARRAYS, "pickle": PICKLES},
    ".pickle": {"pickle": PICKLES},
} | {ending: {"picture": PICTURES} for ending in (".png", ".jpg", ".bmp", ".webp", ".ppm")}
"""By a file's ending, beside the bytes."""


def kind_of(path: str) -> str:
    """Return the ending by which a file's families are chosen; CIFAR's batches have none."""
    return ".pickle" if "batch" in Path(path).name and not Path(path).suffix else Path(path).suffix


def _move(files: Files, path: str, rng: Random, pipes: bool) -> tuple[Files, str]:
    """Change which files there are."""
    deed = rng.choice(("missing", "folder", "fifo" if pipes else "missing", "loop", "stray", "exchanged"))
    if deed == "missing":
        del files[path]
    elif deed == "stray":
        name = Path(path)
        stray = name.with_name(
            rng.choice((f"{name.stem}-copy{name.suffix}", f"part-99999{name.suffix}", ".hidden", "Thumbs.db"))
        )
        files[str(stray)] = files[path]
    elif deed == "exchanged":
        second = rng.choice(list(files))
        files[path], files[second] = files[second], files[path]
    else:
        files[path] = Node(deed)
    return files, deed


def mutate(files: Files, rng: Random, *, pipes: bool = True) -> tuple[Files, str, str, str]:
    """Change one file of a case.

    Args:
        files: the pristine ones; not changed.
        rng: decides all.
        pipes: also put pipes into files' places.

    Returns:
        The files, the family, the mutation's name, and the path of the file that was changed.
    """
    files = dict(files)
    path = rng.choice([path for path in files if not path.endswith(".py")])
    families: dict[str, dict[str, Change]] = {"bytes": BYTES, "files": {}} | FAMILIES.get(kind_of(path), {})
    weights = {"bytes": 2, "files": 1, "text": 2}
    family = rng.choices(list(families), [weights.get(name, 4) for name in families])[0]
    content = files[path]
    if family == "files" or not isinstance(content, bytes):
        changed, name = _move(files, path, rng, pipes)
        return changed, "files", name, path
    name = rng.choice(list(families[family]))
    files[path] = families[family][name](content, rng)
    return files, family, name, path
