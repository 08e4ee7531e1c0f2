"""The sweep over β: maps and classes by hand, SmoothGrad's σ of one layer, and the tables through the runner."""

import numpy as np
import pytest
import torch
from helpers import Memory, SmallBackbone, small_batch, small_network
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.curvature.analysis import CurvatureAnalysis
from lightning_advinterp.analyses.curvature.config import CurvatureConfig
from lightning_advinterp.analyses.curvature.figures import beta_figure
from lightning_advinterp.analyses.curvature.smoothing import smoothgrad_rows
from lightning_advinterp.analyses.curvature.swept_networks import SweptNetwork, load_beside
from lightning_advinterp.attacks import ExplanationAttackConfig, create_explanation_attack
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.explanations import Gradient
from lightning_advinterp.metrics.hessian import smoothgrad_sigma
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.smoothing import smoothed_relu
from lightning_advinterp.networks.softplus_layers import exchange_relu
from lightning_advinterp.training.module import RobustClassifier

CONFIG = CurvatureConfig(
    betas=(1.0, 30.0), manipulation_steps=6, sigmas=(0.1, 0.3), samples=3, lanczos=30, probes=2, batch_size=3
)


@pytest.fixture(scope="module")
def analysed():
    network, batch = small_network().double(), small_batch(n=3, size=12, dtype=torch.float64)
    return network, batch, Runner(network, Memory(batch), batch_size=3).run([CurvatureAnalysis(CONFIG)])["curvature"]


def test_maps_and_classes_are_those_of_a_loop(analysed):
    network, batch, result = analysed
    rows = result.tables["curvature_beta"]
    numbers = batch.index.tolist()
    betas = (1.0, 30.0, None)
    assert [(row["image"], row["beta"]) for row in rows] == [(number, beta) for number in numbers for beta in betas]
    with torch.no_grad():
        target = network(batch.image).argmax(1)
    settings = {"target": "centre", "eps": 8 / 255, "steps": 6, "step_size": 0.5 / 255, "step": "sign", "penalty": 0}
    for row in rows:
        image, beta = numbers.index(row["image"]), row["beta"]
        x, y = batch.image[image, None], target[image, None]
        explanation = Gradient(softplus=beta)
        attack = create_explanation_attack(ExplanationAttackConfig("target_map", **settings), explanation)
        x_adv = attack.run(network, x, y, keys=sample_keys(torch.tensor([row["image"]]), seed=0)).x_adv
        before, after = (explanation.map(network, images, y)[0].flatten().numpy() for images in (x, x_adv))
        assert row["original_pcc"] == pytest.approx(np.corrcoef(before, after)[0, 1], rel=1e-6)
        down, across = np.mgrid[:12, :12] - 5.5
        aim = np.exp(-(down**2 + across**2) / (2 * 1.2**2)).ravel()
        assert row["target_pcc"] == pytest.approx(np.corrcoef(aim, after)[0, 1], rel=1e-4)
        assert row["target_before_pcc"] == pytest.approx(np.corrcoef(aim, before)[0, 1], rel=1e-4)
        with torch.no_grad(), smoothed_relu(beta):
            predicted = network(x).argmax(1)
        assert row["class_kept"] == bool(predicted == y)
        assert row["correct"] == bool(predicted == batch.label[image])
        if beta is None:
            assert row["lambda_max"] is None
            continue

        def score(flat, y=y, beta=beta, shape=x.shape):
            with smoothed_relu(beta):
                return network(flat.view(shape))[0, y.item()]

        values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(score, x.flatten()))
        assert abs(row["lambda_max"]) == pytest.approx(values.abs().max().item(), rel=0.02)


def test_the_summary_has_shares_and_medians(analysed):
    _, _, result = analysed
    rows = result.tables["curvature_beta"]
    summary = {row["beta"]: row for row in result.tables["curvature_beta_summary"]}
    assert list(summary) == [1.0, 30.0, None]
    for beta, line in summary.items():
        group = [row for row in rows if row["beta"] == beta]
        assert line["n"] == 3
        assert line["class_kept"] == sum(row["class_kept"] for row in group) / 3
        assert line["original_pcc"] == pytest.approx(np.median([row["original_pcc"] for row in group]))
    assert summary[None]["class_kept"] == 1
    assert summary[None]["lambda_max"] is None
    figure = beta_figure(result.tables["curvature_beta_summary"], result.tables["curvature_smoothgrad_summary"], "net")
    near, classes, _, noise = figure.axes
    assert list(near.lines[0].get_ydata()) == [summary[beta]["original_pcc"] for beta in (1.0, 30.0)]
    assert list(classes.lines[0].get_ydata()) == [summary[beta]["correct"] for beta in (1.0, 30.0)]
    assert [line.get_label() for line in noise.lines] == ["β = 1", "β = 30", "relu"]


@pytest.fixture(scope="module")
def beside(analysed):
    """The same sweep with a network trained with softplus of 4, and another of relu, beside it."""
    network, batch, _ = analysed
    smooth, relu = small_network(seed=5).double(), small_network(seed=6).double()
    exchange_relu(smooth, 4.0)
    swept = [SweptNetwork.of(smooth, "smooth.ckpt"), SweptNetwork.of(relu, "relu.ckpt")]
    runner = Runner(network, Memory(batch), batch_size=3)
    return smooth, relu, runner.run([CurvatureAnalysis(CONFIG, swept)])["curvature"]


