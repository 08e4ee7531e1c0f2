"""Every command of README and docs is read by its command's own parser, as it stands."""

from pathlib import Path

import pytest
from documented.pages import PAGES, ROOT, command_of, lines_of
from parsers import ParserOnly

from lightning_advinterp.ablation.command import parser as ablation_parser
from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.cli import export
from lightning_advinterp.cli.adversarial import SetPlan
from lightning_advinterp.cli.adversarial import parser as set_parser
from lightning_advinterp.cli.bases import parser as basis_parser
from lightning_advinterp.cli.basis_plan import BasisPlan
from lightning_advinterp.cli.evaluation.command import read_evaluation
from lightning_advinterp.cli.parser import parsed_settings
from lightning_advinterp.core.shipped import configuration
from lightning_advinterp.data.broden.command import parser as broden_parser
from lightning_advinterp.report.command import parser as report_parser

COMMANDS = {}
for _page in PAGES:
    for _line in lines_of(_page):
        if (_command := command_of(_line)) is not None:
            COMMANDS[f"{_page.name}: {_line.strip()}"] = _command


def absent_configurations(flags):
    """Configurations that the page describes and the user writes."""
    files = [word for place, word in enumerate(flags) if place and flags[place - 1] == "--config"]
    return [name for name in files if not Path(configuration(name)).is_file()]


def read(name, flags):
    match name:
        case "train":
            ParserOnly.parse(flags)
        case "evaluate":
            read_evaluation(flags)
        case "ablation":
            parsed_settings(Plan, ablation_parser(), [flag for flag in flags if flag != "--list"])
        case "adversarial":
            parsed_settings(SetPlan, set_parser(), flags)
        case "bases":
            parsed_settings(BasisPlan, basis_parser(), flags)
        case _:
            {"export": export.parser, "report": report_parser, "broden": broden_parser}[name]().parse_args(flags)


def test_there_are_commands_of_every_kind():
    assert len(COMMANDS) > 60
    assert {name for name, _ in COMMANDS.values()} >= {"train", "evaluate", "adversarial", "bases", "export"}


@pytest.mark.parametrize(
    "name", ["train", "evaluate", "adversarial", "bases", "export", "ablation", "report", "broden"]
)
def test_they_are_read_as_they_stand(name, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    wrong = {}
    for line, (command, flags) in COMMANDS.items():
        if command != name or absent_configurations(flags) or {"--help", "--print_config"} & set(flags):
            continue
        try:
            read(command, flags)
        except (SystemExit, ValueError, OSError) as error:
            wrong[line] = f"{error} {capsys.readouterr().err}"
    assert not wrong
