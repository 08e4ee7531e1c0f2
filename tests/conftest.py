"""Fixtures of the whole suite."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real images and weights; tests that ask for it are skipped where it is absent."""
    folder = Path(os.environ.get("ADVINTERP_DATA", REPOSITORY / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"real data are absent: no folder {folder} (set ADVINTERP_DATA)")
    return folder
