"""Curvature of a small network against its dense Hessian, and steps along directions by hand."""

import pytest
import torch
from helpers import Memory, assert_untouched, fingerprint, small_batch, small_network
from torch.nn import functional as F

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.curvature import CurvatureAnalysis, CurvatureConfig
from lightning_advinterp.networks.smoothing import smoothed_relu

CONFIG = CurvatureConfig(beta=5.0, lanczos=40, probes=200, step=0.02, topk=0.1, batch_size=2)


@pytest.fixture(scope="module")
def found():
    network, batch = small_network().double(), small_batch(n=3, size=6, dtype=torch.float64)
    before = fingerprint(network)
    result = Runner(network, Memory(batch), batch_size=3).run([CurvatureAnalysis(CONFIG)])["curvature"]
    assert_untouched(network, before)
    return network.eval(), batch, result


def test_against_the_dense_hessian(found):
    network, batch, result = found
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
            moved = x.flatten() + CONFIG.step * len(n) ** 0.5 * n
            before, after = (F.softmax(network(z.view(1, *x.shape)).float(), 1)[0, target] for z in (x, moved))
        assert row["delta_p_gradient"] == pytest.approx(float((after - before).abs()), rel=1e-3, abs=1e-7)
        assert -1 <= row["spearman_top"] <= 1
        assert 0 <= row["topk_random"] <= 1


def test_the_summary_has_the_medians_of_magnitudes(found):
    _, _, result = found
    rows = {row["measure"]: row for row in result.tables["curvature_summary"]}
    values = sorted(abs(row["lambda_max"]) for row in result.tables["curvature"])
    assert rows["lambda_max"]["median"] == pytest.approx(values[1])
    assert result.scalars["curvature/lambda_max"] == rows["lambda_max"]["median"]
    assert rows["lambda_max"]["n"] == 3


def test_two_parts_merge_into_one():
    network, batch = small_network(), small_batch(n=2, size=6)
    config = CurvatureConfig(lanczos=2, probes=2)
    whole = Runner(network, Memory(batch)).run([CurvatureAnalysis(config)])["curvature"]
    first, second = CurvatureAnalysis(config), CurvatureAnalysis(config)
    for analysis, limit in ((first, slice(0, 1)), (second, slice(1, 2))):
        part = type(batch)(*(field[limit] for field in batch))
        Runner(network, Memory(part)).run([analysis])
    first.merge(second.state_dict())
    for row, expected in zip(first.result().tables["curvature"], whole.tables["curvature"], strict=True):
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"beta": 0.0}, "beta must lie above 0"), ({"probes": 1}, "probes must be 2"), ({"limit": 0}, "limit must be 1")],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        CurvatureConfig(**wrong)
