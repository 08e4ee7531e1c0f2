"""Small folders of images, drawn at random but fixed."""

from pathlib import Path

import pytest
from pictures import MakeFolder, picture


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write images at the given relative paths below a folder, and return it."""

    def make(*names: str, root: str = "set") -> Path:
        folder = tmp_path / root
        folder.mkdir(exist_ok=True)
        for number, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(number).save(path)
        return folder

    return make


@pytest.fixture
def split_folder(make_folder: MakeFolder) -> Path:
    """Two classes with 6 training and 3 validation images each."""
    train = [f"train/{name}/{i}.jpg" for name in ("cat", "dog") for i in range(6)]
    val = [f"val/{name}/{i}.jpg" for name in ("cat", "dog") for i in range(3)]
    return make_folder(*train, *val)
