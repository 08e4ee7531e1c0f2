"""Measures of maps against scipy, scikit-image and cases worked by hand."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from skimage.metrics import structural_similarity

from lightning_advinterp.metrics.heatmaps import (
    average_ranks,
    centre,
    centre_shift,
    compare_images,
    compare_inputs,
    compare_maps,
    kendall,
    mean_squared_error,
    pearson,
    spearman,
    ssim,
    top_k_intersection,
)


@pytest.fixture(params=["plain", "ties", "signed", "float32"])
def maps(request):
    """Three pairs of maps; the first two are alike, the third pair is not."""
    generator = torch.Generator().manual_seed(0)
    a, b, c = torch.rand(3, 3, 21, 17, generator=generator, dtype=torch.float64)
    b = a + 0.4 * b
    b[2] = c[2]
    if request.param == "ties":
        a, b = (a * 5).round(), (b * 4).round()
    if request.param == "signed":
        a, b = a - 0.5, b - 0.6
    return (a.float(), b.float()) if request.param == "float32" else (a, b)


def each(function, a, b):
    return torch.tensor([float(function(u.flatten(), v.flatten())) for u, v in zip(a.numpy(), b.numpy(), strict=True)])


def near(values, expected, tolerance=1e-12):
    assert values.dtype == torch.float64
    torch.testing.assert_close(values, torch.as_tensor(expected, dtype=torch.float64), atol=tolerance, rtol=0)


def test_rank_correlations(maps):
    a, b = maps
    near(spearman(a, b), each(lambda u, v: stats.spearmanr(u, v).statistic, a, b), 1e-6)
    near(kendall(a, b), each(lambda u, v: stats.kendalltau(u, v).statistic, a, b), 1e-6)
    near(average_ranks(a.flatten(1)), stats.rankdata(a.flatten(1).numpy(), axis=1))
    near(spearman(a, a), torch.ones(3))
    near(kendall(a, a), torch.ones(3))
    near(kendall(a, -a), -torch.ones(3))


def test_pearson_and_mse(maps):
    a, b = maps
    near(pearson(a, b), each(lambda u, v: np.corrcoef(u, v)[0, 1], a, b), 1e-6)
    near(mean_squared_error(a, b), each(lambda u, v: ((u.astype(float) - v) ** 2).mean(), a, b), 1e-6)


def test_top_k_takes_the_first_of_equals(maps):
    a, b = maps
    for k in (1, 10, 100, 21 * 17):
        chosen = [np.argsort(-m.flatten(1).double().numpy(), axis=1, kind="stable")[:, :k] for m in (a, b)]
        expected = [len(set(u) & set(v)) / k for u, v in zip(*(rows.tolist() for rows in chosen), strict=True)]
        near(top_k_intersection(a, b, k), expected)


def test_ssim_is_the_stated_variant(maps):
    a, b = maps
    expected = [
        structural_similarity(
            u, v, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=max(u.max(), v.max())
        )
        for u, v in zip(a.double().numpy(), b.double().numpy(), strict=True)
    ]
    near(ssim(a, b), expected, 1e-10)
    near(ssim(a, a), torch.ones(3))
    assert not torch.allclose(ssim(a, b), ssim(a, b, data_range=2.0))


def test_centre_of_mass():
    a = torch.rand(3, 9, 14, dtype=torch.float64)
    near(centre(a), [ndimage.center_of_mass(m) for m in a.numpy()])
    corner, edge = torch.zeros(2, 1, 4, 7)
    corner[0, 0, 0] = edge[0, 3, 4] = 1.0
    near(centre_shift(corner, edge), [5.0])
    near(centre_shift(corner, edge, relative=True), [5 / math.hypot(4, 7)])
    assert torch.autograd.gradcheck(lambda m: centre(m), a.requires_grad_())


def test_scale_matters_to_mse_alone(maps):
    a, b = (m - m.amin() + 0.1 for m in maps)
    here, there = compare_maps(a, b, k=30), compare_maps(3 * a, 3 * b, k=30)
    for name, value in here.items():
        same = torch.allclose(value, there[name], rtol=1e-5, equal_nan=True)
        assert same == (name != "mse"), name


def test_constant_maps_have_no_correlation():
    flat, textured = torch.full((1, 12, 12), 0.1), torch.rand(1, 12, 12)
    for measure in (spearman, kendall, pearson):
        assert measure(flat, textured).isnan().all()
        assert measure(textured, flat).isnan().all()


def test_all_measures_by_name():
    a, b = torch.rand(2, 4, 12, 13)
    measures = compare_maps(a, b)
    assert list(measures) == [
        "topk",
        "spearman",
        "kendall",
        "center_shift",
        "center_shift_relative",
        "ssim",
        "pcc",
        "mse",
    ]
    assert all(value.shape == (4,) for value in measures.values())
    near(measures["topk"], top_k_intersection(a, b, 15))  # a tenth of 156 places
    assert all(torch.allclose(value[2:], compare_maps(a[2:], b[2:])[name]) for name, value in measures.items())


def test_what_a_perturbation_did_otherwise():
    x = torch.full((2, 3, 2, 2), 0.5)
    x_adv = x.clone()
    x_adv[0, 0, 0, 0], x_adv[0, 1, 1, 1] = 0.8, 0.1
    logits, logits_adv = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    measures = compare_inputs(x, x_adv, logits, logits_adv, torch.tensor([1, 0]))
    assert measures["label_kept"].tolist() == [False, True]
    near(measures["delta_p"], [math.tanh(0.5), 0.0], 1e-7)
    near(measures["delta_output"], [math.sqrt(2) * math.tanh(0.5), 0.0], 1e-7)
    near(measures["linf"], [0.4, 0.0], 1e-6)
    near(measures["l2"], [0.5, 0.0], 1e-6)


def test_an_output_can_change_while_the_class_keeps_its_probability():
    x, shares = torch.zeros(1, 3, 2, 2), torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.1, 0.3]])
    measures = compare_inputs(x, x, shares[:1].log(), shares[1:].log(), torch.tensor([0]))
    near(measures["delta_p"], [0.0], 1e-7)
    near(measures["delta_output"], [math.sqrt(0.08)], 1e-6)
    assert measures["label_kept"].tolist() == [True]


def test_images_before_and_after():
    x = torch.rand(2, 3, 13, 12)
    x_adv = (x + 0.1 * torch.randn(2, 3, 13, 12)).clamp(0, 1)
    measures = compare_images(x, x_adv)
    a, b = x.double().numpy(), x_adv.double().numpy()
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    pairs = list(zip(a, b, strict=True))
    near(measures["image_ssim"], [structural_similarity(u, v, channel_axis=0, **settings) for u, v in pairs], 1e-10)
    near(measures["image_pcc"], [np.corrcoef(u.ravel(), v.ravel())[0, 1] for u, v in pairs])
    near(measures["image_mse"], [((u - v) ** 2).mean() for u, v in pairs])


@pytest.mark.parametrize("measure", [spearman, kendall, pearson, ssim, mean_squared_error, centre_shift])
def test_shapes_must_agree(measure):
    with pytest.raises(ValueError, match=r"maps must be two batches \[B, H, W\] of one shape"):
        measure(torch.rand(2, 12, 12), torch.rand(2, 12, 13))


def test_wrong_arguments_are_named():
    a = torch.rand(1, 10, 12)
    with pytest.raises(ValueError, match="k must be from 1 to the number of places, 120, got 121"):
        top_k_intersection(a, a, 121)
    with pytest.raises(ValueError, match="ssim needs maps of at least 11 x 11"):
        ssim(a, a)
