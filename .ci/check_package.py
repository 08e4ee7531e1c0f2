"""Check what is released: ``python .ci/check_package.py dist [--tag v0.1.0]``, in a checkout.

The wheel holds every module, every configuration, all data files, ``py.typed`` and the licences, and nothing else; the
source distribution holds the tests and the documentation too; versions agree with each other, with the changelog and
with the tag.
"""

import argparse
import email
import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "lightning_advinterp"
DATA = ("**/*.py", "**/*.css", "**/*.csv", "**/*.html", "**/*.js", "**/*.txt", "py.typed")
LICENSES = (
    "LICENSE",
    f"{PACKAGE}/taxonomy/LICENSE.WordNet.txt",
    f"{PACKAGE}/report/page/vendor/LICENSE.Tabulator.txt",
    f"{PACKAGE}/report/page/vendor/LICENSE.uPlot.txt",
)
IN_SOURCE = (
    "CHANGELOG.md",
    "CITATION.cff",
    "README.md",
    "train.py",
    "evaluate.py",
    "tests/conftest.py",
    "docs/training.md",
)


def expected_files(root: Path) -> set[str]:
    """Return the paths that the wheel's package must have."""
    package = {path.relative_to(root).as_posix() for pattern in DATA for path in (root / PACKAGE).glob(pattern)}
    configurations = {f"{PACKAGE}/{path.relative_to(root).as_posix()}" for path in (root / "configs").rglob("*.yaml")}
    return package | configurations


def check_wheel(path: Path, root: Path) -> tuple[list[str], str]:
    """Return what is wrong with a wheel, and its version."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        information = metadata.removesuffix("METADATA")
        header = email.message_from_bytes(archive.read(metadata))
        doors = archive.read(f"{information}entry_points.txt").decode()
    expected = expected_files(root)
    files = {name for name in names if not name.startswith(information)}
    faults = [f"{path.name} lacks {name}" for name in sorted(expected - files)]
    faults += [f"{path.name} holds {name}, which is not in the checkout" for name in sorted(files - expected)]
    faults += [f"{path.name} lacks {name}" for name in LICENSES if f"{information}licenses/{name}" not in names]
    if f"advinterp = {PACKAGE}.cli.door:main" not in doors:
        faults.append(f"{path.name} has no command advinterp")
    if header["License-Expression"] != "MIT":
        faults.append(f"{path.name} says license {header['License-Expression']}, not MIT")
    return faults, header["Version"]


def check_source(path: Path, root: Path) -> list[str]:
    """Return what is wrong with a source distribution."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = expected_files(root) - {f"{PACKAGE}/{config}" for config in _configurations(root)}
    expected |= {*IN_SOURCE, *LICENSES, *_configurations(root)}
    faults = [f"{path.name} lacks {name}" for name in sorted(expected - names)]
    return faults + [f"{path.name} holds {name}" for name in sorted(names) if "__pycache__" in name]


def check_versions(version: str, root: Path, tag: str | None) -> list[str]:
    """Return where another version is named than the wheel's."""
    text = (root / PACKAGE / "__init__.py").read_text(encoding="utf-8")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    faults = [] if f'__version__ = "{version}"' in text else [f"__version__ is not {version}, the wheel's"]
    lines = re.findall(r"^## \[([^\]]+)\](.*)", changelog, re.MULTILINE)
    headings = [heading for heading, _ in lines]
    if tag is not None and tag != f"v{version}":
        faults.append(f"the tag is {tag}, the version {version}")
    if tag is not None and version not in headings:
        faults.append(f"CHANGELOG.md has no heading ## [{version}]")
    if tag is not None and "unreleased" in dict(lines).get(version, ""):
        faults.append(f"CHANGELOG.md says that {version} is unreleased; give the date")
    if tag is None and "Unreleased" not in headings and version not in headings:
        faults.append(f"CHANGELOG.md has neither a heading ## [Unreleased] nor ## [{version}]")
    return faults


def _configurations(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in (root / "configs").rglob("*.yaml")}


def main() -> None:
    """Print what is wrong, and end with status 1; or say that nothing is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="holds one wheel and one source distribution")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout that they were built from")
    parser.add_argument("--tag", help="the release's, such as v0.1.0")
    arguments = parser.parse_args()
    wheels, sources = (sorted(arguments.folder.glob(pattern)) for pattern in ("*.whl", "*.tar.gz"))
    if len(wheels) != 1 or len(sources) != 1:
        sys.exit(f"{arguments.folder} must hold one wheel and one source distribution, not {[*wheels, *sources]}")
    faults, version = check_wheel(wheels[0], arguments.root)
    faults += check_source(sources[0], arguments.root) + check_versions(version, arguments.root, arguments.tag)
    if faults:
        sys.exit("\n".join(faults))
    print(f"{wheels[0].name} and {sources[0].name}: contents, licences and versions are right")


if __name__ == "__main__":
    main()
