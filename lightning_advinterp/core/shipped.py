"""The configurations that come with the package, by name: in a wheel, or in the ``configs/`` of a checkout."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
"""Of a wheel, and of a checkout."""


def configuration(path: str) -> str:
    """Return the file that ``--config`` means: a user's own, else a shipped one.

    Args:
        path: of a file; or ``quickstart``, ``trainer/gpu``, ``configs/quickstart.yaml`` of those that come with the
            package.

    Returns:
        The path as it was where there is such a file, or no shipped one of that name.
    """
    name = PurePosixPath(path)
    if Path(path).exists() or name.is_absolute() or ".." in name.parts:
        return path
    short = PurePosixPath(*name.parts[1:]) if name.parts[:1] == ("configs",) else name
    for folder in _FOLDERS:
        for candidate in (folder / short, folder / f"{short}.yaml"):
            if candidate.is_file():
                return str(candidate)
    return path


def with_configurations(args: Sequence[str]) -> list[str]:
    """Return a command line whose ``--config`` names files; see :func:`configuration`."""
    line: list[str] = []
    for place, word in enumerate(args):
        if place and args[place - 1] == "--config":
            line.append(configuration(word))
        elif word.startswith("--config="):
            line.append(f"--config={configuration(word.removeprefix('--config='))}")
        else:
            line.append(word)
    return line


def configuration_names() -> list[str]:
    """Return the names of the configurations that come with the package, such as ``quickstart`` and ``trainer/gpu``."""
    names = {
        path.relative_to(folder).with_suffix("").as_posix() for folder in _FOLDERS for path in folder.rglob("*.yaml")
    }
    return sorted(names)
