"""Terms beside another objective: sums, draws, an untouched network, bounded memory, and what is refused."""

import copy
import weakref

import pytest
import torch
from explanation_terms import EPS, PATH, PGD, network_and_batch
from gradients import assert_same, gradients
from helpers import assert_untouched, fingerprint, small_batch, small_network
from reference import explanation_robustness as literal
from torch.nn import functional as F

from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.objectives import Consistency, Free, HessianNorm, IGNorm, IGSumNorm, Standard


@pytest.mark.parametrize("bn", ["train", "eval", "frozen"])
@pytest.mark.parametrize(
    ("kind", "settings", "beside"),
    [(HessianNorm, {}, Standard), (IGNorm, PATH, Standard), (IGSumNorm, PATH, None)],
)
def test_beside_the_consistent_loss_it_is_the_sum_of_both(kind, settings, beside, bn):
    network, batch = network_and_batch()
    consistency = Consistency(AttackConfig("fgsm", EPS), bn=bn)
    both, alone = kind(0.3, consistency, **settings), kind(0.3, **settings, bn=bn)
    assert both.bn == bn
    if bn == "eval":  # the statistics of the term's passes are those that the loss's own have moved
        for layer in (network.backbone.bn1, network.backbone.bn2):
            layer.momentum = 0.0
    sums, parts = {}, {}
    for sign, objective in ((1, consistency), (1, alone), (-1, beside and beside(bn))):
        if objective is None:
            continue
        loss = objective(network, batch, epoch=4)
        for name, value in ({"total": loss.total.detach()} | gradients(network, loss.total)).items():
            sums[name] = sums.get(name, 0) + sign * value
        parts |= loss.parts
    ours = both(network, batch, epoch=4)
    for name, value in ({"total": ours.total.detach()} | gradients(network, ours.total)).items():
        torch.testing.assert_close(value, sums[name], rtol=0, atol=1e-10, msg=name)
    assert ours.parts.keys() >= {"consistency", "loss_adv", "hessian_norm" if kind is HessianNorm else "ig_norm"}
    for name in ("consistency", "hessian_norm", "ig_norm"):
        if name in ours.parts:
            torch.testing.assert_close(ours.parts[name], parts[name])


def test_terms_can_be_stacked():
    network, batch = network_and_batch()
    inner = IGNorm(0.5, **PATH, bn="frozen")
    ours = HessianNorm(0.2, inner)(network, batch, epoch=1)
    expected = inner(network, batch, epoch=1).total + 0.2 * ours.parts["hessian_norm"].square()
    torch.testing.assert_close(ours.total, expected)
    assert ours.parts.keys() == {"acc", "ig_norm", "hessian_norm", "gradient_norm"}


@pytest.mark.parametrize("objective", [HessianNorm(), IGNorm(**PATH), IGSumNorm(**PATH)])
def test_draws_follow_seed_epoch_and_sample(objective):
    network, batch = network_and_batch(n=4)
    part = "hessian_norm" if isinstance(objective, HessianNorm) else "ig_norm"

    def value(seed, epoch, images=batch):
        copied = copy.deepcopy(objective)
        copied.seed = seed
        return copied(network, images, epoch=epoch).parts[part].item()

    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert value(1, 2) == value(1, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert value(1, 2) != value(1, 3)
    assert value(1, 2) != value(2, 2)
    reverse = type(batch)(*(field.flip(0) for field in batch))
    assert value(1, 2) == pytest.approx(value(1, 2, reverse), rel=1e-9)


def objective_of(kind, bn):
    return kind(bn=bn, **({} if kind is HessianNorm else PATH | {"recompute": True}))


@pytest.mark.parametrize("bn", ["train", "eval", "frozen"])
@pytest.mark.parametrize("kind", [HessianNorm, IGNorm])
def test_the_network_is_as_it_was(kind, bn):
    """But for the statistics, which the base's own forward pass alone moves."""
    network, batch = small_network(dropout=0.5).train(), small_batch(size=8)
    network.backbone.bn1.eval()
    expected = copy.deepcopy(network)
    torch.manual_seed(2)
    Standard(bn)(expected, batch, epoch=0)
    before = fingerprint(expected)
    torch.manual_seed(2)
    loss = objective_of(kind, bn)(network, batch, epoch=0)
    assert_untouched(network, before)
    loss.total.backward(inputs=list(network.parameters()))
    network.zero_grad()
    assert_untouched(network, before)


@pytest.mark.parametrize("kind", [HessianNorm, IGNorm, IGSumNorm])
@pytest.mark.parametrize("call", [1, 2, 4, 7])
def test_the_network_is_as_it_was_after_an_error(kind, call):
    network, batch = small_network(dropout=0.5).train(), small_batch(size=8)
    before, objective, calls = fingerprint(network), objective_of(kind, "frozen"), []

    def fail(*_):
        calls.append(1)
        if len(calls) == min(call, 2 if kind is HessianNorm else call):
            raise RuntimeError("power cut")

    network.backbone.fc.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="power cut"):
        objective(network, batch, epoch=0)
    assert_untouched(network, before)
    assert F.relu(torch.tensor(-1.0)) == 0


