"""Files of tensors, read as data: checksums are compared, no code runs, and what is wrong is said in one line.

Every reader of tensors goes through :func:`read_tensor_file`: networks, weights, journals, ablations, patterns.
"""

import hashlib
import json
import logging
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lightning_advinterp.core.names import printable
from lightning_advinterp.core.plain_pickles import plain_globals

HASHED = ("state_dict", "current_model_state", "optimizer_states")
"""Entries of this project's checkpoints whose tensors are hashed."""

_log = logging.getLogger(__name__)
_HASH = "sha256"
_MAX_DEPTH = 64
_MAX_ENTRIES = 10_000_000
_MAX_INFLATION = 8
"""The content of an archive may be so many times as large as its file; torch writes records uncompressed."""

_EXPANDED = 2**24
"""A tensor that repeats its numbers (``expand``) may have so many bytes."""

_NAMED = 6
"""So many neighbours of a file that is not there are named."""

_FOLDER = 0x10
"""The attribute by which an archive marks a folder."""

_ZIP_START = b"PK\x03\x04"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_REFUSED_TYPE = re.compile(r"GLOBAL ([\w.]+)")


def read_tensor_file(path: str | Path, *, what: str, map_location: Any = "cpu", mmap: bool = False) -> Any:
    """Read ``.safetensors``, or what ``torch.save`` wrote, as plain data.

    The checksums of the archive and the hashes that this project writes are compared with the content. Files from
    before PyTorch 1.6 and safetensors of others have none.

    Args:
        path: the file.
        what: the argument that names it, for messages.
        map_location: see ``torch.load``.
        mmap: see ``torch.load``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: in one line, if it is damaged, or holds more than plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{what}: no file {path}{_beside(path)}.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path, what)
    _check_archive(path, what)
    content = _read_pickle(path, what, map_location, mmap)
    _check_extent(content, f"{what}: {path}")
    _check_hashes(path, content, what)
    return content


def save_plainly(content: Any, file: BinaryIO) -> None:
    """``torch.save``, which says why it failed: of a full disk it only tells that a position is unexpected.

    Raises:
        OSError: if the file cannot be written.
    """
    try:
        torch.save(content, file)
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__
        if cause is None:
            raise
        raise OSError(*cause.args) from error


def save_tensors(tensors: Mapping[str, Tensor], notes: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """Return the bytes of a ``.safetensors`` file that carries a hash of its tensors, and notes beside it."""
    content = save(dict(tensors), metadata={"format": "pt", _HASH: tensor_digest(tensors), **notes})
    # The library writes its notes in an order that changes from process to process; equal tensors make equal files.
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    ordered = json.dumps({"__metadata__": dict(sorted(header.pop("__metadata__").items()))} | header).encode()
    ordered += b" " * (-len(ordered) % 8)
    return len(ordered).to_bytes(8, "little") + ordered + content[8 + length :]


def with_hashes(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint of this project with hashes of its tensors, which :func:`read_tensor_file` compares."""
    if "advinterp" not in checkpoint:
        return dict(checkpoint)
    hashes = {entry: tensor_digest(checkpoint[entry]) for entry in HASHED if entry in checkpoint}
    return {**checkpoint, "advinterp": {**checkpoint["advinterp"], _HASH: hashes}}


def tensor_digest(value: Any) -> str:
    """Return the SHA-256, in hexadecimal, of the tensors in nested dictionaries and lists, with their names.

    Example:
        >>> tensor_digest({"a": torch.zeros(2)}) == tensor_digest({"b": torch.zeros(2)})
        False
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(named_tensors(value), key=lambda item: item[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.device.type != "meta" and tensor.layout is torch.strided and not tensor.is_quantized:
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_notes(path: str | Path, *, what: str) -> dict[str, str]:
    """Return the notes of a ``.safetensors`` file; other files have none.

    Args:
        path: the file.
        what: the argument that names it, for messages.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: in one line, if it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{what}: no file {path}{_beside(path)}.")
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _no_safetensors(path, what, error) from None


def _no_safetensors(path: Path, what: str, error: Exception) -> ValueError:
    return ValueError(f"{what}: {path} is not a whole safetensors file ({first_line(error)}); fetch it anew.")


def _read_safetensors(path: Path, what: str) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            recorded = (file.metadata() or {}).get(_HASH)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise _no_safetensors(path, what, error) from None
    if recorded is not None and recorded != tensor_digest(tensors):
        raise ValueError(
            f"{what}: {path} is damaged: its tensors differ from the hash that was written with them; fetch it anew."
        )
    return tensors


