"""Where the tables, images and maps of a set in Broden's format lie: in a folder, or in one tar file."""

import errno
import io
import os
import posixpath
import tarfile
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple, Protocol

from lightning_advinterp.core.files import stamp_of

INDEX = "index.csv"
TAR = ".tar"
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


class FileSize(NamedTuple):
    """What is known of a file before it is opened.

    Attributes:
        regular: whether it is a file, and no folder or pipe.
        size: in bytes.
    """

    regular: bool
    size: int


class SetFiles(Protocol):
    """The files of a set."""

    def table(self, name: str) -> bytes:
        """Return the bytes of a table.

        Raises:
            OSError: if it cannot be read.
        """
        ...

    def look(self, path: str) -> FileSize:
        """Look at an image or a map by its path below ``images/``, without opening it.

        Raises:
            OSError: if it is not there.
        """
        ...

    def open(self, path: str) -> str | io.BytesIO:
        """Return what :func:`~lightning_advinterp.data.decode.open_image` opens, by a path below ``images/``."""
        ...

    def stamp(self, paths: Iterable[str]) -> str:
        """Return a short hash that changes when one of these files below ``images/`` is written again."""
        ...


class FolderFiles:
    """Files of a folder.

    Args:
        root: holds the tables and ``images/``.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._images = root, os.path.join(root, "images")

    def table(self, name: str) -> bytes:
        """See :class:`SetFiles`."""
        path = self._root / name
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise OSError(errno.EINVAL, "it is no file")
        return path.read_bytes()

    def look(self, path: str) -> FileSize:
        """See :class:`SetFiles`."""
        status = os.stat(f"{self._images}/{path}")
        return FileSize(S_ISREG(status.st_mode), status.st_size)

    def open(self, path: str) -> str | io.BytesIO:
        """See :class:`SetFiles`."""
        return os.path.join(self._images, path)

    def stamp(self, paths: Iterable[str]) -> str:
        """See :class:`SetFiles`; looks at every file."""
        return stamp_of(os.path.join(self._images, path) for path in paths)


class TarFiles:
    """Members of an uncompressed tar file, read without unpacking it.

    Its headers are read once; then only places and sizes are in memory, and the file is open while a member is read,
    so that loaders' processes share nothing.

    Args:
        path: the tar file; the set may lie in a folder within it.

    Raises:
        ValueError: it is no tar file, is damaged or cut off, or holds no set or several.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        members = _members(path)
        roots = {posixpath.dirname(name) for name in members if posixpath.basename(name) == INDEX}
        folders = sorted(roots, key=lambda folder: (_depth(folder), folder))
        if not folders or (len(folders) > 1 and _depth(folders[0]) == _depth(folders[1])):
            what = f"several sets ({', '.join(folders[:3])})" if folders else f"no {INDEX}"
            raise ValueError(f"{str(path)!r} holds {what}; expected one set in Broden's format.")
        prefix = f"{folders[0]}/" if folders[0] else ""
        self._places = {name[len(prefix) :]: place for name, place in members.items() if name.startswith(prefix)}

    def table(self, name: str) -> bytes:
        """See :class:`SetFiles`."""
        return self._read(name)

    def look(self, path: str) -> FileSize:
        """See :class:`SetFiles`."""
        return FileSize(True, self._place(f"images/{path}")[1])

    def open(self, path: str) -> str | io.BytesIO:
        """See :class:`SetFiles`.

        Raises:
            OSError: if it cannot be read any more.
        """
        return io.BytesIO(self._read(f"images/{path}"))

    def stamp(self, paths: Iterable[str]) -> str:
        """See :class:`SetFiles`; looks at the tar file alone."""
        return stamp_of([self._path])

    def _place(self, name: str) -> tuple[int, int]:
        if name not in self._places:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return self._places[name]

    def _read(self, name: str) -> bytes:
        offset, size = self._place(name)
        with self._path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise OSError(errno.EIO, f"the tar file ends after {len(content):,} of its {size:,} bytes")
        return content


def set_files(root: Path) -> SetFiles:
    """Return the files of a set.

    Args:
        root: a folder, or a tar file.

    Raises:
        ValueError: if a tar file is compressed or holds no set.
    """
    if any(root.name.endswith(ending) for ending in _PACKED):
        raise ValueError(f"{str(root)!r} is compressed, which allows no reading in any order; decompress it to .tar.")
    return TarFiles(root) if root.suffix == TAR and root.is_file() else FolderFiles(root)


def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Return the files in a tar file by their names: where each begins, and its size in bytes."""
    try:
        with tarfile.open(path, "r:") as tar:
            # Links and sparse files have no bytes of their own in one piece; a set has none.
            return {
                posixpath.normpath(member.name): (member.offset_data, member.size)
                for member in tar
                if member.isreg() and not member.issparse()
            }
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{str(path)!r} is no plain tar file, or is cut off ({error}); write it anew.") from None


def _depth(folder: str) -> int:
    return len(folder.split("/")) if folder else 0
