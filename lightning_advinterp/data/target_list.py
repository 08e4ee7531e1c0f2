"""Which class each image is to be attacked towards, from a file."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.reading import read_rows
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.scan import shorten

_FORMS = {("image", "target"): 0, ("ImageId", "TargetClass"): 1}
"""Columns of the two forms that are read, and the number of the first class in them."""
_REMEDY = "give a CSV file with the columns image and target (an output's number, from 0)"


class TargetList:
    """A target for every image: a CSV file with the columns ``image`` and ``target``, the number of an output from 0.

    An image is named by its path below the data's folder, or by its file's name without the ending where that is its
    own. The list of the NIPS 2017 competition, whose columns are ``ImageId`` and ``TargetClass``, numbered from 1, is
    read as it was published.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: if it is no such list, or names an image twice; says where.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        rows = read_rows(self.path, remedy=_REMEDY)
        form = next((columns for columns in _FORMS if set(columns) <= set(rows[0])), None)
        if form is None:
            raise DamagedFileError(f"{path}: expected the columns image and target, got {list(rows[0])}; {_REMEDY}.")
        name, target = form
        self.classes: dict[str, int] = {}
        for number, row in enumerate(rows, start=2):
            text = row[target].strip()
            if not text.isdecimal() or int(text) < _FORMS[form]:
                raise DamagedFileError(f"{path}, row {number}: {target} {row[target]!r} is no class; {_REMEDY}.")
            if row[name] in self.classes:
                raise DamagedFileError(f"{path}, row {number}: {row[name]!r} stands in it twice; {_REMEDY}.")
            self.classes[row[name]] = int(text) - _FORMS[form]

    @property
    def largest(self) -> int:
        """The largest class in it."""
        return max(self.classes.values())

    def of(self, images: ImageSet) -> dict[int, int]:
        """Return the target of every image of a set, by its number.

        Raises:
            ValueError: if images have no path, or no target.
        """
        paths = {number: images.path_of(number) for number in images.indices}
        named = {number: path for number, path in paths.items() if path is not None}
        if len(named) < len(paths):
            raise ValueError(f"target_file: {self.path} names images by their paths, and these images have none.")
        stems = _own_stems(list(named.values()))
        targets = {number: self._class_of(path, stems) for number, path in named.items()}
        missing = [named[number] for number, target in targets.items() if target is None]
        if missing:
            raise ValueError(
                f"target_file: {self.path} has no target for {len(missing)} of {len(targets)} images "
                f"({shorten(missing)}); {_REMEDY} for each of them."
            )
        return {number: target for number, target in targets.items() if target is not None}

    def _class_of(self, path: str, stems: Mapping[str, str]) -> int | None:
        return self.classes.get(path, self.classes.get(stems.get(path, path)))

    def __repr__(self) -> str:
        content = repr(sorted(self.classes.items())).encode()
        return f"TargetList({self.path.name!r}, {hashlib.sha256(content).hexdigest()[:16]})"


def _own_stems(paths: Sequence[str]) -> dict[str, str]:
    """Return the name without the ending of every path whose name no other path has."""
    stems = [PurePosixPath(path).stem for path in paths]
    counts: dict[str, int] = {}
    for stem in stems:
        counts[stem] = counts.get(stem, 0) + 1
    return {path: stem for path, stem in zip(paths, stems, strict=True) if counts[stem] == 1}
