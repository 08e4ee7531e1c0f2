"""The lane with the oldest versions installs what pyproject.toml declares."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).parents[1]
TOOLS = {"ruff", "mypy", "types-pyyaml"}
"""What no test imports."""


def declared():
    """Return the project's requirements and those of its tests, by name."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return {requirement.name.lower(): requirement for requirement in map(Requirement, lines)}


def test_the_oldest_lane_has_the_declared_minima():
    lines = (REPOSITORY / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    requirements = declared()
    assert pinned.keys() == requirements.keys() - TOOLS
    for name, version in pinned.items():
        (minimum,) = (part.version for part in requirements[name].specifier if part.operator == ">=")
        assert version in requirements[name].specifier
        # The first release of a series need not be there: 2.3.1 is the oldest of 2.3.
        parts = Version(minimum).release
        assert Version(version).release[: len(parts)] == parts, name
