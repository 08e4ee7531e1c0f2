"""The thorough check of a set: every image and every map is decoded."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import Progress

from lightning_advinterp.data.broden.dataset import BrodenDataset
from lightning_advinterp.data.broden.files import INDEX
from lightning_advinterp.data.broden.findings import Findings, unusable
from lightning_advinterp.data.broden.index import Row, map_places
from lightning_advinterp.data.broden.maps import read_map, unreadable, verify
from lightning_advinterp.data.decode import BadImageError, open_image, to_rgb

_CHUNK = 512


def check_set(root: str | Path, *, progress: bool = False) -> BrodenDataset:
    """Open a set and decode all of it, on all cores.

    Beyond what opening checks: images and maps can be decoded to their end, match their check sums and have the sizes
    of columns ih, iw and sh, sw; maps hold only numbers of label.csv, in the categories that it names for them.

    Args:
        root: the folder that holds index.csv.
        progress: show a progress bar.

    Returns:
        The set.

    Raises:
        FileNotFoundError: there is no such set; says how to get one.
        BrodenError: something is wrong with it; lists all findings with file, row and column.
    """
    dataset = BrodenDataset(root, size=1)  # no image is resized here; a size lets sets of mixed sizes pass
    check_files(dataset, progress=progress)
    return dataset


def check_files(dataset: BrodenDataset, *, progress: bool = False) -> None:
    """Decode the images of a data set and their maps, on all cores: 1 ms of a core for an image of 224 px.

    Whoever is about to look at the images for hours does this before, and hears of all that is wrong at once.

    Args:
        dataset: the images; others of the same set are not looked at.
        progress: show a progress bar.

    Raises:
        BrodenError: something is wrong; lists all findings with file, row and column.
    """
    findings = Findings()
    rows = [dataset.rows[number] for number in dataset.indices]
    with (
        Progress(transient=True, disable=not progress) as bar,
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
    ):
        task = bar.add_task("decoding images and maps", total=len(rows))
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            for row, wrong in zip(chunk, pool.map(lambda row: list(_row_problems(dataset, row)), chunk), strict=True):
                for column, problem in wrong:
                    findings.add(INDEX, row.line, column, problem)
                bar.advance(task)
    findings.check(unusable(dataset.root))


def _row_problems(dataset: BrodenDataset, row: Row) -> Iterator[tuple[str, str]]:
    """Yield column and message of whatever is wrong with the files of one row."""
    try:
        with open_image(dataset.source(row.image)) as image:
            width, height = image.size
            to_rgb(image)
        verify(dataset.source(row.image))
    except BadImageError as error:
        yield "image", unreadable(row.image, error)
    else:
        if (height, width) != row.size:
            expected = f"expected {row.size[0]} x {row.size[1]} (columns ih, iw)"
            yield "image", f"'images/{row.image}' is {height} x {width}, {expected}"
    for number, category, path in map_places(row, dataset.categories):
        try:
            problem = dataset.map_problem(read_map(dataset.source(path)), number)
            verify(dataset.source(path))
        except BadImageError as error:
            yield category, unreadable(path, error)
        else:
            if problem:
                yield category, f"'images/{path}' {problem}"
