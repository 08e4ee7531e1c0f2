"""Run every command of README and docs at small size, page by page, and print what became of each.

python tests/run_documented_commands.py                       # all pages
python tests/run_documented_commands.py docs/semantics.md     # some pages
python tests/run_documented_commands.py --list                # what would run, and what not and why
"""

import argparse
import os
import shlex
import sys
import tempfile
import textwrap
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent), str(Path(__file__).parent / "data")]
os.environ.setdefault("MPLBACKEND", "agg")

from documented.pages import PAGES, ROOT  # noqa: E402
from documented.small import name_of, small_commands  # noqa: E402


def print_list(pages):
    for page in pages:
        for command in small_commands(page):
            print(f"{name_of(page)}: {command.text}")
            print(f"    not run: {command.reason}" if command.reason else f"    {shlex.join(command.words)}")


def print_outcome(outcome):
    state, command = "FAILED" if outcome.error else "ok", outcome.command
    print(f"{state:6} {outcome.seconds:6.1f} s  {name_of(command.page)}: {command.text}", flush=True)
    if outcome.error:
        print(textwrap.indent(f"{shlex.join(command.words)}\n{outcome.error.strip()}", "    "), flush=True)


def run(pages, folder):
    """Run the pages' commands, and return how many failed."""
    from documented.inputs import Inputs
    from documented.running import run_page

    failed, ran = [], set()

    def report(outcome):
        print_outcome(outcome)
        failed.extend([outcome] if outcome.error else [])

    (folder / "inputs").mkdir(exist_ok=True)
    inputs = Inputs(folder / "inputs")
    for page in pages:
        if "parquet" in page.read_text(encoding="utf-8"):
            inputs.write_parquet()
        run_page(page, inputs, folder / name_of(page).replace("/", "_"), ran, report)
    print(f"{len(ran)} commands were run, {len(failed)} failed")
    return len(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="all if left out")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep everything here; a temporary one if left out")
    settings = parser.parse_args()
    pages = [(ROOT / page).resolve() for page in settings.pages] or PAGES
    if settings.list:
        print_list(pages)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return min(run(pages, folder), 1)


if __name__ == "__main__":
    sys.exit(main())
