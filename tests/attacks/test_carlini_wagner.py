"""Carlini & Wagner's L2 attack against foolbox, and against the distance known in closed form."""

import math
import warnings

import foolbox
import pytest
import torch
from helpers import linear_network, small_batch, small_network
from torch.nn import functional as F

from lightning_advinterp.attacks import AttackConfig, CarliniWagnerAttack, create_attack, sample_keys


@pytest.fixture(scope="module")
def trained():
    """A small network that has learned which of five noisy patterns an image shows."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(5, 3, 16, 16, generator=generator, dtype=torch.float64)
    y = torch.arange(60) % 5
    noise = 0.3 * torch.randn(60, 3, 16, 16, generator=generator, dtype=torch.float64)
    x = (patterns[y] + noise).clamp(0, 1)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 5, stride=3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 5)
    ).double()
    adam = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        adam.zero_grad()
        F.cross_entropy(network(x), y).backward()
        adam.step()
    network.requires_grad_(False)
    assert (network(x).argmax(1) == y).double().mean() > 0.9
    return network, x[:8], y[:8]


def by_foolbox(network, x, y, *, targeted, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = foolbox.PyTorchModel(network.eval(), bounds=(0, 1), device="cpu")
        criteria = foolbox.criteria
        criterion = criteria.TargetedMisclassification(y) if targeted else criteria.Misclassification(y)
        return foolbox.attacks.L2CarliniWagnerAttack(**settings).run(model, x, criterion)


def both(trained, *, targeted, confidence, abort_early, steps, search_steps, initial_weight):
    network, x, y = trained
    y = (y + 2) % 5 if targeted else y
    ours = CarliniWagnerAttack(
        steps=steps,
        search_steps=search_steps,
        initial_weight=initial_weight,
        confidence=confidence,
        abort_early=abort_early,
        target="random" if targeted else None,
    )
    theirs = {
        "binary_search_steps": search_steps,
        "steps": steps,
        "confidence": confidence,
        "initial_const": initial_weight,
        "abort_early": abort_early,
    }
    result = ours.run(network, x, None, target=y) if targeted else ours.run(network, x, y)
    if abort_early:  # its test is the whole batch's, ours every image's
        parts = [by_foolbox(network, x[i : i + 1], y[i : i + 1], targeted=targeted, **theirs) for i in range(len(x))]
        return result, torch.cat(parts)
    return result, by_foolbox(network, x, y, targeted=targeted, **theirs)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(
    ("confidence", "abort_early", "steps", "search_steps", "initial_weight"),
    [
        (0.0, False, 40, 5, 1e-2),
        (0.5, False, 50, 4, 1e-1),
        (0.0, True, 40, 5, 1e-2),
        (0.0, False, 40, 2, 1e-2),  # not enough for all
        (0.0, False, 50, 10, 1e-1),  # the last step repeats the smallest successful weight
    ],
    ids=["whole", "confident", "abort", "short", "repeat"],
)
def test_equals_foolbox(trained, targeted, confidence, abort_early, steps, search_steps, initial_weight):
    """To the precision of foolbox's weights, which are float32. Its unsuccessful images are black, ours unchanged."""
    x = trained[1]
    result, theirs = both(
        trained,
        targeted=targeted,
        confidence=confidence,
        abort_early=abort_early,
        steps=steps,
        search_steps=search_steps,
        initial_weight=initial_weight,
    )
    success = theirs.flatten(1).abs().amax(1) > 0
    assert torch.equal(result.success, success)
    assert success.all() == (search_steps > 2)
    torch.testing.assert_close(result.x_adv[success], theirs[success], rtol=0, atol=1e-7)
    assert torch.equal(result.x_adv[~success], x[~success])


