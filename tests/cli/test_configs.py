"""Every configuration in configs/ parses, alone and under every trainer; the small ones run for one step."""

from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser
from lanes import few_fast
from parsers import ParserOnly

from lightning_advinterp.ablation.command import parser as ablation_parser
from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.attacks import parse_pixels
from lightning_advinterp.cli.evaluation.command import evaluation_parser, read_evaluation

CONFIGS = Path(__file__).parents[2] / "configs"
OVERLAYS = [CONFIGS / "watch.yaml"]
"""Configurations that are laid over others."""
EXPERIMENTS = sorted(set(CONFIGS.glob("*.yaml")) - set(OVERLAYS))
TRAINERS = sorted((CONFIGS / "trainer").glob("*.yaml"))
PAPER = sorted((CONFIGS / "paper").glob("*.yaml"))


@pytest.fixture(scope="module")
def parser():
    return ParserOnly.parse(["--data", "ConceptWorldDataModule"]).parser


def test_there_are_configurations():
    names = {path.stem for path in EXPERIMENTS}
    assert {"quickstart", "standard", "kurakin", "madry", "consistency"} <= names
    assert {"fast", "free", "trades", "ensemble"} <= names
    assert {"explanation_hessian", "explanation_ig_norm"} <= names
    assert {f"imagenet_{net}_consistency" for net in ("alexnet", "vgg16", "resnet18", "inception_v3")} <= names
    assert [path.stem for path in TRAINERS] == ["cpu", "ddp", "gpu", "slurm"]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_parses(path, parser):
    parsed = parser.parse_args(["--config", str(path)])
    assert parsed.name == path.stem
    assert parsed.trainer.inference_mode is False


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("path", few_fast(EXPERIMENTS, fast=1), ids=lambda path: path.stem)
def test_experiment_parses_under_every_trainer(path, trainer, parser):
    parsed = parser.parse_args(["--config", str(path), "--config", str(trainer)])
    assert parsed.name == path.stem
    assert parsed.trainer.inference_mode is False
    settings = yaml.safe_load(trainer.read_text())["trainer"]
    assert {key: parsed.trainer[key] for key in settings} == settings


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_an_overlay_holds_over_experiments(path, parser):
    assert f"--config configs/{path.name}" in path.read_text()
    settings = yaml.safe_load(path.read_text())
    for experiment in (CONFIGS / "quickstart.yaml", CONFIGS / "standard.yaml"):
        parsed = parser.parse_args(["--config", str(experiment), "--config", str(path)]).as_dict()
        assert parsed["name"] == experiment.stem
        for key, value in settings.items():
            values = value if isinstance(value, dict) else {}
            assert all(parsed[key][name] == expected for name, expected in values.items() if name != "settings"), key
        assert parsed["watch_seconds"] == settings["watch_seconds"]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_says_how_to_run_it(path):
    assert f"python train.py --config configs/{path.name}" in path.read_text()


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_paper_files_parse(path):
    evaluation = read_evaluation(["--config", str(path), "--data", "somewhere"])
    kinds = {"real", *evaluation.attacks()}
    assert bool(evaluation.rows) != bool(evaluation.network)  # a table of networks, or figures of one
    for row in evaluation.rows:
        assert (row.checkpoint is None) != (row.network is None)
        assert set(row.printed) <= kinds


def test_table_1_is_the_papers():
    """Shares in percent as printed by Dong, Su & Zhu 2022: colour, texture, material, scene, part, object."""
    parser: ArgumentParser = evaluation_parser()
    evaluation = parser.instantiate(parser.parse_args(["--config", str(CONFIGS / "paper" / "table1.yaml")]))
    assert (evaluation.analyses, evaluation.layers) == ("dissection", "all_conv")
    (attack,) = evaluation.attack
    assert (attack.name, attack.type, attack.calibrated) == ("adversarial", "targeted_optimization", True)
    printed = {
        row.name: [[round(100 * share, 1) for share in row.printed[kind].values()] for kind in ("real", "adversarial")]
        for row in evaluation.rows
    }
    assert printed == {
        "AlexNet": [[0.5, 13.4, 0.4, 0.4, 4.1, 6.1], [0.5, 10.3, 0.1, 0.0, 1.6, 2.3]],
        "AlexNet-Adv": [[0.5, 12.7, 0.3, 0.6, 5.5, 7.8], [0.5, 11.6, 0.3, 0.2, 4.8, 6.3]],
        "VGG-16": [[0.6, 13.2, 0.4, 1.3, 6.8, 14.7], [0.5, 9.5, 0.0, 0.0, 2.3, 5.2]],
        "VGG-16-Adv": [[0.6, 13.0, 0.4, 1.6, 8.0, 16.2], [0.5, 11.4, 0.3, 0.9, 6.9, 14.8]],
        "ResNet-18": [[0.3, 14.2, 0.3, 1.9, 4.1, 14.1], [0.3, 8.2, 0.1, 0.6, 2.1, 4.8]],
        "ResNet-18-Adv": [[0.3, 14.0, 0.3, 2.1, 5.3, 17.2], [0.3, 10.8, 0.3, 1.5, 4.7, 15.3]],
        "Inc-v3": [[0.4, 11.2, 0.6, 4.0, 8.1, 23.6], [0.4, 7.6, 0.3, 0.2, 2.9, 6.7]],
        "Adv-Inc-v3": [[0.4, 10.7, 0.5, 4.5, 8.6, 25.3], [0.4, 8.6, 0.4, 2.5, 5.3, 15.4]],
        "VGG-16-Place": [[0.6, 12.4, 0.5, 7.0, 5.9, 16.7], [0.6, 9.3, 0.0, 1.3, 2.1, 6.8]],
    }
    categories = ["color", "texture", "material", "scene", "part", "object"]
    assert all(list(values) == categories for row in evaluation.rows for values in row.printed.values())
    trained = {row.checkpoint.split("/")[1] for row in evaluation.rows if row.checkpoint}
    assert trained <= {path.stem for path in EXPERIMENTS}
    assert all(row.checkpoint.startswith("runs/") for row in evaluation.rows if row.checkpoint)


@pytest.mark.parametrize("path", sorted((CONFIGS / "ablation").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.slow
def test_ablation_plans_name_arms_that_parse_over_their_base(path, parser, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    plan = ablation_parser().instantiate(ablation_parser().parse_args(["--config", str(path)]))
    fields = vars(plan)
    fields.pop("config")
    plan = Plan(**fields)
    plan.check()
    assert len(plan.arms) == {"concept_world_tune": 13, "imagenette_tune": 6, "transfer": 2, "softplus": 5}.get(
        path.stem, 8
    )
    for arm in plan.arms:
        parsed = parser.parse_args(plan.command(arm, 3))
        assert parsed.seed_everything == 3
        assert parsed.name == f"{arm}-3"
        objective = parsed.model.objective.init_args
        assert objective.bn == ("frozen" if path.stem.startswith("imagenette") else "train")
        if arm != "standard" and path.stem != "softplus":  # whose arms are all of the standard objective
            attack = objective.attack
            radius = plan.attack[0].eps if plan.checkpoints else {"concept": "8/255", "imagene": "2/255"}[path.stem[:7]]
            assert parse_pixels(attack.eps) == parse_pixels(radius)
