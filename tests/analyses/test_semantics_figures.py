"""Figures of semantics: what they draw, and that each says what its numbers are to be held against."""

import io

import numpy as np
import pytest

from lightning_advinterp.analyses.semantics.figures import by_success, curve, depth, ratio_histogram, scatter

LEVELS = {"floor": 0.05, "chance_lc": 0.11, "images_per_class": 170.0, "kept": 20, "readable": True}
CHANCE = {"chance_cs1": 0.4, "chance_cs2": 0.3}
NO_CHANCE = {"chance_cs1": None, "chance_cs2": None}


def intervals(**values):
    return values | {f"{name}_{side}": value for name, value in values.items() for side in ("low", "high")}


def layers(*kinds, **more):
    return [
        {"layer": layer, "images": kind, **LEVELS, **(NO_CHANCE if kind == "real" else CHANCE)}
        | intervals(lc=0.2, cs1=None if kind == "real" else 0.9, cs2=None if kind == "real" else 0.1)
        | more
        for kind in kinds
        for layer in ("conv1", "conv2", "conv3")
    ]


def lines_at(axes, axis):
    """Places of lines across the whole axes: [v, v] in one coordinate, [0, 1] in the other."""
    across = "x" if axis == "y" else "y"
    drawn = [line for line in axes.lines if list(getattr(line, f"get_{across}data")()) == [0, 1]]
    return {round(float(getattr(line, f"get_{axis}data")()[0]), 6) for line in drawn}


def test_the_profile_shows_floor_chance_and_images_per_class():
    (axes,) = depth(layers("real", "fgsm")).axes
    assert lines_at(axes, "y") == {0.05, 0.11, 0.4, 0.3}
    assert axes.get_title() == "fgsm\n170 images per class, 20 top images"
    (real,) = depth(layers("real", readable=False)).axes
    assert lines_at(real, "y") == {0.05, 0.11}
    assert "too few images per class to read" in real.get_title()


def test_the_curve_shows_bins_smoother_and_levels():
    row = {"images": "fgsm", "lc_low": 0.1, "lc_high": 0.15, "units": 9, **LEVELS, **CHANCE}
    bins = [row | intervals(cs1=0.8, cs2=0.2), row | {"lc_low": 0.15} | intervals(cs1=np.nan, cs2=np.nan)]
    smooth = [{"images": "fgsm", "lc": at, "cs1": 0.7, "cs2": 0.3} for at in (0.0, 0.1)]
    (axes,) = curve(smooth, bins).axes
    assert lines_at(axes, "x") == {0.05, 0.11}
    assert lines_at(axes, "y") == {0.4, 0.3}
    assert "170 images per class, 20 top images" in axes.get_title()
    assert len(axes.containers) == 2
    assert all(len(bars.lines[0].get_xdata()) == 1 for bars in axes.containers), "a bin without a mean has no dot"


def test_the_scatter_has_a_dot_for_every_living_unit_and_says_its_levels():
    rows = [{"images": "real", "cs1": None, "cs2": None, "lc": 0.3}]
    rows += [{"images": "fgsm", "cs1": value, "cs2": value, "lc": 0.3} for value in (0.2, 0.5, np.nan)]
    levels = [{"images": kind, **LEVELS, **CHANCE} for kind in ("real", "fgsm")]
    axes = scatter(rows, levels).axes[0]
    assert len(axes.collections[0].get_offsets()) == 2
    assert axes.get_title() == "fgsm\n170 images per class, 20 top images\nLC: floor 0.05, chance 0.11"
    assert (lines_at(axes, "x"), lines_at(axes, "y")) == ({0.4}, {0.3})


def test_success_and_failure_are_drawn_over_each_other_with_their_chance():
    success = layers("fgsm", "pgd", change="success", n=300)
    failure = layers("fgsm", change="failure", n=70, readable=False) + layers("fgsm", change="failure", n=70)[:1]
    failure[-1]["layer"] = "all"
    fgsm, pgd = by_success(success + failure).axes
    assert [len(line.get_xdata()) for line in fgsm.lines if len(line.get_xdata()) > 2] == [3] * 4
    assert lines_at(fgsm, "y") == {0.4, 0.3}
    assert "failure: n = 70" in fgsm.get_title()
    assert fgsm.get_title().count("too few") == 1
    assert "failure" not in pgd.get_title()
    nothing = [row | {"cs2": None, "chance_cs2": None} for row in layers("fgsm", change="failure", n=70)]
    (only,) = by_success(nothing).axes
    assert lines_at(only, "y") == {0.4}


@pytest.mark.parametrize("n", [3, 0])
def test_ratios_are_drawn_with_and_without_images(n):
    summary = [{"images": "fgsm", "ratio": "r_ctr", "median": 1.25 if n else np.nan, "share_above_one": 2 / 3, "n": n}]
    summary[0]["images_per_class"] = 17.0
    bars = [{"images": "fgsm", "ratio": "r_ctr", "low": 0.0, "high": 2.0, "n": n}]
    bars += [{"images": "fgsm", "ratio": "r_ctr", "low": 2.0, "high": np.inf, "n": 0}]
    figure = ratio_histogram(bars, summary, "net")
    assert figure.get_suptitle() == "net\n17 images per class"
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == (["fgsm: median 1.25, above 1: 67 %"] if n else ["fgsm: no image"])


@pytest.mark.parametrize("kinds", [1, 2, 5])
def test_one_legend_stands_beside_the_panels_of_all_attacks(kinds):
    attacks = [f"attack{number}" for number in range(kinds)]
    figure = depth(layers("real", *attacks))
    figure.savefig(io.BytesIO())
    assert [axes.get_title().splitlines()[0] for axes in figure.axes] == attacks
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert figure.get_figwidth() < 15, "beyond three panels there is a second row"
    assert [bool(axes.get_ylabel()) for axes in figure.axes] == [number % 3 == 0 for number in range(kinds)]


def test_ratios_of_many_attacks_are_all_drawn():
    names = [f"attack{number}" for number in range(9)]
    row = {"ratio": "r_ctr", "median": 1.25, "share_above_one": 2 / 3, "n": 3, "images_per_class": 9.0}
    bars = [{"images": name, "ratio": "r_ctr", "low": 0.0, "high": 2.0, "n": 3} for name in names]
    (axes,) = ratio_histogram(bars, [{"images": name} | row for name in names]).axes
    assert [text.get_text().split(":")[0] for text in axes.get_legend().get_texts()] == names
    assert len({(bars.get_edgecolor(), bars.get_linestyle()) for bars in axes.patches}) == 9
