"""Curvature of a small network against its dense Hessian, and steps along directions by hand."""

from dataclasses import replace

import pytest
import torch
from analyses.journals import eager_runner
from helpers import Memory, assert_untouched, fingerprint, small_batch, small_network
from scipy.stats import chi2, kstest
from torch.nn import functional as F

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.curvature.analysis import CurvatureAnalysis
from lightning_advinterp.analyses.curvature.config import CurvatureConfig
from lightning_advinterp.analyses.curvature.figures import walk_figure
from lightning_advinterp.explanations import Gradient
from lightning_advinterp.metrics.heatmaps import spearman
from lightning_advinterp.metrics.intervals import median_interval
from lightning_advinterp.networks.smoothing import smoothed_relu

CONFIG = CurvatureConfig(beta=5.0, lanczos=40, probes=200, step=0.02, topk=0.1, batch_size=2)


@pytest.fixture(scope="module")
def analysed():
    network, batch = small_network().double(), small_batch(n=3, size=6, dtype=torch.float64)
    before = fingerprint(network)
    result = Runner(network, Memory(batch), batch_size=3).run([CurvatureAnalysis(CONFIG)])["curvature"]
    assert_untouched(network, before)
    return network.eval(), batch, result


def test_against_the_dense_hessian(analysed):
    network, batch, result = analysed
    for row, x in zip(result.tables["curvature"], batch.image, strict=True):
        target = int(network(x[None]).argmax())
        assert row["class"] == target

        def score(flat, shape=x.shape, target=target):
            with smoothed_relu(CONFIG.beta):
                return network(flat.view(1, *shape))[0, target]

        hessian = torch.autograd.functional.hessian(score, x.flatten())
        gradient = torch.autograd.functional.jacobian(score, x.flatten())
        values, vectors = torch.linalg.eigh(hessian)
        top = int(values.abs().argmax())
        assert row["lambda_max"] == pytest.approx(float(values[top]), rel=1e-6)
        assert row["residual"] < 1e-6 * abs(row["lambda_max"])
        exact = float(hessian.square().sum().sqrt())
        assert abs(row["frobenius"] - exact) < 4 * row["frobenius_error"]
        n = gradient / gradient.norm()
        p = torch.eye(len(n), dtype=torch.float64) - torch.outer(n, n)
        shape_operator = torch.linalg.eigvalsh(p @ hessian @ p / gradient.norm())
        largest = float(shape_operator[shape_operator.abs().argmax()])
        assert row["principal"] == pytest.approx(largest, rel=1e-6)
        cos2 = float((vectors[:, top] @ n).square())
        assert row["cos2"] == pytest.approx(cos2, rel=1e-5, abs=1e-12)
        assert row["cos2_times_dimension"] == pytest.approx(cos2 * len(n), rel=1e-5, abs=1e-9)
        with smoothed_relu(CONFIG.beta), torch.no_grad():
            step = (CONFIG.step * len(n) ** 0.5 * n).view_as(x)
            before, up, down = (F.softmax(network(z[None]).float(), 1)[0, target] for z in (x, x + step, x - step))
            assert row["class_kept"] == (int(network(x[None]).argmax()) == target)
        change = max(float((up - before).abs()), float((down - before).abs()))
        assert row["delta_p_gradient"] == pytest.approx(change, rel=1e-3, abs=1e-7)
        maps = [
            Gradient(softplus=CONFIG.beta).map(network, z[None], torch.tensor([target]))
            for z in (x, x + step, x - step)
        ]
        moved = max(float(torch.dist(maps[0], neighbour) / maps[0].norm()) for neighbour in maps[1:])
        assert row["delta_map_gradient"] == pytest.approx(moved, rel=1e-6)
        similar = min(float(spearman(maps[0], neighbour)) for neighbour in maps[1:])
        assert row["spearman_gradient"] == pytest.approx(similar, rel=1e-6)
        assert -1 <= row["spearman_top"] <= 1
        assert 0 <= row["topk_random"] <= 1


def test_the_summary_has_the_medians_of_magnitudes(analysed):
    _, _, result = analysed
    rows = {row["measure"]: row for row in result.tables["curvature_summary"]}
    values = sorted(abs(row["lambda_max"]) for row in result.tables["curvature"])
    assert rows["lambda_max"]["median"] == pytest.approx(values[1])
    assert result.scalars["curvature/lambda_max"] == rows["lambda_max"]["median"]
    assert rows["lambda_max"]["n"] == 3


