"""Ways to damage a sound set, and how a finding about it is recognised."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from broden_sets import write_png
from PIL import Image

from lightning_advinterp.data.broden import BrodenDataset, BrodenError

Damage = Callable[[Path], object]


def replace(file: str, old: str, new: str) -> Damage:
    """Replace a text that stands in the file once."""

    def damage(root: Path) -> None:
        text = (root / file).read_bytes().decode()
        assert text.count(old) == 1, f"{old!r} stands in {file} {text.count(old)} times"
        (root / file).write_bytes(text.replace(old, new).encode())

    return damage


def add_column(file: str, name: str, value: str) -> Damage:
    """Add a column with one value in every row."""

    def damage(root: Path) -> None:
        header, *rows = (root / file).read_text().splitlines()
        (root / file).write_text("\n".join([f"{header},{name}", *(f"{row},{value}" for row in rows)]))

    return damage


def write(file: str, data: bytes) -> Damage:
    return lambda root: (root / file).write_bytes(data)


def cut(file: str, keep: float) -> Damage:
    def damage(root: Path) -> None:
        data = (root / file).read_bytes()
        (root / file).write_bytes(data[: int(keep * len(data))])

    return damage


def remove(file: str) -> Damage:
    return lambda root: (root / file).unlink()


def folder(file: str) -> Damage:
    def damage(root: Path) -> None:
        (root / file).unlink()
        (root / file).mkdir()

    return damage


def change(file: str, data: bytes, *, at: int) -> Damage:
    def damage(root: Path) -> None:
        new = bytearray((root / file).read_bytes())
        at_end = at % len(new)
        new[at_end : at_end + len(data)] = data
        (root / file).write_bytes(new)

    return damage


def save(file: str, image: Callable[[Image.Image], Image.Image], kind: str | None = None) -> Damage:
    """Replace an image file by what becomes of it."""

    def damage(root: Path) -> None:
        with Image.open(root / file) as old:
            new = image(old.copy())
        new.save(root / file, kind)

    return damage


def numbers(file: str, values: np.ndarray) -> Damage:
    return lambda root: write_png(root / file, values)


def raised(call: Callable[[], object]) -> BrodenError:
    with pytest.raises(BrodenError) as caught:
        call()
    return caught.value


def check_findings(error: BrodenError, where: str, what: str, others: tuple[str, ...]) -> None:
    first = [
        str(finding) for finding in error.findings if str(finding).startswith(f"{where}: ") and what in str(finding)
    ]
    assert first, error
    assert f"{error.count} finding" in str(error)
    assert all(f"  {finding}" in str(error).splitlines() for finding in error.findings)
    for text in others:
        assert any(str(finding).startswith(text) for finding in error.findings), error


def check_opening(root: Path, damage: Damage, where: str, what: str, *others: str) -> None:
    """The set opens as it is, and after the damage with an error that names it."""
    BrodenDataset(root, size=16)
    damage(root)
    error = raised(lambda: BrodenDataset(root, size=16))
    check_findings(error, where, what, others)
    if not others:  # one damage is one finding, unless something else hangs on it
        assert error.count == 1, error
