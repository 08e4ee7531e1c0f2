"""Promotion on the command line and during training: files, columns, figures, what is logged, what is refused."""

import json

import pytest
from declared import undeclared
from short_trainings import train_in
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from unit_evaluations import table, write_checkpoint

from lightning_advinterp import load_results
from lightning_advinterp.analyses.promotion.question import Promotion
from lightning_advinterp.cli import evaluate

CONFIG = """
name: watched
watch:
  promotion: {attacks: [{type: pgd, eps: 64/255, steps: 2}], limit: 6, settings: {cell: 8, show: 1}}
"""
TYPES = {"suppression", "balanced", "promotion", "inert", "inactive"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return train_in(tmp_path_factory.mktemp("promotion"), CONFIG, "--trainer.max_epochs", "1")


@pytest.fixture
def untrained(tmp_path):
    """The folder of a network with random weights, where that of a training would be."""
    (tmp_path / "watched").mkdir()
    write_checkpoint(tmp_path / "watched" / "last.ckpt")
    return tmp_path


def run(folder, output, *flags):
    evaluate(
        [
            *("--checkpoint", str(folder / "watched" / "last.ckpt"), "--analyses", "promotion", "--limit", "8"),
            *("--attack", "[{type: pgd, eps: 64/255, steps: 3}, {type: fgsm, eps: 64/255}]", "--num_workers", "0"),
            *("--output", str(output), *flags),
        ]
    )


@pytest.mark.slow
def test_what_is_logged_and_drawn_in_training(folder):
    events = EventAccumulator(str(folder / "watched")).Reload()
    logged = set(events.Tags()["scalars"])
    expected = {f"promotion/pgd/{name}{end}" for name in TYPES for end in ("", "_lowest", "_highest")}
    expected |= {f"promotion/{name}" for name in TYPES}
    expected |= {"promotion/pgd/agreement", "promotion/pgd/failed", "time/promotion"}
    pairs = [f"{of}_{which}" for of in ("real", "adversarial") for which in ("true", "target")]
    expected |= {
        f"promotion/pgd/is_{m}_{p}_minus_{c}" for m in ("cam", "asm") for p in pairs for c in ("chance", "rolled")
    }
    assert expected <= logged
    assert {"promotion/shares", "promotion/agreement", "promotion/is", "promotion/pgd"} <= set(events.Tags()["images"])


@pytest.mark.slow
def test_files_and_columns(folder, tmp_path, capsys):
    run(folder, tmp_path / "out", "--promotion.cell", "6", "--promotion.show", "2", "--promotion.screening", "true")
    rows = table(tmp_path / "out", "promotion")
    assert list(rows[0])[:12] == [
        *("image", "images", "eps", "effect", "logits", "cell", "promotion", "suppression", "ratio", "type"),
        *("counter", "delta_l2"),
    ]
    assert {row["images"] for row in rows} == {"pgd", "fgsm"}
    assert {int(row["cell"]) for row in rows} == set(range(9))
    assert {row["type"] for row in rows} <= TYPES
    assert {row["counter"] for row in rows} <= {"true", "false"}
    summary = table(tmp_path / "out", "promotion_summary")
    assert list(summary[0])[:11] == [
        *("images", "effect", "logits", "xi", "threshold", "type", "share", "share_low", "share_high"),
        *("share_by_l2", "n"),
    ]
    scores = table(tmp_path / "out", "promotion_is")
    assert list(scores[0])[:9] == [
        *("image", "images", "map", "of", "class", "percentile", "score", "chance", "rolled"),
    ]
    figures = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    names = ("promotion", "promotion_agreement", "promotion_is", "promotion_pgd", "promotion_fgsm")
    assert figures == {f"{name}.png" for name in names}
    printed = capsys.readouterr().out
    assert "have one type under all nine forms" in printed
    assert undeclared(tmp_path / "out", "promotion") == []
    settings = json.loads((tmp_path / "out" / "results.json").read_text())["provenance"]["settings"]
    assert settings["promotion"]["cell"] == 6
    result = load_results(tmp_path / "out")["promotion"]
    assert set(Promotion().figures(result, "again")) == set(names)


@pytest.mark.slow
def test_a_threshold_of_ones_own_stands_beside_the_sweep(folder, tmp_path, capsys):
    run(folder, tmp_path / "out", "--promotion.cell", "8", "--promotion.xi", "0.003", "--promotion.show", "0")
    summary = table(tmp_path / "out", "promotion_summary")
    assert {row["xi"] for row in summary} == {"0.0001", "0.001", "0.003", "0.01", "0.1"}
    assert "ξ = 0.003, threshold 1" in capsys.readouterr().out
    types = {row["type"] for row in table(tmp_path / "out", "promotion") if row["type"] != "inactive"}
    threshold_rows = [
        row for row in summary if row["xi"] == "0.003" and row["type"] in types and float(row["share"]) > 0
    ]
    assert {row["type"] for row in threshold_rows} == types


def test_a_cell_that_does_not_fit_is_refused(untrained, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(untrained, tmp_path / "out", "--promotion.cell", "17", "--data", "concept_world")
    assert "promotion.cell must be 1 to 16 pixels, the image's longer side, got 17" in capsys.readouterr().err
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_dry_run_says_what_it_costs(untrained, tmp_path, capsys):
    run(
        untrained,
        tmp_path / "out",
        "--promotion.cell",
        "8",
        "--dry_run",
        "--trial_seconds",
        "0",
        "--data",
        "concept_world",
    )
    # per image: 1 for the choice of others; per attack the attack's own and 1, 2 · 4 cells, and 3 · (1 + 2) maps
    forwards = 8 * (1 + 1 + (3 + 1 + 8 + 9) + (1 + 1 + 8 + 9))
    assert f"8 images, {forwards:,} forward passes" in capsys.readouterr().out.replace("\n", " ")
