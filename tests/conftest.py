"""Fixtures of the whole suite."""

import gc
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


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the garbage collector pass over what the imports and the collection of tests made, which stays to the end."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the interpreter free everything when it ends; some extension modules print what it left."""
    gc.unfreeze()
