"""Attacks that an evaluation calibrates: on which images, with which weight, and where both are written down."""

import json

import pytest
import torch
from PIL import Image

from lightning_advinterp.attacks import AttackConfig, calibrate, create_attack, sample_keys
from lightning_advinterp.cli import evaluate
from lightning_advinterp.cli.evaluation import Evaluation
from lightning_advinterp.cli.evaluation.inputs import load_images, load_subject, share_out
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.data.labels import balanced_subset
from lightning_advinterp.data.loaders import collate_batch
from lightning_advinterp.data.transforms import EvalTransform
from lightning_advinterp.networks import create_network


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    """A random linear network, and 3 classes of 8 random pictures."""
    folder = tmp_path_factory.mktemp("setup")
    torch.manual_seed(0)
    network = create_network("helpers.PooledLinear", num_classes=3).backbone
    network.fc.bias.data.zero_()
    torch.save(network.state_dict(), folder / "weights.pth")
    generator = torch.Generator().manual_seed(0)
    for label in ("ape", "bee", "cow"):
        (folder / "data" / "val" / label).mkdir(parents=True)
        for i in range(8):
            pixels = torch.randint(0, 256, (32, 32, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(folder / "data" / "val" / label / f"{i}.png")
    return folder


def run(setup, output, *flags):
    network = [
        "--network",
        "helpers.PooledLinear",
        "--weights",
        str(setup / "weights.pth"),
        "--classes",
        "folders",
        "--data",
        str(setup / "data"),
    ]
    evaluate([*network, "--resize", "32", "--crop", "32", "--seed", "3", "--output", str(output), *flags])
    file = output / "results.json"
    return json.loads(file.read_text()) if file.exists() else None


def test_the_weight_is_found_on_other_images(setup, tmp_path, capsys):
    flags = ("--attack", "optimization", "--limit", "9", "--calibration_images", "6")
    results = run(setup, tmp_path / "out", *flags)
    calibration = results["provenance"]["calibration"]["data"]["attacks"]["optimization"]
    labels = [label for label in range(3) for _ in range(8)]
    reported = balanced_subset(labels, 9, 3)
    unreported = sorted(set(balanced_subset(labels, 15, 3)) - set(reported))
    assert len(unreported) == 6
    dataset = ImageFolderDataset.from_folder(setup / "data", "val", transform=EvalTransform(32, 32))
    assert results["provenance"]["calibration"]["data"]["images"] == dataset.only(unreported).fingerprint
    assert results["provenance"]["data"] == {
        "fingerprint": dataset.only(reported).fingerprint,
        "images": 9,
        "skipped": [],
    }
    batch = collate_batch([dataset[i] for i in unreported]).to_float()
    network = create_network("helpers.PooledLinear", setup / "weights.pth").eval()
    attack = create_attack(AttackConfig("optimization", weight=1.0))
    expected = calibrate(attack, network, batch.image, batch.label, keys=sample_keys(batch.index, seed=3))
    assert (calibration["weight"], calibration["success"], calibration["reached"]) == (
        expected.weight,
        expected.success,
        True,
    )
    assert calibration["images"] == 6
    assert [trial["weight"] for trial in calibration["trials"]] == [trial.weight for trial in expected.trials]
    assert f"weight={expected.weight}" in results["provenance"]["settings"]["attacks"]["data"]["optimization"]
    printed = " ".join(capsys.readouterr().out.split())
    assert f"optimization: λ = {expected.weight:g}: success 100.0 % on 6 other images" in printed
    assert "taken from" not in printed


def test_where_all_images_are_reported_some_are_taken_away(setup, tmp_path, capsys):
    results = run(setup, tmp_path / "out", "--attack", "optimization", "--calibration_images", "5")
    assert results["provenance"]["data"]["images"] == 19
    assert "5 are taken from those to be reported on, which leaves 19" in " ".join(capsys.readouterr().out.split())


def test_a_weight_that_is_given_needs_no_calibration(setup, tmp_path):
    (tmp_path / "attack.yaml").write_text("attack:\n- {type: targeted_optimization, weight: 10, steps: 2}\n")
    results = run(setup, tmp_path / "out", "--config", str(tmp_path / "attack.yaml"))
    assert "calibration" not in results["provenance"]
    assert results["provenance"]["data"]["images"] == 24


def test_no_weight_is_good_enough(setup, tmp_path, capsys):
    (tmp_path / "attack.yaml").write_text("attack:\n- {type: targeted_optimization, eps: 0.01/255, steps: 1}\n")
    with pytest.warns(UserWarning, match="no weight from 0.0001 to 100000 reaches 95 % success"):
        results = run(setup, tmp_path / "out", "--config", str(tmp_path / "attack.yaml"), "--limit", "6")
    assert results["provenance"]["calibration"]["data"]["attacks"]["targeted_optimization"]["reached"] is False
    assert "but not enough" in " ".join(capsys.readouterr().out.split())


def test_dry_run_counts_and_does_not_calibrate(setup, tmp_path, capsys):
    flags = (
        "--attack",
        "targeted_optimization",
        "--limit",
        "4",
        "--calibration_images",
        "8",
        "--dry_run",
        "--trial_seconds",
        "0",
    )
    assert run(setup, tmp_path / "out", *flags) is None
    printed = " ".join(capsys.readouterr().out.split())
    assert "on 8 images that are not reported on: up to 1,680 forward passes, 1,600 backward passes" in printed
    assert "λ" not in printed


def test_an_ensemble_and_cw_in_a_configuration(setup, tmp_path):
    member = f"{{network: helpers.PooledLinear, weights: {setup / 'weights.pth'}}}"
    (tmp_path / "attack.yaml").write_text(
        f"attack:\n- {{type: ensemble, weight: 100, steps: 2, targets: 3, members: [{member}, {member}]}}\n"
        "- {type: cw, steps: 3, search_steps: 2, initial_weight: 1e-1}\n"
    )
    results = run(setup, tmp_path / "out", "--config", str(tmp_path / "attack.yaml"), "--limit", "4")
    assert set(results["provenance"]["settings"]["attacks"]["data"]) == {"ensemble", "cw"}
    assert {"ensemble_acc", "cw_acc"} <= set(results["scalars"]["accuracy"])


@pytest.mark.parametrize(
    ("limit", "calibration", "sizes"),
    [(10, 5, (10, 5, 0)), (None, 5, (25, 5, 5)), (28, 5, (25, 5, 3)), (None, 99, (15, 15, 15)), (None, 0, (30, 0, 0))],
)
def test_sharing_out(limit, calibration, sizes):
    labels = [i % 3 for i in range(30)]
    reported, calibrating, count = share_out(labels, limit, calibration, seed=1)
    assert (len(reported), len(calibrating), count) == sizes
    assert not set(reported) & set(calibrating)
    assert reported == balanced_subset(labels, len(reported), 1)
    counts = [sum(labels[i] == label for i in calibrating) for label in range(3)]
    assert max(counts) - min(counts) <= 1


def test_the_concept_world_draws_further_pictures(setup):
    evaluation = Evaluation(network="helpers.PooledLinear", data="concept_world", num_classes=12, limit=5, crop=16)
    images = load_images(evaluation, load_subject(evaluation), 3)
    assert [int(images.reported[i].index) for i in range(5)] == list(range(5))
    assert [int(images.calibration[i].index) for i in range(3)] == [5, 6, 7]
    assert not any(torch.equal(images.calibration[0].image, images.reported[i].image) for i in range(5))
    assert (len(images.reported), images.taken) == (5, 0)


def test_one_image_cannot_be_shared():
    with pytest.raises(ValueError, match="needs images beside those reported on, got 1 image"):
        share_out([0], None, 64, 0)


def test_no_images_for_a_calibration_are_refused(setup, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(setup, tmp_path / "out", "--calibration_images", "0")
    assert "calibration_images must be 1 or more images, got 0" in capsys.readouterr().err
