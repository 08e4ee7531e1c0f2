"""Ensemble adversarial training: its formula, whose images, and networks that stay as they are."""

import copy

import pytest
import torch
from helpers import assert_untouched, fingerprint, small_batch, small_network
from torch.nn import functional as F

from lightning_advinterp.attacks import AttackConfig, fgsm
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks import create_network
from lightning_advinterp.objectives import EnsembleAdversarial, SourceNetwork
from lightning_advinterp.training.module import RobustClassifier


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two small trained networks, as files."""
    folder, networks = tmp_path_factory.mktemp("sources"), []
    for number in range(2):
        torch.manual_seed(number)
        network = create_network("cifar_resnet20", num_classes=5)
        torch.save(network.backbone.state_dict(), folder / f"{number}.pth")
        networks.append(SourceNetwork(network="cifar_resnet20", weights=str(folder / f"{number}.pth")))
    return networks


def numbers(objective, epochs=60):
    batch = small_batch()
    return [objective.source_number(objective.keys(batch, epoch)) for epoch in range(epochs)]


def test_each_source_gives_its_batches(sources):
    """L = α L(f(x), y) + (1 − α) L(f(x*), y), with FGSM on the source that the batch drew, f itself included."""
    objective = EnsembleAdversarial(sources, AttackConfig("fgsm", "8/255", label="predicted"), alpha=0.3)
    network, batch = small_network(), small_batch()
    static = [create_network("cifar_resnet20", source.weights).eval() for source in sources]
    drawn = numbers(objective)
    assert set(drawn) == {0, 1, 2}
    for epoch in (drawn.index(0), drawn.index(1), drawn.index(2)):
        source = [*static, network][drawn[epoch]]
        x_adv = fgsm("8/255", label="predicted")(source, batch.image)
        clean, adversarial = (F.cross_entropy(network(x), batch.label) for x in (batch.image, x_adv))
        ours = objective(network, batch, epoch=epoch)
        torch.testing.assert_close(ours.total, 0.3 * clean + 0.7 * adversarial)
        torch.testing.assert_close(ours.parts["loss_adv"], adversarial.detach())


def test_the_choice_follows_seed_epoch_and_images_alone(sources):
    objective = EnsembleAdversarial(sources)
    first = numbers(objective)
    torch.manual_seed(99)
    assert numbers(EnsembleAdversarial(sources)) == first
    keys = objective.keys(small_batch(), 3)
    assert objective.source_number(keys.flip(0)) == objective.source_number(keys)
    counts = torch.tensor(numbers(objective, 600)).bincount()
    assert counts.min() > 150
    objective.seed = 1
    assert numbers(objective) != first


def test_loading_and_drawing_leave_the_global_generator_alone(sources):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    objective = EnsembleAdversarial(sources)
    network, batch = small_network(), small_batch()
    torch.set_rng_state(before)
    for epoch in range(4):
        objective(network, batch, epoch=epoch)
    assert torch.equal(torch.get_rng_state(), before)


def test_sources_stay_as_they_are_and_outside_the_module(sources):
    objective = EnsembleAdversarial(sources)
    module = RobustClassifier("cifar_resnet20", num_classes=5, objective=objective)
    bare = RobustClassifier("cifar_resnet20", num_classes=5)
    assert module.state_dict().keys() == bare.state_dict().keys()
    assert objective.state_dict() == {}
    before = [fingerprint(source) for source in objective._sources]
    module.train()
    for epoch in range(6):
        module.backward(objective(module.network, small_batch(), epoch=epoch).total)
    for source, earlier in zip(objective._sources, before, strict=True):
        assert not source.training
        assert not any(parameter.requires_grad for parameter in source.parameters())
        assert_untouched(source, earlier)


def test_rand_fgsm_steps_at_random_and_then_uphill(sources):
    """RAND+FGSM: α = ε/2 along random signs, then ε − α along the gradient's, inside the ball."""
    objective = EnsembleAdversarial(sources, AttackConfig("rand_fgsm", "16/255"))
    network, batch = small_network().double(), small_batch(dtype=torch.float64)
    batch = Batch(0.1 + 0.8 * batch.image, batch.label, batch.index)
    keys, eps = objective.keys(batch, 0), 16 / 255
    start = objective.attack.threat.random_start(batch.image, torch.full((7, 1, 1, 1), eps).double(), keys)
    torch.testing.assert_close((start - batch.image).abs(), torch.full_like(start, eps / 2))
    assert 0.4 < (start > batch.image).double().mean() < 0.6
    x = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(x), batch.label), x)
    expected = start + eps / 2 * gradient.sign()
    torch.testing.assert_close(objective.attack(network, batch.image, batch.label, keys=keys), expected)


def test_a_source_of_other_classes_is_refused(sources):
    objective = EnsembleAdversarial(sources[:1])
    network = create_network("cifar_resnet20", num_classes=4)
    batch = small_batch(num_classes=4)
    epoch = next(e for e in range(20) if objective.source_number(objective.keys(batch, e)) == 0)
    with pytest.raises(ValueError, match=r"sources\[0\] \(cifar_resnet20\) has 5 outputs, the trained network 4"):
        objective(network, batch, epoch=epoch)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EnsembleAdversarial([]), "sources must name at least one trained network"),
        (lambda: SourceNetwork(), "either checkpoint or network"),
        (lambda: SourceNetwork("resnet18", checkpoint="a.ckpt"), "got checkpoint='a.ckpt' and network='resnet18'"),
        (lambda: SourceNetwork(checkpoint="a.ckpt", weights="b.pth"), "a checkpoint takes no weights"),
        (lambda: SourceNetwork(network="resnet18"), "source resnet18: expected weights"),
    ],
)
def test_wrong_sources_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_alpha_is_checked_and_absent_files_are_named(sources):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got 2"):
        EnsembleAdversarial(copy.copy(sources), alpha=2)
    with pytest.raises(FileNotFoundError, match=r"no file no/such\.ckpt"):
        EnsembleAdversarial([SourceNetwork(checkpoint="no/such.ckpt")])
