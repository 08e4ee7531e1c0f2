"""Ablation of units in a basis: the identity's is the units' own, others equal a pass with a literal replacement."""

import pytest
import torch
from helpers import small_network
from torch import nn

from lightning_advinterp.networks.behind import Behind
from lightning_advinterp.networks.taps import taps
from lightning_advinterp.units.ablation import Ablation
from lightning_advinterp.units.autoencoder import SparseAutoencoder
from lightning_advinterp.units.bases import Identity, Rotation
from lightning_advinterp.units.basis_ablation import BasisAblation, ablation_of
from lightning_advinterp.units.maps import Layout
from lightning_advinterp.units.rotation import rotation
from lightning_advinterp.units.spaces import UnitLayer

UNITS = [[0], [3], [0, 5, 2], []]


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def autoencoder(latents=10, units=6):
    decoder = nn.functional.normalize(numbers(latents, units, seed=2))
    biases = (numbers(units, seed=3), numbers(units, seed=4), torch.zeros(latents, dtype=torch.float64))
    return SparseAutoencoder(numbers(latents, units), numbers(latents, seed=1), decoder, *biases, "topk", 4)


BASES = {
    "identity": Identity(6),
    "rotation": Rotation(rotation(6, 0, 0, numbers(1)), torch.zeros(6, dtype=torch.float64)),
    "sae": autoencoder(),
}


def begun_in(basis):
    torch.manual_seed(0)
    network, x = small_network().double(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    unit = UnitLayer("relu1", "relu1", False, layout=Layout("maps", (6, 16, 16)), basis=basis)
    behind = Behind(network, "relu1")
    return network, x, unit, behind, behind.begin(x)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("places", [False, True])
def test_equals_a_pass_with_a_literal_replacement(name, places):
    basis = BASES[name]
    network, x, unit, behind, begun = begun_in(basis)
    baseline = numbers(2, basis.latents, *([16, 16] if places else []), seed=7)
    ablated = ablation_of(behind, unit).logits(begun, 1, UNITS, baseline)
    maps = begun.activation[1]
    for which, together in enumerate(UNITS):
        for sample in range(2):
            changed = maps.clone()
            for row in range(16):
                for column in range(16):
                    codes = basis.encode(maps[:, row, column])
                    fewer = codes.clone()
                    for latent in together:
                        fewer[latent] = baseline[sample, latent, row, column] if places else baseline[sample, latent]
                    changed[:, row, column] += basis.decode(fewer) - basis.decode(codes)
            with torch.no_grad(), taps(network, replace={"relu1": changed[None]}):
                torch.testing.assert_close(network(x[1:])[0], ablated[which, sample], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("form", ["logit", "probability"])
def test_the_identity_s_is_the_units_own(form):
    _, _, unit, behind, begun = begun_in(BASES["identity"])
    plain, same = Ablation(behind, unit.layout, closed=False), ablation_of(behind, unit)
    assert isinstance(same, BasisAblation)
    baseline, classes = numbers(3, 6), torch.tensor([0, 4])
    expected = plain.logits(begun, 0, UNITS, baseline)
    torch.testing.assert_close(same.logits(begun, 0, UNITS, baseline), expected, atol=1e-12, rtol=1e-12)
    estimates = (ablation.first_order(begun, 0, classes, baseline, form) for ablation in (same, plain))
    torch.testing.assert_close(*estimates, atol=1e-12, rtol=1e-12)
    assert plain.width(begun.activation[0]) == same.width(begun.activation[0]) == 6


def test_first_order_is_the_slope_of_the_ablation():
    """A tiny change of a latent changes a logit by its derivative times the change."""
    _, _, unit, behind, begun = begun_in(BASES["sae"])
    ablation, step = ablation_of(behind, unit), 1e-6
    values = ablation.values(begun.activation[0])
    assert ablation.width(begun.activation[0]) == 10
    baseline = (values - step)[None]
    estimate = ablation.first_order(begun, 0, torch.tensor([2]), baseline)[:, 0]
    ablated = ablation.logits(begun, 0, [[latent] for latent in range(10)], baseline)[:, 0, 2]
    torch.testing.assert_close(begun.logits[0, 2] - ablated, estimate, atol=1e-9, rtol=1e-2)
