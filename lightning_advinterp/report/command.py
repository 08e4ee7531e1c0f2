"""The command that writes the page of stored evaluations anew, or one page of several."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_advinterp.core.files import write_text
from lightning_advinterp.core.locks import held
from lightning_advinterp.core.names import printable
from lightning_advinterp.report.page.render import render
from lightning_advinterp.report.page.stored import read_evaluations
from lightning_advinterp.report.store import digests, read_record, staged, write_record

NAME = "python -m lightning_advinterp.report"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        NAME, description="Write one self-contained page from what evaluations stored.", allow_abbrev=False
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="--output of an evaluation; several are compared")
    parser.add_argument("--output", metavar="FILE", help="the page (default: index.html of the first folder)")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Write the page; what is wrong goes to standard error, with exit status 2.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    arguments = parser().parse_args(args)
    try:
        page = write_page([Path(folder) for folder in arguments.folders], arguments.output)
    except (ValueError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"written to {printable(str(page))} ({page.stat().st_size / 1e6:.1f} MB)")


def write_page(folders: Sequence[Path], output: str | Path | None = None) -> Path:
    """Write the page of stored evaluations, the first compared with the others.

    Args:
        folders: of evaluations; those of other networks that a folder lists are shown too.
        output: the file; None: ``index.html`` of the first folder, whose record then knows it.

    Returns:
        The page's path.

    Raises:
        ValueError: if the output is no HTML file.
        FileNotFoundError: if a folder holds no evaluation.
        DamagedFileError: if a folder's files are not what was written.
    """
    if output is not None and Path(output).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"output must be a file that ends in .html, got {str(output)!r}.")
    distinct = {folder.absolute(): folder for folder in folders}
    first = next(iter(distinct.values()))
    base = (first if output is None else Path(output).parent).absolute()
    evaluations = []
    for folder in distinct.values():
        evaluations += read_evaluations(folder, _prefix(folder.absolute(), base))
    if not evaluations:
        raise ValueError(f"{first}: none of its networks was evaluated.")
    if output is not None:
        write_text(Path(output), render(evaluations))
        return Path(output)
    with held(first):
        record = dict(read_record(first) or {})
        record.pop("sha256", None)
        with staged(first) as stage:
            write_text(stage / "index.html", render(evaluations))
            write_record(stage, record | {"files": {**record["files"], **digests(stage)}})
    return first / "index.html"


def _prefix(folder: Path, base: Path) -> str:
    """Return the way from the page to a folder, as a link has it; the folder's address where there is none."""
    if folder == base:
        return ""
    try:
        return f"{Path(os.path.relpath(folder, base)).as_posix()}/"
    except ValueError:  # another drive
        return f"{folder.as_uri()}/"
