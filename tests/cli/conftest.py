"""Fixtures of the tests of commands."""

import pytest
from interruptions import Runs
from unit_evaluations import write_inputs


@pytest.fixture(scope="session")
def complete(tmp_path_factory):
    """The folder of a complete run, for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("complete")
    with pytest.MonkeyPatch.context() as patch:
        Runs(folder, patch).start("run")
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a checkpoint, images, a set in Broden's format, and quick settings."""
    return write_inputs(tmp_path_factory.mktemp("inputs"))