def test_steps_go_both_ways_so_that_a_direction_s_sign_does_not_matter():
    """Along the gradient a sure prediction can only become less sure, which one step up would not show."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(27, 2, bias=False)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([torch.ones(27), -torch.ones(27)]))
    x, analysis = (
        torch.full((1, 3, 3, 3), 0.1, dtype=torch.float64),
        CurvatureAnalysis(CurvatureConfig(step=0.2, topk=0.5)),
    )
    for sign in (1, -1):
        move = {"top": sign * torch.ones(1, 27, dtype=torch.float64)}
        smooth, steps = analysis._steps(network, x, torch.tensor([0]), move)
        assert int(smooth) == 0
        before, after = (torch.tensor(2 * 27 * level).sigmoid() for level in (0.1, -0.1))
        assert float(steps["delta_p_top"]) == pytest.approx(float(before - after), rel=1e-5)


def test_the_null_of_the_cosine_is_a_chi_square_of_one_degree():
    network, batch = small_network(), small_batch(n=64, size=6)
    config = CurvatureConfig(lanczos=1, probes=2, limit=64, batch_size=64)
    result = Runner(network, Memory(batch), batch_size=64).run([CurvatureAnalysis(config)])["curvature"]
    values = [row["cos2_times_dimension_random"] for row in result.tables["curvature"]]
    assert sum(values) / 64 == pytest.approx(1, abs=4 * (2 / 64) ** 0.5)
    assert kstest(values, chi2(1).cdf).pvalue > 0.01
    row = {row["measure"]: row for row in result.tables["curvature_summary"]}["cos2_times_dimension_random"]
    assert (row["median_low"], row["median_high"]) == median_interval(values)
    assert row["low"] < row["median_low"] < row["median"] < row["median_high"] < row["high"]


@pytest.mark.parametrize(("beta", "classes_kept"), [(0.05, False), (1e4, True)])
def test_a_beta_that_loses_the_classes_is_said(beta, classes_kept, caplog):
    network, batch = small_network(), small_batch(n=8, size=6)
    analysis = CurvatureAnalysis(CurvatureConfig(beta=beta, lanczos=2, probes=2))
    result = Runner(network, Memory(batch)).run([analysis])["curvature"]
    with torch.no_grad(), smoothed_relu(beta):
        same = network(batch.image).argmax(1)
    expected = same == network(batch.image).argmax(1)
    assert [row["class_kept"] for row in result.tables["curvature"]] == expected.tolist()
    share = float(expected.double().mean())
    assert (share >= 0.9) == classes_kept
    summary = {row["measure"]: row for row in result.tables["curvature_summary"]}["class_kept"]
    assert summary["share"] == result.scalars["curvature/class_kept"] == pytest.approx(share)
    assert summary["share_low"] <= share <= summary["share_high"]
    assert ("take a larger curvature.beta" in caplog.text.lower()) != classes_kept


def test_two_parts_merge_into_one():
    network, batch = small_network(), small_batch(n=2, size=6)
    config = CurvatureConfig(lanczos=2, probes=2)
    joint = Runner(network, Memory(batch)).run([CurvatureAnalysis(config)])["curvature"]
    first, second = CurvatureAnalysis(config), CurvatureAnalysis(config)
    for analysis, limit in ((first, slice(0, 1)), (second, slice(1, 2))):
        part = type(batch)(*(field[limit] for field in batch))
        Runner(network, Memory(part)).run([analysis])
    first.merge(second.state_dict())
    for row, expected in zip(first.result().tables["curvature"], joint.tables["curvature"], strict=True):
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-4)


WALK = CurvatureConfig(beta=5.0, lanczos=40, probes=2, batch_size=2, walk=4, walk_step=0.001)


@pytest.fixture(scope="module")
def walked():
    network, batch = small_network().double().eval(), small_batch(n=3, size=6, dtype=torch.float64)
    return Runner(network, Memory(batch), batch_size=3).run([CurvatureAnalysis(WALK)])["curvature"]


def test_walks_are_those_along_the_class_level_set(walked):
    """Of each image alone by hand: the normal's turn at the place that the walk reaches, and a bound that holds."""
    result = walked
    rows = result.tables["curvature_walk"]
    assert [(row["image"], row["walk"], row["step"]) for row in rows] == [
        (image, walk, step) for image in (40, 41, 42) for walk in ("principal", "random") for step in (1, 2, 3, 4)
    ]
    principal = {row["image"]: abs(row["principal"]) for row in result.tables["curvature"]}
    for row in rows:
        assert row["within"]
        assert row["bound"] == pytest.approx(row["principal"] * row["distance"])
        assert row["slack"] == row["bound"] - row["turn"]
        assert row["principal"] >= principal[row["image"]] * (1 - 1e-9)
        assert abs(row["drift"]) < 1e-9
        assert row["distance"] == pytest.approx(row["step"] * 0.001 * 108**0.5, rel=0.05)
    along = [row for row in rows if row["step"] == 1 and row["walk"] == "principal"]
    random = [row for row in rows if row["step"] == 1 and row["walk"] == "random"]
    for first, second in zip(along, random, strict=True):
        assert first["turn"] / first["bound"] > 0.97  # where the level set bends most, the bound is nearly reached
        assert second["turn"] / second["bound"] < first["turn"] / first["bound"]


