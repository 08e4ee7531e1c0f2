"""Fragility and influence on the command line: files, columns, figures, settings."""

import json

import pytest
import torch
from helpers import SmallBackbone
from PIL import Image
from torch.nn import functional as F
from unit_evaluations import table

from lightning_advinterp.attacks import create_explanation_attack
from lightning_advinterp.attacks.explanation.dissimilarity import written
from lightning_advinterp.cli import evaluate
from lightning_advinterp.cli.evaluation.command import evaluation_parser
from lightning_advinterp.explanations import Gradient

LEADING = ["image", "method", "attack", "eps", "topk", "spearman", "center_shift"]


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """Noisy pictures of three colours, and a small network that tells most of them apart."""
    folder, generator = tmp_path_factory.mktemp("colours"), torch.Generator().manual_seed(0)
    images, labels = [], []
    for label, name in enumerate(("blue", "green", "red")):
        (folder / "data" / name).mkdir(parents=True)
        for i in range(8):
            pixels = torch.randint(0, 160, (20, 20, 3), generator=generator, dtype=torch.uint8)
            pixels[..., 2 - label] += 60
            Image.fromarray(pixels.numpy()).save(folder / "data" / name / f"{i}.png")
            images.append(pixels.permute(2, 0, 1) / 255)
            labels.append(label)
    torch.manual_seed(0)
    network = SmallBackbone(3)
    x, y = (torch.stack(images) - 0.45) / 0.225, torch.tensor(labels)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    torch.save(network.state_dict(), folder / "weights.pth")
    return folder


def run(folder, output, *flags):
    evaluate(
        [
            *("--network", "helpers.SmallBackbone", "--weights", str(folder / "weights.pth"), "--num_classes", "3"),
            *(
                "--data",
                str(folder / "data"),
                "--classes",
                "folders",
                "--resize",
                "20",
                "--crop",
                "16",
                "--num_workers",
                "0",
            ),
            *("--output", str(output), *flags),
        ]
    )


SETTINGS = """
analyses: fragility
fragility:
  methods: [{type: gradient}, {type: deeplift}]
  attacks: [{type: random_sign, steps: 1}, {type: topk, name: top, k: 20}]
  eps: [2/255, 8/255]
  steps: 2
  limit: 6
  batch_size: 4
  show: 1
"""


@pytest.mark.slow
def test_fragility(colours, tmp_path):
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    run(colours, tmp_path / "out", "--config", str(tmp_path / "settings.yaml"), "--attack", "null")
    rows = table(tmp_path / "out", "fragility")
    columns = list(rows[0])
    assert columns[:7] == LEADING
    assert columns[columns.index("label_kept") + 1] == "linf"
    images = {row["image"] for row in rows}
    assert len(images) >= 4
    assert all((colours / "data" / image).is_file() for image in images)
    assert len(rows) == len(images) * 2 * 2 * 2
    assert {row["label_kept"] for row in rows} <= {"true", "false"}
    assert {round(255 * float(row["eps"])) for row in rows} == {2, 8}
    assert all(float(row["linf"]) <= float(row["eps"]) * 1.0001 for row in rows)
    summary = table(tmp_path / "out", "fragility_summary")
    assert [row["attack"] for row in summary[:4]] == ["random_sign", "random_sign", "top", "top"]
    assert int(summary[0]["n"]) == len(images) == 6 - int(summary[0]["skipped"])
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    scalars = results["scalars"]["fragility"]
    assert scalars["fragility/deeplift/top/topk"] == pytest.approx(float(summary[7]["topk"]), abs=1e-6)
    assert results["provenance"]["settings"]["fragility"]["steps"] == 2
    figures = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert figures == {
        "fragility.png",
        "fragility_convergence.png",
        "fragility_gradient.png",
        "fragility_deeplift.png",
    }


@pytest.mark.slow
def test_influence_beside_fragility(colours, tmp_path):
    flags = ["--analyses", "influence,fragility", "--fragility.preset", "quick", "--fragility.steps", "1"]
    flags += [
        "--fragility.limit",
        "3",
        "--influence.classes",
        "[blue, red]",
        "--influence.steps",
        "2",
        "--influence.show",
        "1",
        "--fragility.show",
        "1",
    ]
    run(colours, tmp_path / "out", *flags, "--influence.training", "10", "--influence.test", "6", "--seed", "3")
    rows = table(tmp_path / "out", "influence")
    assert list(rows[0])[:4] == ["image", "attack", "eps", "spearman"]
    assert {row["image"].split("/")[0] for row in rows} <= {"blue", "red"}
    summary = table(tmp_path / "out", "influence_summary")
    assert [row["attack"] for row in summary] == ["sign", "iterated", "random_sign"]
    assert {row["training"] for row in summary} == {"10"}
    assert int(summary[0]["n"]) + int(summary[0]["skipped"]) == 6
    assert (tmp_path / "out" / "figures" / "influence.png").is_file()
    assert table(tmp_path / "out", "fragility")


def test_a_dry_run_counts_the_passes(colours, tmp_path, capsys):
    flags = ["--analyses", "fragility,influence", "--fragility.limit", "5", "--output", str(tmp_path / "out")]
    run(colours, tmp_path / "out", *flags, "--dry_run", "--trial_seconds", "0")
    printed = " ".join(capsys.readouterr().out.split())
    assert "fragility: 5 images" in printed
    assert "influence: 16 images" in printed
    assert not (tmp_path / "out").exists()


def test_presets_on_the_command_line():
    parser = evaluation_parser()
    for preset, steps in (("ghorbani2019", 300), ("dombrowski2019", 1500)):
        evaluation = parser.instantiate(parser.parse_args(["--fragility.preset", preset]))
        assert max(case.attack.steps for case in evaluation.fragility.cases()) == steps


def test_the_text_to_be_written_into_maps_is_a_setting():
    parser = evaluation_parser()
    attacks = "[{type: target_map, target: text, text: NO DOG, steps: 2, keep: constraint}]"
    evaluation = parser.instantiate(parser.parse_args(["--fragility.attacks", attacks]))
    (case, *_) = evaluation.fragility.cases()
    attack = create_explanation_attack(case.attack, Gradient())
    assert (attack.dissimilarity.text, attack.keep) == ("NO DOG", "constraint")
    h = attack.dissimilarity.reference(torch.rand(1, 60, 80))
    torch.testing.assert_close(h[0], written("NO DOG", 60, 80) / written("NO DOG", 60, 80).sum())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fragility.preset", "ghorbani"], "fragility.preset"),
        (["--fragility.methods", "[{type: gradiant}]"], "did you mean gradient?"),
        (["--fragility.eps", "[8]"], 'write "8/255"'),
        (["--influence.classes", "[blue, pink]", "--analyses", "influence"], "pink is no class of the data"),
    ],
)
def test_wrong_settings_are_refused(colours, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        run(colours, tmp_path / "out", "--analyses", "fragility", *flags)
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_the_concept_world_has_classes_for_influence(tmp_path):
    evaluate(
        [
            *("--network", "cifar_resnet20", "--num_classes", "12", "--data", "concept_world", "--crop", "16"),
            *("--limit", "60", "--analyses", "influence", "--influence.training", "8", "--influence.test", "2"),
            *("--influence.steps", "1", "--num_workers", "0", "--output", str(tmp_path / "out")),
        ]
    )
    assert (tmp_path / "out" / "results.json").is_file()
