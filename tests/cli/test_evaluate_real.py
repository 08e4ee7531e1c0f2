"""evaluate.py on real images with really trained weights gives back the accuracies that their README states."""

import csv

import pytest

from lightning_advinterp.cli import evaluate

pytestmark = pytest.mark.real


def table(folder):
    with (folder / "accuracy.csv").open() as file:
        return {row["images"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("name", "file", "folder", "top1", "top5"),
    [
        ("squeezenet1_0", "squeezenet1_0_deepcompression.safetensors", "imagenet_nips2017", 49.9, 76.3),
        ("resnet18", "resnet18_pqf.safetensors", "imagenet_1k", 75.8, 92.6),
    ],
)
@pytest.mark.slow
def test_accuracy_on_imagenet_images(real_data, tmp_path, name, file, folder, top1, top5):
    evaluate(
        [
            *("--network", name, "--weights", str(real_data / "weights" / file), "--attack", "null"),
            *("--data", str(real_data / folder), "--output", str(tmp_path), "--num_workers", "0"),
        ]
    )
    row = table(tmp_path)["real"]
    assert row["n"] == "1000"
    assert 100 * float(row["top1"]) == pytest.approx(top1, abs=0.3)
    assert 100 * float(row["top5"]) == pytest.approx(top5, abs=0.3)


@pytest.mark.slow
def test_fgsm_takes_a_normal_network_to_the_floor(real_data, tmp_path):
    sweep = tmp_path / "sweep.yaml"
    attacks = [f"- {{name: fgsm{eps}, type: fgsm, eps: {eps}/255}}" for eps in ("0.25", "1", "4")]
    sweep.write_text("attack:\n" + "\n".join(attacks))
    evaluate(
        [
            *("--config", str(sweep), "--network", "resnet18", "--limit", "40", "--num_workers", "0"),
            *("--weights", str(real_data / "weights" / "resnet18_pqf.safetensors")),
            *("--data", str(real_data / "imagenet_1k"), "--output", str(tmp_path / "out")),
        ]
    )
    rows = table(tmp_path / "out")
    accuracies = [float(rows[kind]["top1"]) for kind in ("real", "fgsm0.25", "fgsm1", "fgsm4")]
    assert accuracies[0] > 0.65
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[-1] < 0.05
    assert float(rows["fgsm4"]["linf"]) == pytest.approx(4 / 255, abs=1e-6)
