"""TI-FGSM against a literal loop, against shifted images one by one, and its kernel by hand."""

import pytest
import torch
from helpers import small_batch, small_network
from reference.tifgsm import tifgsm
from torch import nn

from lightning_advinterp.attacks import AttackConfig, create_attack
from lightning_advinterp.attacks.loop.translation_step import TranslationInvariantStep, gaussian_kernel


@pytest.mark.parametrize(("decay", "kernel"), [(1.0, 15), (0.0, 5), (0.7, 7)])
def test_it_is_a_literal_loop(decay, kernel):
    network, batch = small_network().eval(), small_batch(n=6)
    settings = {"steps": 6, "step_size": "2/255", "decay": decay, "kernel": kernel}
    x_adv = create_attack(AttackConfig("tifgsm", "16/255", **settings))(network, batch.image, batch.label)
    expected = tifgsm(network, batch.image, batch.label, 16 / 255, 2 / 255, steps=6, decay=decay, width=kernel)
    # signs of gradients that rounding decides may differ: a step of one value in thousands
    assert ((x_adv - expected).abs() > 1e-5).double().mean() < 1e-3
    assert (x_adv - batch.image).abs().max() > 8 / 255


def test_the_kernel_is_a_gaussian_cut_at_three_deviations():
    line = gaussian_kernel(15)
    assert line.sum().item() == pytest.approx(1)
    assert (line[7] / line[0]).log().item() == pytest.approx(4.5)
    assert torch.equal(line, line.flip(0))
    assert gaussian_kernel(1).tolist() == [1.0]


def test_it_is_the_mean_gradient_of_shifted_images():
    """Eq. 4: of a score that sees shifted images alike, by a pass for every shift."""
    torch.manual_seed(0)
    around = {"padding": 1, "padding_mode": "circular"}
    layers = [nn.Conv2d(3, 4, 3, **around), nn.Softplus(), nn.Conv2d(4, 2, 3, **around), nn.Softplus()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    x = torch.zeros(1, 3, 17, 17, dtype=torch.float64)
    x[..., 6:11, 6:11] = torch.rand(1, 3, 5, 5, dtype=torch.float64)

    def gradient(image):
        image = image.clone().requires_grad_()
        return torch.autograd.grad(network(image)[:, 0].sum(), image)[0]

    # what does not depend on the image's content is left out: it is no shifted gradient at the border
    plain = gradient(x) - gradient(torch.zeros_like(x))
    line = gaussian_kernel(5)
    expected = torch.zeros_like(x)
    for down in range(-2, 3):
        for across in range(-2, 3):
            shifted = gradient(x.roll((down, across), (2, 3))) - gradient(torch.zeros_like(x))
            expected += line[down + 2] * line[across + 2] * shifted
    smoothed = TranslationInvariantStep(0.1, kernel=5).smoothed(plain)
    torch.testing.assert_close(smoothed, expected, rtol=0, atol=1e-12)


def test_a_kernel_of_one_pixel_is_mifgsm():
    network, batch = small_network(), small_batch(n=5)
    attacks = [
        create_attack(AttackConfig("tifgsm", "8/255", steps=4, kernel=1)),
        create_attack(AttackConfig("mifgsm", "8/255", steps=4)),
    ]
    first, second = (attack(network, batch.image, batch.label) for attack in attacks)
    assert torch.equal(first, second)


@pytest.mark.parametrize("kernel", [0, 4, -3])
def test_an_even_kernel_is_refused(kernel):
    with pytest.raises(ValueError, match=f"kernel must be an odd number of pixels, 1 or more, got {kernel}"):
        AttackConfig("tifgsm", kernel=kernel)


def test_pixels_outside_a_mask_stay():
    """Smoothing spreads the gradient beyond the mask; the threat model does not."""
    network, batch = small_network(), small_batch(n=5)
    attack = create_attack(AttackConfig("tifgsm", "16/255", steps=3, mask={"type": "cells", "share": 0.3}))
    moved = (attack(network, batch.image, batch.label) - batch.image).abs().amax(1)
    assert (moved > 0).any()
    assert ((moved == 0).double().mean((1, 2)) > 0.5).all()
