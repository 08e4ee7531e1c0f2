"""Where the encoded images of a set lie: files of a folder, members of tar shards, rows of tables."""

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from PIL import Image

from lightning_advinterp.core.files import stamp_of
from lightning_advinterp.data.decode import BadImageError, open_image


class ImageStore(Protocol):
    """Encoded images by their numbers, which count from 0 in the order of the set."""

    def open(self, number: int) -> AbstractContextManager[Image.Image]:
        """Open an image, not decoded yet.

        Raises:
            BadImageError: if it cannot be read; names it.
        """
        ...

    def stamp(self, numbers: Sequence[int]) -> str:
        """Return a short hash that changes when a file that holds one of these images is written again."""
        ...

    @property
    def digest(self) -> str:
        """What tells this set from another with images of the same names; empty where names are all there is."""
        ...


class FolderStore:
    """Images that are files.

    Args:
        root: a folder.
        paths: for each image its path in the folder.
    """

    digest = ""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root, self.paths = root, paths

    def open(self, number: int) -> AbstractContextManager[Image.Image]:
        """See :class:`ImageStore`."""
        return open_image(self.root / self.paths[number])

    def stamp(self, numbers: Sequence[int]) -> str:
        """See :class:`ImageStore`; looks at every file."""
        return stamp_of(self.root / self.paths[number] for number in numbers)


@contextmanager
def open_bytes(content: bytes, name: str) -> Iterator[Image.Image]:
    """Open an encoded image that lies in memory, not decoded yet.

    Args:
        content: the bytes of an image file.
        name: what messages call it.

    Raises:
        BadImageError: as :func:`~lightning_advinterp.data.decode.open_image`, also when pixels are decoded later.
    """
    if not content:
        raise BadImageError(f"cannot read image {name!r}: it is empty; replace it, or set on_bad_image='skip'")
    with open_image(_NamedBytes(content, name)) as image:
        image.filename = name  # type: ignore[attr-defined]  # what the decoder's messages name
        yield image


class _NamedBytes(io.BytesIO):
    """Bytes with a name, as an open file has one."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name
