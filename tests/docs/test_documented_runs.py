"""Every command of README and docs runs at small size, or says why not; the suite runs some, the sweep all of them."""

import re
from pathlib import Path

import pytest
from documented.inputs import Inputs
from documented.pages import ROOT, named_command
from documented.running import Page
from documented.small import all_commands, name_of, table

COMMANDS = all_commands()
RUN = [command for command in COMMANDS if not command.reason]
IN_SUITE = [command for command in RUN if any(re.search(mark, command.text) for mark in table()["in_suite"])]


def test_a_command_runs_or_says_why_not():
    assert len(RUN) > 80
    for command in COMMANDS:
        if command.reason:
            continue
        script = command.words[0] == "python" and (ROOT / command.words[1]).is_file()
        assert named_command(command.words) or script or command.words[0] == "advinterp", command.text


def used_replacements():
    """Which lines of the table change a command; a line sees what earlier ones left."""
    used = set()
    for command in RUN:
        text = command.text
        for row in table()["words"]:
            before, text = text, re.sub(row["of"], row["to"], text)
            if text != before:
                used.add(row["of"])
    return used


def test_every_line_of_the_table_is_of_use():
    assert {row["of"] for row in table()["words"]} == used_replacements()
    for row in table()["not_run"]:
        assert any(re.search(row["of"], command.text) for command in COMMANDS), row
    for mark in table()["in_suite"]:
        assert any(re.search(mark, command.text) for command in RUN), mark
    assert all(row["why"] for row in table()["words"] + table()["not_run"])


def test_the_tests_that_pages_name_are_there():
    lines = [command.text for command in COMMANDS if command.text.startswith("pytest ")]
    assert lines
    for line in lines:
        for word in line.split()[1:]:
            if word.startswith("tests"):
                assert list(ROOT.glob(word)), line


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return Inputs(tmp_path_factory.mktemp("inputs"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("page", dict.fromkeys(command.page for command in IN_SUITE), ids=name_of)
def test_commands_run(page, inputs, tmp_path):
    place = Page(Path(page), inputs, tmp_path / "page")
    for command in IN_SUITE:
        if command.page == page:
            outcome = place.run(command)
            assert not outcome.error, f"{command.text}\n{outcome.error}"