def test_a_network_of_relu_has_no_hessian_and_weight_zero_no_effect():
    network, batch = network_and_batch()
    assert HessianNorm(softplus=None, bn="frozen")(network, batch, epoch=0).parts["hessian_norm"] == 0
    for objective in (HessianNorm(0.0, bn="frozen"), IGNorm(0.0, **PATH, bn="frozen")):
        loss = objective(network, batch, epoch=0)
        assert_same(network, loss.total, Standard("frozen")(network, batch, epoch=0).total, atol=0)
        assert max(loss.parts[name] for name in loss.parts if "norm" in name) > 0


def test_softplus_in_the_base():
    network, batch = network_and_batch()
    loss = HessianNorm(0.0, softplus=2.0, smooth_base=True, bn="frozen")(network, batch, epoch=0)
    logits = literal.small_forward(network, batch.image, beta=2.0)
    assert_same(network, loss.total, F.cross_entropy(logits, batch.label))


def test_recomputation_bounds_the_memory():
    """What is kept for the backward pass does not grow with the points of the path, beyond the points themselves."""

    def kept(steps, recompute):
        network, batch = small_network().train(), small_batch(size=8)
        boxes = weakref.WeakSet()

        class Box:
            def __init__(self, value):
                self.value = value
                boxes.add(self)

        objective = IGNorm(attack=PGD, maximise="loss", path_steps=steps, recompute=recompute, bn="eval")
        with torch.autograd.graph.saved_tensors_hooks(Box, lambda box: box.value):
            loss = objective(network, batch, epoch=0)
        tensors = {box.value.data_ptr(): box.value.numel() for box in boxes}
        assert loss.total.requires_grad
        return sum(tensors.values())

    images = 7 * 3 * 8 * 8
    assert kept(9, True) - kept(3, True) == 6 * images
    assert kept(9, False) - kept(3, False) > 6 * 10 * images


def test_state_inputs_and_seed_belong_to_the_base():
    network, batch = network_and_batch()
    objective, plain = HessianNorm(0.1, Free(EPS)), Free(EPS)
    objective.seed = 3
    loss, expected = objective(network, batch, epoch=0), plain(network, batch, epoch=0)
    assert objective.base.seed == 3
    assert len(loss.inputs) == 1
    for computed in (loss, expected):
        computed.total.backward(inputs=[*network.parameters(), *computed.inputs])
    torch.testing.assert_close(objective.state_dict(), plain.state_dict())
    restored = HessianNorm(0.1, Free(EPS))
    restored.load_state_dict(objective.state_dict())
    torch.testing.assert_close(restored.base.state_dict(), plain.state_dict())
    assert IGSumNorm(**PATH).state_dict() == {}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HessianNorm(-1.0), "weight must be a finite number, 0 or more, got -1.0"),
        (lambda: HessianNorm(probes=0), "probes must be 1 or more, got 0"),
        (lambda: HessianNorm(softplus=0.0), "beta must be a number above 0"),
        (lambda: HessianNorm(softplus=None, smooth_base=True), "smooth_base needs softplus"),
        (lambda: HessianNorm(output="loss"), "output must be logit or softmax, got 'loss'"),
        (lambda: HessianNorm(base=Standard("frozen"), bn="train"), "bn is train here and frozen in the base"),
        (lambda: IGNorm(path_steps=0), "path_steps must be 1 or more, got 0"),
        (lambda: IGNorm(maximise="all"), "maximise must be term or loss, got 'all'"),
        (lambda: IGNorm(attack=AttackConfig("pgd", target=3)), "got pgd with label='true' and target=3"),
        (lambda: IGNorm(attack=AttackConfig("pgd", restarts=2)), "restarts, stop_after and loss are no settings"),
        (lambda: IGNorm(attack=AttackConfig("fgsm")), "the attack must start elsewhere"),
        (lambda: IGNorm(attack=AttackConfig("square")), "square is for evaluations"),
        (lambda: HessianNorm().check_even_passes(), "no second derivatives, which HessianNorm needs"),
        (lambda: IGNorm(**PATH).check_even_passes(), "no second derivatives, which IGNorm needs"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_synchronised_batch_norm_is_allowed_with_running_statistics():
    HessianNorm(bn="eval").check_even_passes()
    IGSumNorm(**PATH, bn="frozen").check_even_passes()
