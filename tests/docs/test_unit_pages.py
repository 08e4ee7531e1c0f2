"""The commands and configurations on the pages of dissection and semantics are what the parsers take."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from lightning_advinterp.cli import TrainCLI
from lightning_advinterp.cli.bases import parser
from lightning_advinterp.cli.basis_plan import BasisPlan
from lightning_advinterp.cli.evaluation.command import read_evaluation
from lightning_advinterp.cli.parser import read_settings
from lightning_advinterp.training.callbacks import DissectionCallback, SemanticsCallback

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("dissection.md", "semantics.md", "sensitivity.md", "bases.md")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(page, kind):
    return [text for name, text in BLOCK.findall((DOCS / page).read_text()) if name == kind]


def commands():
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                if "evaluate.py" in line:
                    yield pytest.param(shlex.split(line), id=f"{page}: {line[:60]}")


@pytest.mark.parametrize("command", list(commands()))
def test_commands_parse(command, monkeypatch):
    monkeypatch.chdir(DOCS.parent)
    evaluation = read_evaluation(command[2:])
    assert evaluation.question_names()
    assert evaluation.attacks()


def basis_commands():
    for block in blocks("bases.md", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if "lightning_advinterp.bases" in line:
                yield pytest.param(shlex.split(line), id=line[:60])


@pytest.mark.parametrize("command", list(basis_commands()))
def test_commands_that_make_bases_parse(command):
    plan = read_settings(BasisPlan, parser(), command[3:])
    plan.check()
    assert plan.layer != "last"


@pytest.mark.parametrize(("page", "key"), [("dissection.md", "dissection"), ("semantics.md", "semantics")])
def test_configurations_parse_and_show_the_defaults(page, key, tmp_path):
    (block,) = blocks(page, "yaml")
    (tmp_path / "page.yaml").write_text(block)
    cli = TrainCLI.parse(
        [
            "--config",
            str(tmp_path / "page.yaml"),
            "--data",
            "ConceptWorldDataModule",
            "--model.network",
            "cifar_resnet20",
        ]
    )
    callback = {"dissection": DissectionCallback, "semantics": SemanticsCallback}[key]
    assert isinstance(cli.config_init[key], callback)
    assert str(cli.config_init[key].attacks()) == str(callback().attacks())
    assert cli.config_init[key].limit == callback().limit == yaml.safe_load(block)[key]["limit"]
