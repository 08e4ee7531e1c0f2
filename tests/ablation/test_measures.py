"""What is measured of the arms' networks: intervals against scipy, flags against the evaluation command."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from lightning_advinterp.ablation.measures import Measures, compare, evaluation_of, measures_markdown

ARM, TWIN = (0.61, 0.58, 0.64, 0.60, 0.57), (0.55, 0.57, 0.56, 0.58, 0.54)


def test_intervals_are_students_and_differences_are_paired():
    runs = {
        name: [{"a/x": value, "a/y": 1.0} for value in values] for name, values in zip("pt", (ARM, TWIN), strict=True)
    }
    del runs["t"][3]["a/y"]  # a scalar that one run lacks is not compared
    arm, twin = compare("d", runs, "t")
    assert (arm["scalar"], arm["arm"], arm["seeds"], twin["arm"]) == ("a/x", "p", 5, "t")
    single = ttest_1samp(ARM, 0).confidence_interval(0.95)
    paired = ttest_rel(ARM, TWIN).confidence_interval(0.95)
    assert (arm["low"], arm["high"]) == pytest.approx(single, rel=1e-12)
    assert (arm["difference_low"], arm["difference_high"]) == pytest.approx(paired, rel=1e-12)
    assert arm["difference"] == pytest.approx(np.mean(np.subtract(ARM, TWIN)))
    assert "difference" not in twin
    text = measures_markdown([arm, twin], ["*/x"])
    assert "| a/x | 0.600 [0.566, 0.634] | 0.560 [0.540, 0.580] | +0.040" in text
    assert measures_markdown([arm, twin], ["b/*"]) == ""


def test_one_seed_has_no_interval():
    (row,) = compare("d", {"p": [{"a/x": 2.0}]}, None)
    assert (row["mean"], row["low"], row["high"]) == (2.0, None, None)
    assert "| a/x | 2.000 |" in measures_markdown([row], ["*"])


def test_flags_are_those_of_the_evaluation_command(tmp_path):
    seeded = evaluation_of("--attack '{type: stored, path: b-{seed}/set}'", Path("a/last.ckpt"), tmp_path, 3)
    assert seeded.attack_configs()["stored"].path == "b-3/set"
    evaluation = evaluation_of("--analyses distances --eps 2/255 --dry_run", Path("a/last.ckpt"), tmp_path)
    assert (evaluation.checkpoint, evaluation.output, evaluation.analyses) == (
        "a/last.ckpt",
        str(tmp_path),
        "distances",
    )
    assert evaluation.eps == "2/255"
    assert evaluation.dry_run


@pytest.mark.parametrize("evaluations", [{}, {"last": "--analyses accuracy"}])
def test_names_of_other_folders_are_refused(evaluations):
    with pytest.raises(ValueError, match="none of these named last, best"):
        Measures(["arm"], evaluations)