def _check_archive(path: Path, what: str) -> None:
    """Compare every record of a zip archive with its checksum."""
    with path.open("rb") as file:
        if file.read(len(_ZIP_START)) != _ZIP_START:
            return  # a format without checksums, or no such file at all: the reader says which
    try:
        is_complete = zipfile.is_zipfile(path)  # the table of its content stands at its end
        with zipfile.ZipFile(path) if is_complete else nullcontext() as archive:
            records = archive.infolist() if archive else []
            size = sum(record.file_size for record in records)
            packed = size > _MAX_INFLATION * path.stat().st_size
            bad = archive.testzip() if archive and not packed else None
            # PyTorch's reader leaves the memory of such a record as it was, and gives it out as the tensor.
            bad = bad or next((record.filename for record in records if record.external_attr & _FOLDER), None)
    except Exception as error:  # a damaged table provokes exceptions of any kind
        raise ValueError(f"{what}: {path} is damaged: {first_line(error)}; fetch it anew.") from None
    if not is_complete:
        raise ValueError(f"{what}: {path} is cut short, or no checkpoint at all; fetch it anew.")
    if packed:
        raise ValueError(f"{what}: {path} holds compressed records, which torch.save never writes.")
    if bad is not None:
        raise ValueError(
            f"{what}: {path} is damaged: {bad} differs from its checksum, or is marked as a folder; fetch it anew."
        )


def _read_pickle(path: Path, what: str, map_location: Any, mmap: bool) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(plain_globals()):
            warnings.simplefilter("ignore", UserWarning)  # of layouts and protocols, which are refused by name later
            return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        refused = _REFUSED_TYPE.search(str(error))
        if refused is None:
            raise ValueError(
                f"{what}: {path} cannot be read as plain data: it is damaged, or was pickled by another program than "
                "torch.save. No code was executed."
            ) from None
        raise ValueError(
            f"{what}: {path} holds more than tensors and plain data: {refused[1]}. Code in a file is never executed "
            "here. If you trust the file, load it yourself with torch.load(…, weights_only=False), and save its "
            "state_dict() with torch.save or as safetensors."
        ) from None
    except Exception as error:  # whatever a damaged archive provokes: EOFError, RuntimeError, KeyError, …
        raise ValueError(
            f"{what}: {path} cannot be read as plain data ({type(error).__name__}: {first_line(error)}); it is "
            "damaged, incomplete, or of another kind. No code was executed."
        ) from None


def _check_hashes(path: Path, content: Any, what: str) -> None:
    """Warn where tensors were changed since the run wrote them; the archive's own checksums know damage on a disk."""
    meta = content.get("advinterp") if isinstance(content, Mapping) else None
    recorded = meta.get(_HASH) if isinstance(meta, Mapping) else None
    if isinstance(recorded, Mapping):
        for entry, value in recorded.items():
            if entry in content and tensor_digest(content[entry]) != value:
                _log.warning(
                    "%s: %s holds other tensors in %s than its run wrote (their hash differs); it is used as it is. If "
                    "you did not change them yourself, take another checkpoint; else delete its entry advinterp.%s.",
                    *(what, path, entry, _HASH),
                )


def _check_extent(content: Any, source: str) -> None:
    """Refuse what grows when it is walked through: aliases of aliases, bottomless nesting, expanded tensors."""
    extents: dict[int, int] = {}

    def extent(value: Any, depth: int) -> int:
        if isinstance(value, Tensor):
            expanded = value.layout is torch.strided and value.device.type != "meta" and not value.is_quantized
            if expanded and value.numel() * value.element_size() > max(value.untyped_storage().nbytes(), _EXPANDED):
                raise ValueError(f"{source} holds a tensor of shape {tuple(value.shape)} whose numbers it lacks.")
            return 1
        if not isinstance(value, Mapping | list | tuple | set | frozenset):
            return 1
        if depth > _MAX_DEPTH:
            raise ValueError(f"{source} is nested more than {_MAX_DEPTH} levels deep; no checkpoint is.")
        if id(value) not in extents:  # an alias is looked at once, and counted each time
            entries = value.values() if isinstance(value, Mapping) else value
            extents[id(value)] = 1 + sum(extent(entry, depth + 1) for entry in entries)
        return extents[id(value)]

    if extent(content, 0) > _MAX_ENTRIES:
        raise ValueError(f"{source} unfolds to more than {_MAX_ENTRIES:,} entries; no checkpoint does.")


def named_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in nested dictionaries and lists, with their paths."""
    if isinstance(value, Tensor):
        yield name, value
        return
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from named_tensors(entry, f"{name}.{key}")


def first_line(error: Exception) -> str:
    """Return an error's first line, without colours and of a bounded length."""
    text = _ANSI.sub("", str(error)).strip()
    return (text.splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _beside(path: Path) -> str:
    """Return what lies where a file was looked for: files of its kind, or folders where its own is not there either."""
    folder, higher = path.parent, False
    while not folder.is_dir() and folder.parent != folder:
        folder, higher = folder.parent, True
    if higher and folder in (Path(), Path(folder.anchor)):  # so far up, names tell nothing
        return ""
    try:
        entries = folder.glob("*" if higher else f"*{path.suffix}")
        names = sorted(entry.name for entry in entries if entry.is_dir() == higher)
    except OSError:
        return ""
    more = ", ..." if len(names) > _NAMED else ""
    return f"; {folder} holds {', '.join(map(printable, names[:_NAMED]))}{more}" if names else ""
