"""Fixtures of the tests of commands."""

import pytest
from interruptions import Runs


@pytest.fixture(scope="session")
def complete(tmp_path_factory):
    """The folder of a complete run, for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("complete")
    with pytest.MonkeyPatch.context() as patch:
        Runs(folder, patch).start("run")
    return folder
