"""The ablation's further tables, by hand: matched clean accuracy, checks for masked gradients."""

import numpy as np
import pytest

from lightning_advinterp.ablation.masking import Masking, masking_markdown, masking_row
from lightning_advinterp.ablation.matched import distinct_runs, matched_markdown, matched_rows
from lightning_advinterp.ablation.table import frontier


def runs(*shares, n=200):
    """One run per share: the first images are right."""
    return np.array([[i < round(share * n) for i in range(n)] for share in shares])


def test_runs_are_paired_with_the_reference_of_nearest_clean_accuracy():
    outcomes = {
        "real": {"twin": runs(0.90, 0.95), "arm": runs(0.95, 0.905, 0.80), "weak": runs(0.5)},
        "pgd": {"twin": runs(0.60, 0.40), "arm": runs(0.45, 0.70, 0.99), "weak": runs(0.5)},
    }
    arm, weak = matched_rows(outcomes, "twin")
    assert (arm["pairs"], arm["runs"]) == (2, 3)  # 0.80 has no partner within a point
    assert arm["clean"] == pytest.approx((0.95 + 0.905) / 2)
    assert arm["clean_reference"] == pytest.approx((0.95 + 0.90) / 2)
    assert arm["difference"] == pytest.approx(((0.45 - 0.40) + (0.70 - 0.60)) / 2)
    assert arm["difference_low"] < arm["difference"] < arm["difference_high"]
    assert weak["pairs"] == 0
    assert weak["difference"] is None
    text = matched_markdown([arm, weak], "twin")
    assert "| arm | pgd | 2 of 3 | 92.8, 92.5 | +7.5" in text
    assert "| weak | pgd | 0 of 1 | no run near enough |" in text


def test_a_best_epoch_that_was_the_last_one_is_one_run():
    last = {"real": {"arm": runs(0.90, 0.80), "twin": runs(0.90, 0.80)}}
    last["pgd"] = {"arm": runs(0.50, 0.40), "twin": runs(0.50, 0.40)}
    best = {"real": {"arm": runs(0.90, 0.85), "twin": runs(0.90, 0.80)}}
    best["pgd"] = {"arm": runs(0.50, 0.40), "twin": runs(0.45, 0.40)}
    pooled = distinct_runs([([3, 4], last), ([3, 4], best)])
    assert pooled["real"]["arm"].mean(axis=1) == pytest.approx([0.90, 0.80, 0.85])
    assert pooled["pgd"]["arm"].mean(axis=1) == pytest.approx([0.50, 0.40, 0.40])
    assert pooled["pgd"]["twin"].mean(axis=1) == pytest.approx([0.50, 0.40, 0.45])  # alike on real images alone
    seeds = distinct_runs([([3, 4], {"real": {"arm": runs(0.9, 0.9)}})])
    assert len(seeds["real"]["arm"]) == 2  # two seeds are two runs, however alike


def accuracy(**top1):
    return [{"images": name, "top1": str(share), "n": "200"} for name, share in top1.items()]


def test_masked_gradients_are_called_by_the_check_that_fails():
    checks = Masking(growth=[2, 8])
    honest = accuracy(real=0.95, fgsm=0.6, pgd50=0.5, square=0.55, transfer=0.9, pgd_2eps=0.2, pgd_8eps=0.0)
    masked = accuracy(real=0.95, fgsm=0.4, pgd50=0.5, square=0.3, transfer=0.45, pgd_2eps=0.5, pgd_8eps=0.3)
    good, bad = masking_row(checks, "a", 0, honest), masking_row(checks, "b", 0, masked)
    names = ("many_steps", "queries", "transferred", "growth")
    assert all(checks.verdicts({key: good[key] for key in good if good[key] is not None})[name] for name in names)
    text = masking_markdown([good, bad])
    assert "| arm | seed | real | fgsm | pgd50 | square | transfer | pgd_2eps | pgd_8eps | fails |" in text
    assert "| a | 0 | 95.0 | 60.0 | 50.0 | 55.0 | 90.0 | 20.0 | 0.0 | none |" in text
    assert text.count("none") == 1
    assert "many_steps, queries, transferred, growth" in text


def test_the_source_of_transfer_has_no_such_check():
    checks = Masking(growth=[])
    assert [config.label_name for config in checks.attacks(None)] == ["fgsm", "pgd50", "square"]
    assert [config.label_name for config in checks.attacks("last.ckpt")] == ["fgsm", "pgd50", "square", "transfer"]
    row = masking_row(checks, "standard", 0, accuracy(real=1, fgsm=0.2, pgd50=0.1, square=0.3))
    assert row["transfer"] is None
    assert row["transferred"] is None
    assert row["growth"] is None


def test_the_frontier_has_a_point_and_a_name_for_every_arm():
    rows = [
        {
            "arm": arm,
            "images": kind,
            "checkpoint": "last",
            "top1": top1,
            "top1_low": top1 - 0.1,
            "top1_high": top1 + 0.1,
        }
        for arm, real in (("standard", 0.9), ("madry", 0.8))
        for kind, top1 in (("real", real), ("pgd20", 0.5))
    ]
    figure = frontier(rows, "pgd20", "5 seeds")
    (axes,) = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["standard", "madry"]
    points = [bars.lines[0].get_xydata().tolist() for bars in axes.containers]
    assert points == [[[pytest.approx(90), pytest.approx(50)]], [[pytest.approx(80), pytest.approx(50)]]]
