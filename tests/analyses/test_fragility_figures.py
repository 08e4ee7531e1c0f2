"""What the figures of fragility draw."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lightning_advinterp.analyses.fragility.config import Case
from lightning_advinterp.analyses.fragility.figures import fragility_convergence, fragility_curves, fragility_panels
from lightning_advinterp.analyses.fragility.pictures import pictures_of_state
from lightning_advinterp.analyses.fragility.state import FragilityState, Picture
from lightning_advinterp.attacks import ExplanationAttackConfig
from lightning_advinterp.core.result import Result


def summary_row(method, attack, eps, value):
    row = {"method": method, "attack": attack, "eps": eps}
    for measure in ("topk", "spearman", "center_shift"):
        row |= {measure: value, f"{measure}_q10": value - 0.1, f"{measure}_q90": value + 0.2, f"{measure}_other": 0.05}
    return row


def test_curves_have_medians_bars_and_levels():
    rows = [summary_row("lrp", "topk", 8 / 255, 0.3), summary_row("lrp", "topk", 1 / 255, 0.8)]
    rows += [summary_row("cam", "noise", 8 / 255, 0.9)]
    rows[2] |= {"spearman": None, "spearman_q10": None, "spearman_q90": None}
    figure = fragility_curves(rows, "net")
    axes = np.array(figure.axes).reshape(3, 2)
    (line, *_), (level,) = (
        axes[0, 0].containers[0],
        [dotted for dotted in axes[0, 0].lines if dotted.get_linestyle() == ":"],
    )
    assert line.get_ydata().tolist() == [0.8, 0.3]  # by rising ε
    assert level.get_ydata()[0] == 0.05
    (bars,) = axes[0, 0].containers[0][2]
    bar_ends = [value for segment in bars.get_segments() for value in segment[:, 1]]
    assert bar_ends == pytest.approx([0.7, 1.0, 0.2, 0.5])
    assert [label.get_text() for label in axes[2, 0].get_xticklabels()] == ["1/255", "8/255"]
    assert axes[0, 1].get_title() == "cam"


@pytest.mark.parametrize("methods", [1, 3])
def test_the_legend_lies_within_the_figure(methods):
    attacks = ("random_sign", "topk", "mass_centre", "target_region")
    rows = [summary_row(f"method {number}", attack, 8 / 255, 0.5) for number in range(methods) for attack in attacks]
    figure = fragility_curves(rows)
    FigureCanvasAgg(figure).draw()
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_convergence_is_of_the_largest_radius_and_normalised():
    rows = [
        {"method": "lrp", "attack": "topk", "eps": eps, "step": step, "gain": gain, "gain_q10": gain, "gain_q90": gain}
        for eps, gains in ((1 / 255, (0, 9)), (8 / 255, (0, 4, 2)))
        for step, gain in enumerate(gains)
    ]
    (axes,) = fragility_convergence(rows).axes
    assert axes.lines[0].get_ydata().tolist() == [0, 1, 0.5]


def test_panels_have_a_row_per_image_and_attack():
    state = FragilityState(pool=2, show=2)
    cases = [
        Case("lrp", ExplanationAttackConfig("topk"), 8 / 255),
        Case("cam", ExplanationAttackConfig("topk"), 8 / 255),
    ]
    image, grey = torch.zeros(6, 6, 3, dtype=torch.uint8), torch.full((6, 6), 9, dtype=torch.uint8)
    state.pictures[4] = Picture(image, {"lrp": grey}, {0: (image + 1, grey + 1)})
    state.rows[4] = {0: {"topk": 0.25, "spearman": 0.5, "success": True}}
    rows, arrays = pictures_of_state(state, cases)
    figures = fragility_panels(Result("fragility", tables={"fragility_pictures": rows}, arrays=arrays), "net")
    assert list(figures) == ["lrp"]
    shown = [axis.images[0].get_array() for axis in figures["lrp"].axes]
    assert [int(values.max()) for values in shown] == [0, 9, 1, 10]
    assert "top-k 0.25" in figures["lrp"].axes[3].get_title()


def test_panels_have_a_column_of_targets_where_an_attack_has_them():
    state = FragilityState(pool=2, show=2)
    cases = [Case("lrp", ExplanationAttackConfig(kind), 8 / 255) for kind in ("topk", "target_map")]
    image, grey = torch.zeros(6, 6, 3, dtype=torch.uint8), torch.full((6, 6), 9, dtype=torch.uint8)
    state.pictures[4] = Picture(image, {"lrp": grey}, {0: (image + 1, grey + 1), 1: (image + 2, grey + 2, grey + 3)})
    state.rows[4] = {number: {"topk": 0.25, "spearman": 0.5, "success": True} for number in range(2)}
    rows, arrays = pictures_of_state(state, cases)
    (figure,) = fragility_panels(Result("fragility", tables={"fragility_pictures": rows}, arrays=arrays)).values()
    shown = [axis.images[0].get_array().max() if axis.images else None for axis in figure.axes]
    assert shown == [0, 9, 1, 10, None, 0, 9, 2, 11, 12]
    assert figure.axes[9].get_title() == "target"
