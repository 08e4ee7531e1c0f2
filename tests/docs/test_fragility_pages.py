"""What the page of fragility says works: commands, configurations, the recipe for patterns, names of columns."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_advinterp.analyses.curvature.analysis import CurvatureAnalysis
from lightning_advinterp.analyses.curvature.config import CurvatureConfig
from lightning_advinterp.cli import TrainCLI
from lightning_advinterp.cli.evaluation.command import evaluation_parser, read_evaluation
from lightning_advinterp.explanations import PatternAttribution
from lightning_advinterp.networks import create_network
from lightning_advinterp.training.callbacks.fragility import FragilityCallback

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "fragility.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)


def blocks(kind):
    return [text for name, text in BLOCKS if name == kind]


def test_every_block_says_its_language_and_pages_are_linked():
    assert {name for name, _ in BLOCKS} == {"bash", "yaml", "python"}
    assert "(fragility.md)" in (DOCS / "explanations.md").read_text()
    assert "(explanations.md)" in PAGE


@pytest.mark.parametrize("block", blocks("bash"))
def test_commands_parse(block):
    lines = [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]
    evaluations = [words[2:] for words in lines if words[:2] == ["python", "evaluate.py"]]
    assert evaluations
    for words in evaluations:
        assert read_evaluation(words).questions["fragility"].cases()


def test_configurations_parse(tmp_path):
    *evaluations, training = blocks("yaml")
    names = [{"random_sign", "topk", "mass_centre", "other"}, {"topk", "transfer"}]
    for text, expected in zip(evaluations, names, strict=True):
        (tmp_path / "evaluation.yaml").write_text(text)
        parser = evaluation_parser()
        settings = parser.instantiate(parser.parse_args(["--config", str(tmp_path / "evaluation.yaml")])).fragility
        assert {case.attack.label_name for case in settings.cases()} == expected
    (tmp_path / "training.yaml").write_text(training)
    flags = ["--data", "ConceptWorldDataModule", "--model.network", "cifar_resnet20"]
    callback = TrainCLI.parse(["--config", str(tmp_path / "training.yaml"), *flags]).config_init.fragility
    assert isinstance(callback, FragilityCallback)


def test_the_recipe_learns_patterns_from_a_folder(tmp_path, monkeypatch):
    for number, name in enumerate(("one", "two")):
        (tmp_path / "DIR" / name).mkdir(parents=True)
        noise = torch.randint(0, 255, (40, 40, 3), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(tmp_path / "DIR" / name / "0.png")
    (recipe,) = blocks("python")
    monkeypatch.chdir(tmp_path)
    small = recipe.replace('"vgg16", "IMAGENET1K_V1"', '"helpers.SmallBackbone", None, 4')
    names = {}
    exec(small, names)
    network = names["network"]
    h = PatternAttribution(tmp_path / "vgg16.safetensors").map(network, torch.rand(1, 3, 224, 224), torch.tensor([1]))
    assert float(h.sum()) == pytest.approx(1)


def test_curvature_s_columns_are_explained():
    analysis = CurvatureAnalysis(CurvatureConfig(lanczos=2, probes=2))
    torch.manual_seed(0)
    network = create_network("cifar_resnet20", None, 4).eval()
    analysis.bind(network)
    measures = analysis._measure(torch.rand(1, 3, 16, 16), torch.tensor([1]), torch.tensor([5]))
    for column in measures:
        assert f"`{column}`" in PAGE or f"`{column[: column.rindex('_')]}_…`" in PAGE, column
