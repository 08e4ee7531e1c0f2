"""What maps and attacks on them cost: the passes that are stated, counted in one of the network's convolutions."""

import pytest
import torch
from explanation_helpers import Branches, batch, plain, wrap
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_advinterp.attacks.explanation.attribution import AttributionAttack, path_attributions
from lightning_advinterp.attacks.explanation.config import ExplanationAttackConfig, create_explanation_attack
from lightning_advinterp.attacks.loop.goal import cross_entropy
from lightning_advinterp.attacks.prediction.presets import pgd
from lightning_advinterp.explanations import (
    CAM,
    LRP,
    DeepLift,
    GradCAM,
    Gradient,
    GradientTimesInput,
    GuidedBackprop,
    IntegratedGradients,
    Occlusion,
    PatternAttribution,
    SmoothGrad,
    learn_patterns,
)
from lightning_advinterp.networks.smoothing import smoothed_relu

WEIGHT = (5, 5, 3, 3)
"""Of the second convolution of ``Branches``, which no other operation's operands have."""


class Count(TorchDispatchMode):
    """Images that go through one convolution, its transpose, or (in double backward) the transpose of that."""

    def __init__(self):
        super().__init__()
        self.images = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution.default and tuple(args[1].shape) == WEIGHT:
            self.images += len(args[0])
        if func is torch.ops.aten.convolution_backward.default and tuple(args[2].shape) == WEIGHT and args[-1][0]:
            self.images += len(args[0])
        return func(*args, **kwargs or {})


METHODS = [
    Gradient(),
    Gradient(output="softmax", space="pixel"),
    GradientTimesInput(),
    SmoothGrad(samples=3, chunk=2),
    IntegratedGradients(steps=3, chunk=2),
    IntegratedGradients(steps=3, chunk=2, recompute=True),
    SmoothGrad(samples=3, recompute=True),
    GuidedBackprop(),
    LRP(),
    LRP(alpha=2.0),
    LRP(rule="epsilon"),
    LRP(rule="gamma"),
    GradCAM(layer="pool"),
    Occlusion(size=3, stride=2, chunk=5),
]


def frozen(body):
    """A network whose steps were compared with it, which happens once and is not counted."""
    network = wrap(body).requires_grad_(False)
    DeepLift().map(network, *batch(1))
    return network


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_passes_of_maps(method):
    network, (x, y) = frozen(Branches()), batch(2)
    with Count() as alone:
        method.map(network, x, y)
    assert alone.images == 2 * sum(method.passes(8))
    with Count() as beside:
        method.look(network, x, y)
    assert beside.images == 2 * sum(method.look_passes(8))
    x.requires_grad_()
    with Count() as both, smoothed_relu(3.0):
        maps = method.map(network, x, y, create_graph=True)
        torch.autograd.grad(maps.square().sum(), x)
    assert both.images == 2 * sum(method.passes(8, derivative=True))


def test_the_reference_of_deeplift_is_one_image():
    network, (x, y) = frozen(Branches()), batch(4)
    with Count() as alone:
        DeepLift().map(network, x, y)
    assert alone.images == 4 * sum(DeepLift().passes()) - 3
    assert PatternAttribution(learn_patterns(wrap(plain()), [batch(64)[0]])).passes(derivative=True) == (1, 3)
    assert CAM().passes() == (1, 0)
    assert Occlusion().passes(224) == (1 + 27**2, 0)


@pytest.mark.parametrize("method", [Gradient(), IntegratedGradients(steps=3), GuidedBackprop(), LRP()], ids=repr)
@pytest.mark.parametrize("kind", ["topk", "random_sign", "target_map"])
@pytest.mark.parametrize("check_every", [1, 2, 5])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_passes_of_attacks(method, kind, check_every, penalty):
    if kind == "random_sign" and penalty:
        return
    network, x = frozen(Branches()), batch(2)[0]
    settings = {} if kind == "random_sign" else {"penalty": penalty}
    if kind != "target_map":
        settings["k"] = 10
    config = ExplanationAttackConfig(kind, steps=4, step_size=2e-3, check_every=check_every, **settings)
    attack = create_explanation_attack(config, method)
    forwards = []
    if isinstance(method, Gradient):
        network.backbone.register_forward_hook(lambda _, images, result: forwards.append(len(result)))
    with Count() as counted:
        attack.run(network, x)
    assert counted.images == 2 * sum(attack.passes)
    if isinstance(method, Gradient):
        assert sum(forwards) == 2 * attack.passes[0]


def test_a_constraint_takes_one_to_four_forward_passes_more_per_step():
    network, x = frozen(Branches()), batch(2)[0]
    counts, passes = {}, {}
    for keep in ("selection", "constraint"):
        config = ExplanationAttackConfig("topk", steps=4, step_size=0.3, k=10, keep=keep, most_delta_p=0.01)
        attack = create_explanation_attack(config, Gradient())
        with Count() as counted:
            attack.run(network, x)
        counts[keep], passes[keep] = counted.images, 2 * sum(attack.passes)
    assert counts["selection"] == passes["selection"]
    assert counts["selection"] + 2 * 4 <= counts["constraint"] <= passes["constraint"]


def test_passes_of_the_attack_on_attributions():
    network, (x, y) = frozen(Branches()), batch(2)
    attack = AttributionAttack(pgd(steps=3), path_steps=4, loss_weight=1.0)
    with Count() as counted:
        attack(network, x, y)
    assert attack.passes == (12, 36)
    assert counted.images == 2 * sum(attack.passes)


def test_attributions_are_complete_and_the_end_is_the_adversarial_image_s():
    network, (x, y) = wrap(Branches()), batch(2)
    attack = AttributionAttack(pgd(steps=3, eps="16/255"), path_steps=2, weight=2.0, loss_weight=1.0)
    attacked = attack.run(network, x, y)
    gaps = []
    loss = lambda z: (cross_entropy(network(z), y), network(z))  # noqa: E731
    for steps in (20, 80):
        shares, value, logits = path_attributions(loss, x, attacked.x_adv, steps=steps)
        gaps.append((shares.sum((1, 2, 3)) - (value - loss(x)[0])).abs().max())
        assert torch.equal(logits, network(attacked.x_adv))
        assert not shares.requires_grad
    assert gaps[1] < gaps[0] / 2.5  # O(1/m) would be a quarter
    assert attacked.trace.shape == (4, 2)
    shares = path_attributions(loss, x, attacked.x_adv, steps=2)[0].abs().sum((1, 2, 3))
    torch.testing.assert_close(attacked.trace[-1], loss(attacked.x_adv)[0].detach() + 2 * shares)
    assert (attacked.trace[-1] > attacked.trace[0]).all()
