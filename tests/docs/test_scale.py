"""The commands of docs/scale.md parse as they stand, and its flags are those of both commands."""

import re
import runpy
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
from helpers import small_network

from lightning_advinterp.ablation.command import parser as ablation_parser
from lightning_advinterp.analyses import DissectionAnalysis, Runner
from lightning_advinterp.analyses.dissection.config import DissectionConfig
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attack
from lightning_advinterp.cli.adversarial import SetPlan
from lightning_advinterp.cli.adversarial import parser as set_parser
from lightning_advinterp.cli.evaluation.command import read_evaluation
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.processes import FLAGS
from lightning_advinterp.data.broden import open_concepts

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "scale.md").read_text()
LINES = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("line", [line for line in LINES if "evaluate.py" in line])
def test_evaluations_parse(line, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    words = shlex.split(line)
    evaluation = read_evaluation(words[words.index("evaluate.py") + 1 :])
    assert evaluation.devices == (int(words[words.index("--devices") + 1]) if "--devices" in words else "auto")


def test_sets_and_runs_parse(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    for module, parser in (("lightning_advinterp.adversarial", set_parser), ("lightning_advinterp.ablation", None)):
        lines = [line for line in LINES if f"-m {module} " in line and "$" not in line]
        assert lines
        for line in lines:
            words = shlex.split(line)
            flags = [word for word in words[words.index(module) + 1 :] if word != "--list"]
            (parser or ablation_parser)().parse_args(flags)


def test_the_table_has_the_flags():
    assert re.findall(r"^\| `--(\w+)`", PAGE, re.MULTILINE) == ["devices", "num_nodes", "accelerator", "strategy"]
    for kind in (Evaluation, SetPlan):
        assert set(FLAGS) <= {field.name for field in fields(kind)}
    assert set(FLAGS) == {"devices", "num_nodes", "accelerator", "strategy"}


def test_the_runbook_is_the_scripts(monkeypatch, capsys):
    script = runpy.run_path(str(REPOSITORY / "benchmarks" / "runbook.py"))
    monkeypatch.setattr("sys.argv", ["runbook.py"])
    script["main"]()
    table, disk = capsys.readouterr().out.strip().split("\n\n")
    assert table in PAGE
    assert "at most 75 GB" in disk
    assert sum(work.name.startswith("Table") for work in script["WORKS"]) == 3
    for name, config in (("TABLE_1", "table1"), ("TABLE_2", "table2")):
        rows = read_evaluation(["--config", str(REPOSITORY / "configs" / "paper" / f"{config}.yaml")]).rows
        assert len(rows) == len(script[name])


def test_the_runbook_counts_the_passes_of_dissection():
    script = runpy.run_path(str(REPOSITORY / "benchmarks" / "runbook.py"))
    dissection = next(work for work in script["WORKS"] if work.name == "Table 1: dissection")
    attacks = {"a": create_attack(AttackConfig("targeted_optimization", steps=20, weight=1.0))}
    concepts = open_concepts("concept_world", 16, n=2)
    analysis = DissectionAnalysis(concepts, attacks, DissectionConfig(layers="all_conv"))
    costs = Runner(small_network(), concepts, attacks=attacks).costs([analysis])
    forwards, backwards = (sum(cost.passes[kind] for cost in costs) / len(concepts) for kind in (0, 1))
    assert (forwards, backwards) == (dissection.forwards, dissection.backwards)
