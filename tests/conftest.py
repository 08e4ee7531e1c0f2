"""Fixtures of the whole suite."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # tests run side by side, one process per core

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real images and weights; tests that ask for it are skipped where it is absent."""
    folder = Path(os.environ.get("ADVINTERP_DATA", REPOSITORY / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"real data are absent: no folder {folder} (set ADVINTERP_DATA)")
    return folder
