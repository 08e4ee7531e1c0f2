"""Figures of a dissection: bars and courses stand beside their controls."""

import io

import numpy as np
import pytest

from lightning_advinterp.analyses.dissection.figures import best_units, category_bars, depth_profile

CONTROLS = {"shuffled": 0.1, "rotated": 0.2, "random": 0.3}


def summary(layers=("first", "second", "all"), controls=CONTROLS):
    """Shares of 0.5 on real images and 0.25 under attack, a tenth more in every further layer."""
    return [
        {
            "layer": layer,
            "images": kind,
            "category": category,
            "ratio": ratio + 0.1 * place,
            "ratio_low": ratio,
            "ratio_high": 1.0,
            **{name: share if kind == "real" else None for name, share in controls.items()},
        }
        for place, layer in enumerate(layers)
        for kind, ratio in (("real", 0.5), ("fgsm", 0.25))
        for category in ("color", "object", "all")
    ]


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_bars_of_all_layers_with_controls():
    figure = category_bars(summary(), "title")
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([70] * 3 + [45] * 3)
    assert set(labels(figure)) == {"real", "fgsm", "control: shuffled", "control: rotated", "control: random"}
    marks = {line.get_label(): line.get_ydata().tolist() for line in axes.lines if "control" in str(line.get_label())}
    assert marks["control: rotated"] == pytest.approx([20] * 3)


def test_the_course_over_depth_with_controls():
    figure = depth_profile(summary())
    (axes,) = figure.axes
    lines = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert lines["real"] == pytest.approx([50, 60])
    assert lines["fgsm"] == pytest.approx([25, 35])
    assert lines["control: random"] == pytest.approx([30, 30])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["first", "second"]


@pytest.mark.parametrize("draw", [category_bars, depth_profile])
@pytest.mark.parametrize("attacks", [4, 9])
def test_every_kind_of_images_has_a_colour_of_its_own(draw, attacks):
    real = [row for row in summary() if row["images"] == "real"]
    rows = real + [row | {"images": f"attack{number}"} for number in range(attacks) for row in real]
    (axes,) = draw(rows).axes
    lines = [line for line in axes.lines if str(line.get_label()).startswith(("real", "attack"))]
    drawn = [bar.get_facecolor() for bar in axes.patches] or [line.get_color() for line in lines]
    assert len(set(drawn)) == 1 + attacks


def test_only_the_controls_that_were_counted():
    for draw in (category_bars, depth_profile):
        assert set(labels(draw(summary(controls={"shuffled": 0.1})))) == {"real", "fgsm", "control: shuffled"}


@pytest.mark.parametrize("draw", [category_bars, depth_profile])
def test_what_the_shares_compare_with_is_said(draw):
    assert draw(summary()).axes[0].get_xlabel() == "shares compare on one set of images alone"


@pytest.mark.parametrize("draw", [category_bars, depth_profile])
def test_the_legend_covers_nothing(draw):
    figure = draw(summary())
    figure.savefig(io.BytesIO())
    assert not figure.legends[0].get_window_extent().overlaps(figure.axes[0].get_window_extent())


def test_the_best_units_have_a_concept_each():
    rows = [
        {"layer": "first", "unit": unit, "images": kind, "label": label, "iou": iou}
        for kind in ("real", "fgsm")
        for unit, (label, iou) in enumerate([("dog", 0.2), ("cat", 0.3), ("dog", 0.4), (None, 0.0)])
    ]
    assert [(row["label"], row["unit"], row["images"]) for row in best_units(rows, 8)] == [
        ("dog", 2, "real"),
        ("cat", 1, "real"),
    ]
    assert len(best_units(rows, 1)) == 1
