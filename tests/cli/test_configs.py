"""Every configuration in configs/ parses, alone and under every trainer; the small ones run for one step."""

from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser

from lightning_advinterp.ablation.command import parser as ablation_parser
from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.attacks import parse_pixels
from lightning_advinterp.cli import TrainCLI
from lightning_advinterp.evaluation import Evaluation
from lightning_advinterp.evaluation.command import evaluation_parser

CONFIGS = Path(__file__).parents[2] / "configs"
EXPERIMENTS = sorted(CONFIGS.glob("*.yaml"))
TRAINERS = sorted((CONFIGS / "trainer").glob("*.yaml"))
PAPER = sorted((CONFIGS / "paper").glob("*.yaml"))


@pytest.fixture(scope="module")
def parser():
    class ParserOnly(TrainCLI):
        def instantiate_classes(self):
            pass

    return ParserOnly.parse(["--data", "ConceptWorldDataModule"]).parser


def test_there_are_configurations():
    names = {path.stem for path in EXPERIMENTS}
    assert {"quickstart", "standard", "kurakin", "madry", "consistency"} <= names
    assert {"fast", "free", "trades", "ensemble"} <= names
    assert {"explanation_hessian", "explanation_ig_norm"} <= names
    assert {f"imagenet_{net}_consistency" for net in ("alexnet", "vgg16", "resnet18", "inception_v3")} <= names
    assert [path.stem for path in TRAINERS] == ["cpu", "ddp", "gpu", "slurm"]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_parses_under_every_trainer(path, parser):
    for trainer in (None, *TRAINERS):
        layers = [path] if trainer is None else [path, trainer]
        parsed = parser.parse_args([flag for layer in layers for flag in ("--config", str(layer))])
        assert parsed.name == path.stem
        assert parsed.trainer.inference_mode is False
        if trainer is not None:
            wanted = yaml.safe_load(trainer.read_text())["trainer"]
            assert {key: parsed.trainer[key] for key in wanted} == wanted


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_says_how_to_run_it(path):
    assert f"python train.py --config configs/{path.name}" in path.read_text()


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_paper_tables_parse(path):
    parser: ArgumentParser = evaluation_parser()
    given = parser.instantiate(parser.parse_args(["--config", str(path), "--data", "somewhere"]))
    evaluation = Evaluation(**{key: value for key, value in vars(given).items() if key != "config"})
    kinds = {"real", *evaluation.attacks()}
    assert evaluation.rows
    for row in evaluation.rows:
        assert (row.checkpoint is None) != (row.network is None)
        assert set(row.printed) <= kinds


@pytest.mark.parametrize("path", sorted((CONFIGS / "ablation").glob("*.yaml")), ids=lambda path: path.stem)
def test_ablation_plans_name_arms_that_parse_over_their_base(path, parser, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    plan = ablation_parser().instantiate(ablation_parser().parse_args(["--config", str(path)]))
    fields = vars(plan)
    fields.pop("config")
    plan = Plan(**fields)
    plan.check()
    assert len(plan.arms) == 9
    for arm in plan.arms:
        parsed = parser.parse_args(plan.command(arm, 3))
        assert parsed.seed_everything == 3
        assert parsed.name == f"{arm}-3"
        objective = parsed.model.objective.init_args
        assert objective.bn == ("frozen" if path.stem == "imagenette" else "train")
        if arm != "standard":
            attack = objective.attack
            assert parse_pixels(attack.eps) == parse_pixels(plan.attack[0].eps)
