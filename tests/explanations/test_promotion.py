"""Effects of cells: a linear network in closed form, a loop over cells, gradients by hand, and what it costs."""

import pytest
import torch
from helpers import assert_untouched, fingerprint, linear_network, small_network
from reference import promotion as literal
from torch.nn import functional as F

from lightning_advinterp.explanations import CAM, GradCAM
from lightning_advinterp.explanations.promotion import (
    adversarial_saliency,
    cell_scores,
    class_gradients,
    screened_sensitivity,
)
from lightning_advinterp.metrics.cells import Grid
from lightning_advinterp.metrics.promotion import EFFECTS, LOGITS, CellScores, cell_effects, whole_effect


def images(n=3, height=7, width=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 3, height, width, generator=generator, dtype=torch.float64)
    delta = 0.1 * torch.randn(n, 3, height, width, generator=generator, dtype=torch.float64)
    return x, (x + delta).clamp(0, 1)


TARGET, TRUE = torch.tensor([1, 4, 0]), torch.tensor([2, 0, 3])


@pytest.mark.parametrize("cell", [1, 3, 4, 10])
def test_a_linear_network_in_closed_form(cell):
    """T_i = w_t·δ_i, S_i = −w_t0·δ_i, however they are measured, and they sum to the whole effect."""
    (x, x_adv), grid = images(), Grid(7, 10, cell)
    network = linear_network(values=3 * 7 * 10, num_classes=5)
    weight = network[1].weight.detach().view(5, 3, 7, 10)
    scores = cell_scores(network, x, x_adv, TARGET, TRUE, grid, chunk=7)
    effects, total_effect = cell_effects(scores), whole_effect(scores)
    delta = x_adv - x
    raw, centred = LOGITS.index("raw"), LOGITS.index("centred")
    for form, by in ((raw, weight), (centred, weight - weight.mean(0, keepdim=True))):
        promotion = grid.sums((by[TARGET] * delta).sum(1))
        suppression = -grid.sums((by[TRUE] * delta).sum(1))
        for effect in range(len(EFFECTS)):
            assert torch.allclose(effects.promotion[:, effect, form], promotion, rtol=0, atol=1e-10)
            assert torch.allclose(effects.suppression[:, effect, form], suppression, rtol=0, atol=1e-10)
            assert torch.allclose(
                effects.promotion[:, effect, form].sum(1), total_effect.promotion[:, form], rtol=0, atol=1e-10
            )
            assert torch.allclose(
                effects.suppression[:, effect, form].sum(1), total_effect.suppression[:, form], rtol=0, atol=1e-10
            )
    margins = [weight[TARGET], weight[TRUE]]
    screened = screened_sensitivity(delta, margins, margins, grid)
    exact = (effects.promotion + effects.suppression)[:, :, raw]
    assert torch.allclose(screened, exact, rtol=0, atol=1e-10), "the first order is all that a linear network has"


def test_against_a_loop_over_cells():
    (x, x_adv), network = images(height=9, width=11), small_network().double()
    before = fingerprint(network)
    scores = cell_scores(network, x, x_adv, TARGET, TRUE, Grid(9, 11, 4), chunk=5)
    assert_untouched(network, before)
    expected = literal.cell_scores(network, x, x_adv, TARGET, TRUE, 4)
    for name, ours, theirs in zip(CellScores._fields, scores, expected, strict=False):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-11), name
    windows = (x_adv - x)[:, :, 8:, 8:].flatten(1).norm(dim=1)
    assert torch.allclose(scores.norms[:, -1], windows)


class Counting(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network, self.sizes = network, []

    def forward(self, x):
        self.sizes.append(len(x))
        return self.network(x)


@pytest.mark.parametrize(
    ("effects", "times"), [(("remove",), 1), (("add",), 1), (("symmetric",), 2), (("remove", "add"), 2)]
)
def test_a_cell_costs_one_pass_and_an_inactive_one_none(effects, times):
    (x, x_adv), grid = images(height=8, width=8), Grid(8, 8, 2)
    x_adv[0, :, :2, :4] = x[0, :, :2, :4]  # two cells of the first image
    counting = Counting(small_network().double())
    scores = cell_scores(counting, x, x_adv, TARGET, TRUE, grid, effects=effects, chunk=6)
    assert sum(counting.sizes) == 2 * 3 + times * (3 * 16 - 2)
    assert max(counting.sizes) == 6, "memory does not grow with the number of cells"
    assert (scores.norms == 0).nonzero().tolist() == [[0, 0], [0, 1]]
    counting.sizes.clear()
    logits = (counting.network(x), counting.network(x_adv))
    again = cell_scores(counting, x, x_adv, TARGET, TRUE, grid, effects=effects, chunk=6, logits=logits)
    assert sum(counting.sizes) == times * (3 * 16 - 2)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(scores, again, strict=True))
    if times == 2:
        effects = cell_effects(scores)
        assert (effects.promotion[0, :, :, :2] == 0).all()
        assert (effects.suppression[0, :, :, :2] == 0).all()
    else:
        unmeasured = scores.added if effects == ("remove",) else scores.removed
        assert unmeasured.isnan().all()


def test_gradients_and_saliency_by_hand():
    network = small_network().double()
    x, _ = images(height=8, width=8)
    leaf = x.clone().requires_grad_()
    expected = [
        torch.autograd.grad(network(leaf).gather(1, classes[:, None]).sum(), leaf)[0] for classes in (TARGET, TRUE)
    ]
    before = fingerprint(network)
    gradients = class_gradients(network, x, (TARGET, TRUE))
    assert_untouched(network, before)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-8, atol=1e-12)
    saliency = adversarial_saliency(*gradients)
    assert torch.allclose(saliency, expected[0] * expected[1].abs(), rtol=1e-8)
    screened = screened_sensitivity(x, gradients, [gradient * 2 for gradient in gradients], Grid(8, 8, 4))
    slope = (x * (expected[0] - expected[1])).sum(1)
    assert screened[:, 0, 0].tolist() == pytest.approx(slope[:, :4, :4].sum((1, 2)).tolist())
    assert torch.allclose(screened[:, 1], 2 * screened[:, 0])
    assert torch.allclose(screened[:, 2], 1.5 * screened[:, 0])


@pytest.mark.parametrize("kind", [CAM, GradCAM])
def test_maps_are_enlarged_bicubically_where_asked(kind):
    network, (x, _) = small_network().double(), images(height=16, width=16)
    maps = {how: kind(interpolation=how).explain(network, x, TARGET).sum(1) for how in ("bilinear", "bicubic")}
    _, features = network.forward_features(x, ["relu2"])
    weights = network.backbone.fc.weight[TARGET]
    if kind is GradCAM:
        weights = weights / 64  # the derivative of a mean over 8 × 8 places
    small = torch.einsum("bc,bchw->bhw", weights, features["relu2"])[:, None]
    for how, heatmap in maps.items():
        assert torch.allclose(heatmap, F.interpolate(small, (16, 16), mode=how)[:, 0], rtol=1e-8, atol=1e-12)
    with pytest.raises(ValueError, match="interpolation must be bilinear or bicubic, got 'cubic'"):
        kind(interpolation="cubic")
