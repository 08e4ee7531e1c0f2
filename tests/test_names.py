"""Names of all kinds on their way out: into terminals, tables, commands, paths."""

import csv
import io
import subprocess
from pathlib import Path

import pytest
from rich.table import Table

from lightning_advinterp.ablation.measures import Measures
from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.cli import fit
from lightning_advinterp.cli.evaluation.config import TableRow
from lightning_advinterp.core.files import write_json
from lightning_advinterp.core.names import (
    cell,
    file_name,
    from_cell,
    markdown_cell,
    printable,
    readable,
    require_inside,
    shell,
)
from lightning_advinterp.core.reading import read_json
from lightning_advinterp.core.terminal import PlainConsole

BYTES = b"caf\xe9.jpg".decode(errors="surrogateescape")
HOSTILE = [
    BYTES, "\ud800", "[red]x[/red]", "[/]", "$\\frac{$", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "=1+1", "+1", "-1",
    "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-x", "it's", "＝1+1", "a\nb", "a\rb", "\u202egnp.exe", "../x", "/etc/passwd",
    "..\\x", "C:\\x", ".hidden", "..", "", " ", "x" * 400, "é" * 200, "a|b", "<b>&", "a b", "`id`", "$(id)", ":smile:",
    "nul\0", "a/b",
]  # fmt: skip
ids = [repr(name)[:20] for name in HOSTILE]


@pytest.mark.parametrize("name", HOSTILE, ids=ids)
def test_every_name_can_be_written_and_shown(name):
    for text in (readable(name), printable(name), cell(name), markdown_cell(name)):
        text.encode()
    assert not set(printable(name)) & set("\x1b\x07\x00\r\u202e")
    stream = io.StringIO()
    console = PlainConsole(file=stream, width=1000, force_terminal=False)
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    console.print(table)
    console.print(name)
    for word in printable(name).split():
        assert stream.getvalue().count(word) >= 2, "no part of a name is markup"
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("name", HOSTILE, ids=ids)
def test_a_cell_is_no_formula_and_comes_back(name):
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([cell(name), "-1.5"])
    ((text, number),) = csv.reader(io.StringIO(buffer.getvalue(), newline=""))
    assert not text.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
    assert from_cell(text) == printable(name, keep="")
    assert number == "-1.5"


@pytest.mark.parametrize("name", HOSTILE, ids=ids)
def test_a_file_name_stays_in_its_folder(name, tmp_path):
    path = tmp_path / f"{file_name(name)}.png"
    path.write_text("")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert not path.name.startswith(".")


def test_different_names_are_different_files():
    assert len({file_name(name) for name in [*HOSTILE, "_", "a_b", "x" * 401]}) == len(HOSTILE) + 3
    assert file_name("panels_layer1.0.relu") == "panels_layer1.0.relu"


@pytest.mark.parametrize("name", [name for name in HOSTILE if "\0" not in name and name != "\ud800"], ids=repr)
def test_a_printed_command_is_taken_as_it_is(name):
    told = subprocess.run(["bash", "-c", f"printf %s {shell(name)}"], capture_output=True, check=True).stdout
    assert told == name.encode(errors="surrogateescape")
    shell(name).encode()


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc", "..", "", "..\\x", "C:\\x", "\\\\host\\x", "~/x", "a\nb", "."]
)
def test_a_folder_below_an_output_does_not_leave_it(name):
    with pytest.raises(ValueError, match=r"^name must name a folder below the output"):
        require_inside(name, "name")


@pytest.mark.parametrize("name", ["a", "a/b", "x..y", "robust 8/255", BYTES, "é", ".a"])
def test_plausible_folders_are_taken(name):
    require_inside(name, "name")


def test_json_holds_names_that_are_no_utf8(tmp_path: Path):
    write_json(tmp_path / "a.json", {BYTES: [BYTES, 1.5, None, {"a": (BYTES,)}], "b": "\x1b"})
    assert read_json(tmp_path / "a.json") == {
        "caf\\xe9.jpg": ["caf\\xe9.jpg", 1.5, None, {"a": ["caf\\xe9.jpg"]}],
        "b": "\x1b",
    }


@pytest.mark.parametrize("name", ["../x", "/x", ""])
def test_no_name_of_a_folder_leaves_its_output(name, tmp_path, capsys):
    """A run, a row of a table, an arm, an evaluation of an ablation."""
    base = tmp_path / "base.yaml"
    base.write_text("{}")
    with pytest.raises(ValueError, match="rows: name must name a folder below the output"):
        TableRow(name=name)
    with pytest.raises(ValueError, match="arms: name must name a folder below the output"):
        Plan([str(base)], {name: str(base)}).check()
    with pytest.raises(ValueError, match="measures: name of an evaluation must name a folder below the output"):
        Measures(["a"], {name: "--analyses accuracy"})
    with pytest.raises(SystemExit):
        fit(["--output", str(tmp_path / "runs"), f"--name={name}", "--data", "ConceptWorldDataModule"])
    assert "error: name must name a folder below the output" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["base.yaml"]
