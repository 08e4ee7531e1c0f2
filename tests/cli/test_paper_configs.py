"""configs/paper/: every file names its command and is read as it is; the cheap ones run on a few pictures."""

import re
from pathlib import Path

import pytest

from lightning_advinterp.analyses.registry import question_class
from lightning_advinterp.cli.evaluation.command import read_evaluation
from lightning_advinterp.cli.evaluation.notebook import evaluate

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "configs" / "paper"
COMMAND = r"python evaluate\.py (--config \S+ --(data|concepts) \S+ --output \S+)"
SMALL = {"limit": 48, "crop": 16, "data": "concept_world", "network": "helpers.SmallBackbone", "num_classes": 12}
SIX = ["gradient", "gradient_times_input", "integrated_gradients", "guided_backprop", "lrp", "pattern_attribution"]
CHEAP = {
    "p1_types": ({"promotion": {"limit": 4, "show": 1}}, {"promotion", "promotion_pgd"}),
    "p2_pictures": (
        {"fragility": {"limit": 30, "steps": 1, "show": 1, "pattern_images": 12, "faithfulness": 0}},
        {f"fragility_{method}" for method in SIX},
    ),
    "p5_pictures": (
        {"fragility": {"limit": 48, "preset": "quick", "steps": 1, "show": 1, "faithfulness": 0}},
        {"fragility_gradient"},
    ),
}
"""Settings that make them small, and figures that they draw."""


def read(path):
    return read_evaluation(["--config", str(path)])


def test_every_file_is_read_and_says_its_command():
    paths = sorted(PAPER.glob("*.yaml"))
    assert {"table1", "table2", *CHEAP} < {path.stem for path in paths}
    for path in paths:
        evaluation = read(path)
        evaluation.attacks()
        (command,) = re.findall(
            r"python evaluate\.py (--config \S+ --(data|concepts) \S+ --output \S+)", path.read_text()
        )
        flags = command[0].split()
        assert flags[:2] == ["--config", path.relative_to(ROOT).as_posix()]
        assert flags[-1] == f"evaluations/{path.stem}"
        kinds = {question_class(name).data for name in evaluation.asked}
        assert kinds == {command[1]}, path.name
        assert all(row.name for row in evaluation.rows) or evaluation.network, path.name


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.slow
def test_the_cheap_ones_draw_their_figures(tmp_path):
    for name, (settings, expected) in CHEAP.items():
        evaluation = read(PAPER / f"{name}.yaml")
        steps = {"attack": "pgd", "eps": "8/255", "steps": 2}
        output = tmp_path / name
        if "pattern_images" in settings.get("fragility", {}):
            patterns = {"preset": "dombrowski2019", "patterns": str(tmp_path / "patterns.safetensors")}
            settings = {"fragility": settings["fragility"] | patterns}
        evaluate(**SMALL, **steps, **settings, analyses=evaluation.asked, figures="pdf", output=str(output), quiet=True)
        drawn = {path.stem for path in (output / "figures").glob("*.pdf")}
        assert expected <= drawn, (name, drawn)