def test_walks_are_summed_up_over_images(walked):
    result = walked
    summary = result.tables["curvature_walk_summary"]
    assert [(row["walk"], row["step"]) for row in summary][:4] == [("principal", step) for step in (1, 2, 3, 4)]
    turns = sorted(
        row["turn"] for row in result.tables["curvature_walk"] if (row["walk"], row["step"]) == ("random", 4)
    )
    last = summary[-1]
    assert (last["turn"], last["n"], last["missing"], last["within"]) == (turns[1], 3, 0, 1.0)
    assert 0 < last["used"] < 1
    figure = walk_figure(summary, "small")
    assert len(figure.axes) == 2
    assert figure.axes[0].lines[0].get_ydata().tolist() == [row["turn"] for row in summary[:4]]


def test_without_a_gradient_there_is_no_walk():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 2)).double()
    torch.nn.init.zeros_(network[1].weight)
    config = CurvatureConfig(lanczos=2, probes=2, walk=2)
    batch = small_batch(n=2, size=6, dtype=torch.float64)
    result = Runner(network, Memory(batch)).run([CurvatureAnalysis(config)])["curvature"]
    assert all(row["within"] is None and row["turn"] is None for row in result.tables["curvature_walk"])
    assert [row["missing"] for row in result.tables["curvature_walk_summary"]] == [2] * 4
    assert {row["within"] for row in result.tables["curvature_walk_summary"]} == {None}


def test_the_passes_of_walks_are_announced():
    network, batch = small_network().double().eval(), small_batch(n=1, size=6, dtype=torch.float64)
    announced, counted = [], []
    for steps in (0, 4):
        calls = []
        hook = network.backbone.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        analysis, runner = CurvatureAnalysis(replace(WALK, walk=steps, lanczos=2)), Runner(network, Memory(batch))
        runner.run([analysis])
        hook.remove()
        counted.append(len(calls))
        announced.append(runner.passes([analysis])["forward_passes"])
    assert counted[1] - counted[0] == announced[1] - announced[0] > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"beta": 0.0}, "beta must lie above 0"),
        ({"probes": 1}, "probes must be 2"),
        ({"limit": 0}, "limit must be 1"),
        ({"walk": -1}, "walk must be 0"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        CurvatureConfig(**wrong)


def test_an_interruption_loses_one_batch_of_this_analysis_not_one_of_the_run(tmp_path):
    """Images take long here: what is done is kept after every ``batch_size`` of the analysis' own."""
    network, batch = small_network().double(), small_batch(n=7, size=6, dtype=torch.float64)
    config = CurvatureConfig(lanczos=2, probes=2, batch_size=2)
    uninterrupted = Runner(network, Memory(batch), batch_size=7).run([CurvatureAnalysis(config)])["curvature"]

    def start(dataset):
        runner = eager_runner(network, dataset, batch_size=7, journal=tmp_path / "state")
        return runner.run([CurvatureAnalysis(config)])

    with pytest.raises(OSError, match="power cut"):
        start(Memory(batch, fails_at=5))

    class Watched(Memory):
        def __getitem__(self, index):
            assert index >= 4, "the first two batches are done"
            return super().__getitem__(index)

    assert start(Watched(batch))["curvature"] == uninterrupted
