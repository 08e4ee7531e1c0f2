"""What became of every attack stands beside its numbers: success, zero gradients, images left out, settings."""

import math

import pytest
import torch
from helpers import Memory, small_batch, small_network
from matplotlib.figure import Figure

from lightning_advinterp.analyses import REAL, AccuracyAnalysis, DistancesAnalysis, Runner
from lightning_advinterp.analyses.base.attack_counts import AttackCounts
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.metrics.semantics import whole_space
from lightning_advinterp.report.brief import brief_table
from lightning_advinterp.report.figures import radii_of, robustness_curve
from lightning_advinterp.report.table import condition

COUNT = 11


class Quantised(torch.autograd.Function):
    """Rounds the input and, as real rounding does, passes a gradient of zero."""

    @staticmethod
    def forward(ctx, x):
        return x.mul(8).round() / 8

    @staticmethod
    def backward(ctx, gradient):
        return torch.zeros_like(gradient)


def quantised_network():
    network = small_network()
    network.backbone.register_forward_pre_hook(lambda module, inputs: (Quantised.apply(inputs[0]),))
    return network


def accuracy(configs, network=None, labels=None, **options):
    batch = small_batch(n=COUNT)
    batch = batch if labels is None else batch._replace(label=torch.tensor(labels))
    attacks = create_attacks(configs)
    runner = Runner(network or small_network(), Memory(batch), attacks=attacks, batch_size=4, **options)
    result = runner.run([AccuracyAnalysis(attacks)])["accuracy"]
    return runner, {row["images"]: row for row in result.tables["accuracy"]}


def test_an_attack_without_gradients_is_said_in_table_and_words(caplog):
    _, rows = accuracy([AttackConfig("fgsm", "8/255"), AttackConfig("random_sign", "8/255")], quantised_network())
    assert rows["fgsm"]["zero_gradient"] == COUNT
    assert rows["random_sign"]["zero_gradient"] == 0
    assert f"fgsm: the gradient of {COUNT} of {COUNT} images (100.0 %) was exactly zero" in caplog.text


@pytest.mark.parametrize(("least", "warned"), [(0.1, True), (0.0, False)])
def test_an_attack_that_does_not_work_is_warned_of(caplog, least, warned):
    network, batch = small_network(), small_batch(n=COUNT)
    labels = network(batch.image).argmax(1).tolist()
    runner, rows = accuracy([AttackConfig("fgsm", "0.0001/255")], network, labels, least_success=least)
    assert rows["fgsm"]["success"] == 0
    assert (f"fgsm: 0.0 % of {COUNT} images reach their goal" in caplog.text) == warned
    assert list(runner.counts.told()) == [f"fgsm: 0.0 % of {COUNT} images reach their goal"]


def test_images_of_the_target_class_count_in_no_share():
    labels = [2, 2, 2, 0, 1, 3, 4, 0, 1, 3, 4]
    _, rows = accuracy([AttackConfig("pgd", "32/255", steps=3, target=2)], labels=labels)
    (row,) = (row for kind, row in rows.items() if kind != REAL)
    assert (row["n"], row["not_attacked"], row["target"]) == (COUNT - 3, 3, 2)
    assert row["linf"] == pytest.approx(32 / 255, rel=0.05), "an image that comes back as it was has no distance"


def test_the_table_says_how_an_attack_was_set():
    configs = [
        AttackConfig("pgd", 0.5, norm="l2", restarts=2, steps=2),
        AttackConfig("fgsm", ["2/255", "8/255"], target="least_likely"),
    ]
    _, rows = accuracy(configs)
    settings = {kind: [row.get(key) for key in ("eps_low", "norm", "restarts", "target")] for kind, row in rows.items()}
    assert settings["pgd"] == [0.5, "l2", 2, None]
    assert settings["fgsm"] == [pytest.approx(2 / 255), "linf", 1, "least_likely"]
    added = ["eps_low", "norm", "restarts", "target", "zero_gradient", "nonfinite", "not_attacked"]
    assert list(rows["pgd"])[-7:] == added
    assert [condition(rows[kind]) for kind in (REAL, "pgd", "fgsm")] == [
        "real",
        "pgd ε=0.5 (L2)",
        "fgsm ε=2/255 to 8/255, drawn",
    ]
    cells = list(brief_table(list(rows.values()), ["images", "eps"]).columns[1].cells)
    assert cells == ["–", "0.5 (L2)", "2/255 to 8/255, drawn"]


def test_success_stands_beside_other_questions():
    attacks = create_attacks([AttackConfig("fgsm", "16/255")])
    batch = small_batch(n=COUNT)
    runner = Runner(small_network(), Memory(batch), attacks=attacks)
    results = runner.run(
        [
            AccuracyAnalysis(attacks),
            DistancesAnalysis(attacks, classes=whole_space([*"abcde"], torch.eye(5, dtype=torch.float64))),
        ]
    )
    share = results["accuracy"].tables["accuracy"][1]["success"]
    rows = [row for row in results["distances"].tables["distances"] if row.get("images") == "fgsm"]
    assert rows
    assert all((row["success"], row["norm"]) == (share, "linf") for row in rows)


def test_counts_of_parts_merge_and_an_image_counts_once():
    attacks, batch = create_attacks([AttackConfig("fgsm", "16/255")]), small_batch(n=COUNT)
    runner = Runner(small_network(), Memory(batch), attacks=attacks)
    runner.run([AccuracyAnalysis(attacks)])
    merged = AttackCounts(attacks)
    for rank in (0, 1, 0):
        part = Runner(small_network(), Memory(batch), attacks=attacks)
        part.indices = part.indices[rank::2]
        part.run([AccuracyAnalysis(attacks)])
        merged.merge(part.counts.state_dict())
    assert merged.rows() == runner.counts.rows()
    assert merged.rows()[0]["n"] == COUNT


def test_several_radii_of_an_attack_are_a_curve():
    configs = [AttackConfig("fgsm", f"{eps}/255", name=f"fgsm{eps}") for eps in (4, 1, 2)]
    configs += [AttackConfig("pgd", eps, norm="l2", steps=1, name=f"pgd{eps}") for eps in (0.5, 1.5)]
    _, rows = accuracy([*configs, AttackConfig("bim", "2/255")])
    assert {name: len(radii) for name, radii in radii_of(list(rows.values())).items()} == {"fgsm": 3, "pgd (L2)": 2}
    figure = robustness_curve(list(rows.values()), "title")
    assert isinstance(figure, Figure)
    linf, l2 = figure.axes
    (curve,), (l2_curve,) = linf.lines, l2.lines
    assert curve.get_xdata() == pytest.approx([0, 1, 2, 4])
    assert curve.get_ydata() == pytest.approx([100 * rows[kind]["top1"] for kind in (REAL, "fgsm1", "fgsm2", "fgsm4")])
    assert l2_curve.get_xdata() == pytest.approx([0, 0.5, 1.5])
    assert all(math.isfinite(value) for value in l2_curve.get_ydata())