@pytest.mark.parametrize("target", [None, 3])
def test_a_linear_classifier_is_attacked_at_the_known_distance(target):
    """Towards t: min over x* of the L2 distance with z_t >= z_j for all j; with two classes |z_1 - z_0|/|w_1 - w_0|."""
    x = 0.5 + 0.2 * (small_batch(n=6, dtype=torch.float64).image - 0.5)  # far from the box's faces
    if target is None:
        network = linear_network(0.05, num_classes=2)
        y = network(x).argmax(1)
        w = network[1].weight.detach()
        network[1].bias.data -= 1.5 * F.one_hot(1 - y[0], 2)  # farther away than the grain of Adam's step
        y = network(x).argmax(1)
        expected = (network(x)[:, 0] - network(x)[:, 1]).abs() / (w[0] - w[1]).norm()
    else:
        network = linear_network(0.05, num_classes=4)
        network[1].bias.data[target] -= 1.5
        y, w, z = None, network[1].weight.detach(), network(x).detach()
        rivals = [j for j in range(4) if j != target]
        a, gap = w[target] - w[rivals], (z[:, rivals] - z[:, target : target + 1])
        expected = torch.stack([_distance_to_cone(a, g) for g in gap])
    result = create_attack(AttackConfig("cw", steps=250, search_steps=9, initial_weight=1, target=target)).run(
        network, x, y
    )
    assert expected.min() > 0.3
    assert result.success.all()
    assert (result.l2 >= expected - 1e-9).all()
    assert (result.l2 <= 1.02 * expected).all()


def _distance_to_cone(a, gap):
    """The norm of the shortest d with a d >= gap: the solution is that of its active rows, tried one set by one."""
    best = torch.tensor(math.inf, dtype=a.dtype)
    if (gap <= 0).all():
        return torch.zeros((), dtype=a.dtype)
    for mask in range(1, 2 ** len(gap)):
        rows = [i for i in range(len(gap)) if mask >> i & 1]
        d = torch.linalg.pinv(a[rows]) @ gap[rows]
        if (a @ d >= gap - 1e-9).all():
            best = torch.minimum(best, d.norm())
    return best


def test_samples_do_not_depend_on_their_batch_and_leave_it(trained):
    network, x, y = trained
    attack = CarliniWagnerAttack(steps=50, search_steps=3, initial_weight=0.1)
    sizes = []
    handle = network.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    together = attack(network, x, y)
    handle.remove()
    assert len(sizes) <= attack.passes[0]
    assert min(sizes) < len(x)
    for part in ([3], [5, 0]):
        torch.testing.assert_close(attack(network, x[part], y[part]), together[part], rtol=0, atol=1e-9)


def test_the_trace_is_the_best_distance(trained):
    network, x, y = trained
    result = CarliniWagnerAttack(steps=40, search_steps=4).run(network, x, y)
    assert result.trace.shape == (4, 8)
    assert (result.trace.diff(dim=0).nan_to_num(0) <= 0).all()
    assert torch.equal(result.trace[-1].isfinite(), result.success)
    torch.testing.assert_close(result.trace[-1][result.success], result.l2[result.success])


def test_confidence_is_reached(trained):
    network, x, y = trained
    z = network(CarliniWagnerAttack(steps=60, search_steps=5, initial_weight=0.1, confidence=2.0)(network, x, y))
    runner_up = z.scatter(1, y[:, None], -math.inf).amax(1)
    assert (runner_up - z.gather(1, y[:, None]).squeeze(1) > 2).all()


def test_half_precision_networks_and_black_and_white_pixels():
    network, batch = small_network().bfloat16(), small_batch()
    x = batch.image.round()
    attack = create_attack(AttackConfig("cw", steps=5, search_steps=2, initial_weight=10))
    result = attack.run(network, x, batch.label, keys=sample_keys(batch.index))
    assert result.x_adv.dtype == torch.float32
    assert result.x_adv.isfinite().all()
    assert attack.eps is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"eps": "8/255"}, "eps is no setting of a cw attack"),
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"search_steps": 0}, "search_steps must be 1 or more, got 0"),
        ({"confidence": -1}, "confidence must be a finite number, 0 or more, got -1"),
        ({"initial_weight": 0}, "initial_weight must be a finite number above 0, got 0"),
        ({"step_size": 0}, "step_size must be a finite number above 0, got 0"),
        ({"weight": 1}, "weight is no setting of a cw attack"),
    ],
)
def test_wrong_settings_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        AttackConfig(**{"type": "cw"} | config)