def test_networks_beside_are_measured_as_each_alone(analysed, beside):
    _, batch, alone = analysed
    smooth, relu, result = beside
    rows = result.tables["curvature_beta"]
    assert [row for row in rows if row["checkpoint"] is None] == alone.tables["curvature_beta"]
    of_smooth = [row for row in rows if row["checkpoint"] == "smooth.ckpt"]
    assert [(row["trained"], row["beta"]) for row in of_smooth] == [(4.0, None)] * 3
    for tested, name in ((smooth, "smooth.ckpt"), (relu, "relu.ckpt")):
        expected = Runner(tested, Memory(batch), batch_size=3).run([CurvatureAnalysis(CONFIG)])["curvature"]
        own = [row | {"checkpoint": name} for row in expected.tables["curvature_beta"]]
        own = [row for row in own if tested is relu or row["beta"] is None]
        assert [row for row in rows if row["checkpoint"] == name] == own
    for row in of_smooth:
        x = batch.image[batch.index.tolist().index(row["image"]), None]
        place = smooth(x).argmax(1).item()

        def score(flat, place=place, shape=x.shape):
            return smooth(flat.view(shape))[0, place]

        values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(score, x.flatten()))
        assert abs(row["lambda_max"]) == pytest.approx(values.abs().max().item(), rel=0.02)


def test_a_figure_and_scalars_are_means_over_networks(beside):
    _, _, result = beside
    summary = result.tables["curvature_beta_summary"]
    assert [(row["checkpoint"], row["trained"], row["beta"]) for row in summary] == [
        *((None, None, beta) for beta in (1.0, 30.0, None)),
        ("smooth.ckpt", 4.0, None),
        *(("relu.ckpt", None, beta) for beta in (1.0, 30.0, None)),
    ]
    two = [row["target_pcc"] for row in summary if row["beta"] == 1.0]
    assert len(two) == 2
    assert result.scalars["curvature/smoothed_1/target_pcc"] == pytest.approx(sum(two) / 2)
    assert result.scalars["curvature/trained_4/target_pcc"] == summary[3]["target_pcc"]
    assert "curvature/itself/lambda_max" not in result.scalars
    near = beta_figure(summary, result.tables["curvature_smoothgrad_summary"]).axes[0]
    lines = {line.get_label(): line for line in near.lines}
    assert list(lines["with the target, trained so"].get_xdata()) == [4.0]
    assert lines["with the target"].get_ydata()[0] == pytest.approx(sum(two) / 2)


def test_checkpoints_are_loaded_by_a_pattern_and_the_network_itself_is_left_out(tmp_path):
    modules = [RobustClassifier(SmallBackbone(), image_size=16, softplus=beta) for beta in (None, 2.0, 8.0)]
    for number, module in enumerate(modules):
        module.network.name = "helpers.SmallBackbone"
        checkpoint = {"state_dict": module.state_dict(), "epoch": 0}
        module.on_save_checkpoint(checkpoint)
        torch.save(checkpoint, tmp_path / f"{number}.ckpt")
    tested = modules[1].network
    loaded = load_beside([str(tmp_path / "*.ckpt"), str(tmp_path / "2.ckpt")], tested)
    assert [(swept.network.softplus, swept.smooth) for swept in loaded] == [(None, False), (8.0, True)]
    assert loaded[1].betas((1.0,)) == ()
    with pytest.raises(ValueError, match=r"curvature.trained: no file matches .*none"):
        load_beside([str(tmp_path / "none*.ckpt")], tested)
    with pytest.raises(ValueError, match="as many classes and channels and images of one size"):
        load_beside([str(tmp_path / "0.ckpt")], small_network(num_classes=4))
    with pytest.raises(ValueError, match="trained: the networks stand beside a sweep over betas"):
        CurvatureConfig(trained="x.ckpt")


class OneLayer(nn.Module):
    """Σ_i a_i relu(w_i·x + b_i) with ‖w_i‖ = 1, of which Theorem 2 speaks."""

    def __init__(self):
        super().__init__()
        self.hidden, self.fc = nn.Linear(3 * 12 * 12, 40), nn.Linear(40, 2)
        self.hidden.weight.data = F.normalize(torch.randn(40, 3 * 12 * 12), dim=1)
        self.hidden.bias.data = torch.randn(40) - self.hidden.weight.sum(1) / 2

    def forward(self, x):
        return self.fc(F.relu(self.hidden(x.flatten(1))))


@pytest.mark.parametrize("beta", [2.0, 6.0])
def test_one_layer_resembles_smoothgrad_most_at_the_sigma_of_the_theorem(beta):
    torch.manual_seed(0)
    network = Network(OneLayer(), name="one", num_classes=2, mean=(0, 0, 0), std=(1, 1, 1), input_size=12).eval()
    x, keys = torch.rand(6, 3, 12, 12), sample_keys(torch.arange(6), seed=0)
    sigmas = [smoothgrad_sigma(beta) * factor for factor in (0.25, 0.5, 1, 2, 4)]
    rows = smoothgrad_rows(network, x, torch.zeros(6, dtype=torch.int64), keys, (beta,), sigmas, 1000)
    for image_rows in rows:
        near = [row["pcc"] for row in image_rows if row["beta"] == beta]
        assert near.index(max(near)) == 2
        assert near[2] > 0.99


@pytest.mark.parametrize(("setting", "values"), [("betas", (1.0, 1.0)), ("betas", (0.0,)), ("sigmas", (-0.1,))])
def test_what_is_no_beta_or_sigma_is_refused(setting, values):
    with pytest.raises(ValueError, match=f"{setting} must be different numbers above 0, got"):
        CurvatureConfig(**{setting: values})
