"""How a user names the basis of a layer, ``LAYER@FILE``, and what the file must be for that."""

from functools import lru_cache
from pathlib import Path

from lightning_advinterp.units.bases import Basis
from lightning_advinterp.units.basis_files import BasisOrigin, load_basis

_MARK = "@"
_AT_HAND = 8
"""So many bases stay in memory: each analysis of an evaluation reads its layers anew."""


def split_word(word: str) -> tuple[str, str | None]:
    """Return layer and file of a word; without a basis the file is None.

    Example:
        >>> split_word("layer3@sae.safetensors"), split_word("layer3")
        (('layer3', 'sae.safetensors'), ('layer3', None))
    """
    name, mark, file = word.partition(_MARK)
    return name.strip(), file.strip() if mark else None


def check_basis(file: str) -> BasisOrigin:
    """Read a basis, and return where it comes from.

    Raises:
        ValueError: if it is no basis.
        FileNotFoundError: if there is no such file.
    """
    return _read(file)[1]


def read_in_basis(file: str, layer: str, tap: str, units: int | None) -> tuple[Basis, str]:
    """Return a basis for a layer, and what tables call it: the file's name without its ending.

    Args:
        file: of the basis.
        layer: what tables call the layer.
        tap: what is read of it.
        units: how many it has; None where that is not known yet.

    Raises:
        ValueError: if it is the basis of another layer, or of another number of units.
        FileNotFoundError: if there is no such file.
    """
    basis, origin = _read(file)
    if origin.layer not in (layer, tap):
        raise ValueError(f"layers: {file} is a basis of {origin.layer!r}, not of {layer!r}; say {origin.layer}@{file}.")
    if units is not None and basis.units != units:
        raise ValueError(f"layers: {file} is a basis of {basis.units} units, {layer!r} has {units}; make one for it.")
    return basis, Path(file).stem


def _read(file: str) -> tuple[Basis, BasisOrigin]:
    try:
        stat = Path(file).stat()
    except OSError:
        raise FileNotFoundError(f"layers: no file {file!r}; a basis is named as LAYER@FILE.safetensors.") from None
    return _read_once(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=_AT_HAND)
def _read_once(file: str, size: int, changed: int) -> tuple[Basis, BasisOrigin]:
    """Read a file that has not changed since once."""
    return load_basis(file)
