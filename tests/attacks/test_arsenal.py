"""Momentum, random-start and divergence attacks against literal transcriptions; samples that stop early."""

import pytest
import torch
from helpers import small_batch, small_network
from torch.nn import functional as F

from lightning_advinterp.attacks import AttackConfig, create_attack, pgd, sample_keys
from lightning_advinterp.attacks.loop.step import AdamStep


@pytest.fixture
def network():
    return small_network().double()


@pytest.fixture
def batch():
    return small_batch(n=9, dtype=torch.float64)


def input_gradient(network, x, y):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(network(x), y, reduction="sum"), x)[0]


@pytest.mark.parametrize("decay", [1.0, 0.7])
def test_mifgsm_is_the_papers(network, batch, decay):
    """Eq. 6-7 word for word. (foolbox 3.3.4 leaves the division by the L1 norm out, and differs.)"""
    x, y, eps, g = batch.image, batch.label, 16 / 255, 0
    x_adv = x
    for _ in range(10):
        gradient = input_gradient(network, x_adv, y)
        g = decay * g + gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
        x_adv = torch.min(torch.max(x_adv + eps / 10 * g.sign(), x - eps), x + eps).clamp(0, 1)
    torch.testing.assert_close(
        create_attack(AttackConfig("mifgsm", eps="16/255", decay=decay))(network, x, y), x_adv, rtol=0, atol=1e-12
    )


def shown(config, x, keys):
    """What an attack shows the network, in order."""
    inputs = []

    class Recorder(torch.nn.Module):
        def forward(self, image):
            inputs.append(image.detach().clone())
            return image.flatten(1)[:, :5] * 1.0

    create_attack(config)(Recorder(), x, torch.zeros(len(x), dtype=torch.int64), keys=keys)
    return inputs


def test_fgsm_rs_is_the_authors(network, batch):
    x, y, keys, eps = batch.image, batch.label, sample_keys(batch.index), 8 / 255
    config = AttackConfig("fgsm_rs", eps="8/255")
    start = shown(config, x, keys)[0]
    delta = start - x
    assert delta.abs().max() <= eps + 1e-12
    assert delta.abs().max() > 0.99 * eps
    delta = (delta + 1.25 * eps * input_gradient(network, start, y).sign()).clamp(-eps, eps)
    delta = torch.max(torch.min(1 - x, delta), 0 - x)
    torch.testing.assert_close(create_attack(config)(network, x, y, keys=keys), x + delta, rtol=0, atol=1e-12)


def test_n_fgsm_is_the_authors(network, batch):
    """Noise of 2 eps, a step of eps, and no projection but the box's."""
    x, y, keys, eps = batch.image, batch.label, sample_keys(batch.index), 8 / 255
    config = AttackConfig("nfgsm", eps="8/255")
    start = shown(config, x, keys)[0]
    assert 1.98 * eps < (start - x).abs().max() <= 2 * eps + 1e-12
    expected = (start + eps * input_gradient(network, start, y).sign()).clamp(0, 1)
    ours = create_attack(config)(network, x, y, keys=keys)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    assert (ours - x).abs().max() > 1.5 * eps


def test_trades_inner_attack_is_the_authors(network, batch):
    x, keys = batch.image, sample_keys(batch.index)
    config = AttackConfig("trades", eps=0.031, steps=4)
    first, x_adv = shown(config, x, keys)[:2]
    start = x_adv
    assert torch.equal(first, x)  # for the clean prediction
    assert 0.0005 < (start - x)[(x > 0.1) & (x < 0.9)].std() < 0.0015
    clean = network(x).detach()
    for _ in range(4):
        x_adv = x_adv.detach().requires_grad_()
        loss = F.kl_div(F.log_softmax(network(x_adv), 1), F.softmax(clean, 1), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = x_adv.detach() + 0.007 * gradient.sign()
        x_adv = torch.min(torch.max(x_adv, x - 0.031), x + 0.031).clamp(0, 1)
    ours = create_attack(config).run(network, x, batch.label, keys=keys)
    torch.testing.assert_close(ours.x_adv, x_adv, rtol=0, atol=1e-12)
    divergence = F.kl_div(network(x_adv).log_softmax(1), clean.softmax(1), reduction="none").sum(1)
    torch.testing.assert_close(ours.trace[-1], divergence, rtol=0, atol=1e-12)


def test_adam_step_is_torchs_adam():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 2, 4, 4, generator=generator, dtype=torch.float64)
    weight = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    theirs = x.clone().requires_grad_()
    adam = torch.optim.Adam([theirs], lr=5 / 255, maximize=True)
    ours, move = x.clone(), AdamStep(5 / 255).start()
    radius, keys = torch.ones(3, 1, 1, 1, dtype=torch.float64), torch.arange(3)
    for _ in range(7):
        adam.zero_grad()
        (theirs.sin() * weight - theirs.square()).sum().backward()
        adam.step()
        ours = ours + move(ours.cos() * weight - 2 * ours, radius, keys)
    torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=1e-12)


def test_adam_and_momentum_forget_the_samples_that_leave():
    gradient = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    keep, radius, keys = torch.tensor([3, 1]), torch.ones(5, 1, 1, 1), torch.arange(5)
    for step in (AdamStep(0.1), create_attack(AttackConfig("mifgsm")).step):
        joint, part = step.start(), step.start()
        joint(gradient, radius, keys), part(gradient, radius, keys)
        part.take(keep)
        after = joint(-0.3 * gradient, radius, keys)
        assert torch.equal(part(-0.3 * gradient[keep], radius[keep], keys[keep]), after[keep])


def test_samples_that_succeed_leave_the_batch(network):
    """They stop where they first succeeded, the others go on as if alone, and no pass is spent on the first."""
    batch, batch_sizes = small_batch(n=40, dtype=torch.float64), []
    network.register_forward_hook(lambda module, inputs, output: batch_sizes.append(len(output)))
    settings = {"steps": 8, "step_size": "4/255", "random_start": False}
    config = AttackConfig("pgd", "32/255", stop_after=2, **settings)
    adversarial = create_attack(config)(network, batch.image, batch.label)
    sizes = list(batch_sizes)
    assert sizes[:3] == [40, 40, 40]
    assert sizes[-1] < 40
    assert sizes == sorted(sizes, reverse=True)
    for i in range(40):
        x, y = batch.image[i : i + 1], batch.label[i : i + 1]
        course = [x] + [pgd("32/255", **settings | {"steps": k})(network, x, y) for k in range(1, 9)]
        first = next((k for k in range(2, 8) if network(course[k]).argmax() != y), 8)
        torch.testing.assert_close(adversarial[i : i + 1], course[first], rtol=0, atol=1e-12)
