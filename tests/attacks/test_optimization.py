"""Eq. 2 and Eq. 4 against a literal transcription, samples that stop early, and the weight that is calibrated."""

import pytest
import torch
from helpers import linear_network, small_batch, small_network
from reference.optimization import optimise

from lightning_advinterp.attacks import AttackConfig, calibrate, create_attack, sample_keys
from lightning_advinterp.attacks.loop.goal import least_likely
from lightning_advinterp.attacks.prediction.calibration import GRID
from lightning_advinterp.data.image_folder import image_tensor
from lightning_advinterp.networks import create_network


@pytest.fixture
def network():
    return small_network().double()


@pytest.fixture
def batch():
    return small_batch(n=12, dtype=torch.float64)


@pytest.mark.parametrize("weight", [1e-4, 3.0, 1e3])
@pytest.mark.parametrize("distance", ["mean", "sum"])
@pytest.mark.parametrize("kind", ["optimization", "targeted_optimization"])
def test_equals_the_equations_word_for_word(network, batch, kind, distance, weight):
    targeted = kind == "targeted_optimization"
    weight = weight * (batch.image[0].numel() if distance == "sum" else 1)
    attack = create_attack(AttackConfig(kind, weight=weight, distance=distance))
    y = least_likely(network(batch.image), batch.label) if targeted else batch.label
    expected = [
        optimise(network, 255 * x, label, weight=weight, targeted=targeted, distance=distance)
        for x, label in zip(batch.image, y, strict=True)
    ]
    result = attack.run(network, batch.image, batch.label)
    assert torch.equal(result.target, y)
    x_adv = torch.stack([image for image, _ in expected]) / 255
    torch.testing.assert_close(result.x_adv, x_adv, rtol=0, atol=1e-9)
    assert (x_adv != batch.image).any()


def test_samples_stop_at_their_first_success_from_the_tenth_step_on():
    network, batch, batch_sizes = linear_network(), small_batch(n=40, dtype=torch.float64), []
    target = network(batch.image).argmin(1)
    expected = [
        optimise(network, 255 * x, t, weight=20.0, targeted=True) for x, t in zip(batch.image, target, strict=True)
    ]
    steps = [iteration for _, iteration in expected]
    assert {10, 13, 20} <= set(steps)
    network.register_forward_hook(lambda module, inputs, output: batch_sizes.append(len(output)))
    x_adv = create_attack(AttackConfig("targeted_optimization", weight=20.0))(network, batch.image)
    torch.testing.assert_close(x_adv, torch.stack([x for x, _ in expected]) / 255, rtol=0, atol=1e-9)
    # The pass that sees the success of step k is the one that would have made step k + 1.
    assert batch_sizes == [40] * 11 + [sum(s >= k for s in steps) for k in range(11, 20)]


@pytest.mark.parametrize("kind", ["optimization", "mifgsm"])
def test_images_already_as_wanted_may_stop_before_the_first_step(batch, kind):
    config = AttackConfig(kind, "8/255", steps=3, stop_after=0, weight=1e4 if kind == "optimization" else None)
    network = linear_network()
    wrong = torch.arange(12) % 3 == 0
    y = (network(batch.image).argmax(1) + wrong.long()) % 10
    x_adv = create_attack(config)(network, batch.image, y)
    assert torch.equal(x_adv[wrong], batch.image[wrong])
    assert (x_adv[~wrong] != batch.image[~wrong]).flatten(1).any(1).all()


def test_a_cap_holds_and_its_lack_is_the_box(batch):
    network = linear_network()
    config = {"weight": 1e3, "steps": 12, "stop_after": 12}
    capped = create_attack(AttackConfig("targeted_optimization", "8/255", **config))
    free = create_attack(AttackConfig("targeted_optimization", **config))
    assert (capped.eps, free.eps) == (8 / 255, None)
    result = capped.run(network, batch.image)
    assert result.linf.max() <= 8 / 255 + 1e-12
    expected = [
        optimise(network, 255 * x, t, weight=1e3, targeted=True, most=12, least=13, eps=8)[0]
        for x, t in zip(batch.image, result.target, strict=True)
    ]
    torch.testing.assert_close(result.x_adv, torch.stack(expected) / 255, rtol=0, atol=1e-9)
    assert free.run(network, batch.image).linf.max() > 30 / 255


def test_the_trace_is_the_objective(network, batch):
    result = create_attack(AttackConfig("optimization", weight=7.0)).run(network, batch.image, batch.label)
    loss = torch.nn.functional.cross_entropy(network(result.x_adv), batch.label, reduction="none")
    d = (255 * (result.x_adv - batch.image)).square().mean((1, 2, 3))
    torch.testing.assert_close(result.trace[-1], 7 * loss - d)
    assert result.trace.shape == (21, 12)


def brute_force(config, network, batch):
    """Success of every weight of the grid."""
    shares = []
    for weight in GRID:
        attack = create_attack(config.with_weight(weight))
        targeted = attack.target is not None
        y = network(batch.image).argmin(1) if targeted else network(batch.image).argmax(1)
        hits = (network(attack(network, batch.image)).argmax(1) == y) == targeted
        shares.append(hits.double().mean().item())
    return shares


@pytest.mark.parametrize("kind", ["optimization", "targeted_optimization"])
def test_calibration_takes_the_smallest_weight_that_reaches_the_share(batch, kind):
    network = linear_network()
    config = AttackConfig(kind, label="predicted")
    shares = brute_force(config, network, batch)
    attack = create_attack(config.with_weight(1.0))
    calibration = calibrate(attack, network, batch.image, batch_size=5)
    first = next(i for i, share in enumerate(shares) if share >= 0.95)
    assert 0 < first < len(GRID) - 1
    assert calibration.weight == GRID[first]
    assert calibration.reached
    assert calibration.success == shares[first]
    assert [trial.success for trial in calibration.trials] == shares[: first + 1]  # and no pass is spent on larger ones
    result = attack.weighted(calibration.weight).run(network, batch.image)
    assert calibration.trials[-1].l2 == pytest.approx(255 * result.l2.mean().item())
    assert calibration.trials[-1].linf == pytest.approx(255 * result.linf.mean().item())


def test_calibration_that_cannot_reach_the_share_says_so():
    network, batch = linear_network(), small_batch(n=40, dtype=torch.float64)
    config = AttackConfig("targeted_optimization", "8/255")
    shares = brute_force(config, network, batch)
    assert 0 < max(shares) < 0.95
    with pytest.warns(UserWarning, match=r"no weight from 0.0001 to 100000 reaches 95 % success on 40 images"):
        calibration = calibrate(create_attack(config.with_weight(1.0)), network, batch.image)
    assert not calibration.reached
    assert calibration.success == max(shares)
    assert calibration.weight == GRID[shares.index(max(shares))]
    assert [trial.success for trial in calibration.trials] == shares
    assert "but not enough" in str(calibration)


def test_calibration_does_not_depend_on_the_batch_size(batch):
    network = linear_network()
    attack = create_attack(AttackConfig("targeted_optimization", weight=1, target="random"))
    keys = sample_keys(batch.index)
    single, all_ = (
        calibrate(attack, network, batch.image, batch.label, keys=keys, batch_size=size) for size in (1, 99)
    )
    assert (single.weight, single.success) == (all_.weight, all_.success)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"weight": -1}, "weight must be a finite number, 0 or more, got -1"),
        ({"weight": "much"}, "weight must be a finite number, 0 or more, got 'much'"),
        ({"distance": "l1"}, "distance must be one of mean, sum, got 'l1'"),
        ({"target": 3, "type": "optimization"}, "optimization has no target, got target=3"),
        ({"type": "fgsm", "weight": "calibrate"}, "weight is no setting of a fgsm attack"),
        ({"restarts": 2}, "restarts is no setting of a targeted_optimization attack"),
    ],
)
def test_wrong_settings_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        AttackConfig(**{"type": "targeted_optimization"} | config)


@pytest.mark.parametrize("weight", [None, "calibrate"])
def test_a_weight_to_be_found_is_a_configuration_but_no_attack_yet(weight):
    config = AttackConfig("targeted_optimization", weight=weight)
    assert config.calibrated
    assert not config.with_weight(2.0).calibrated
    with pytest.raises(ValueError, match="an evaluation can calibrate it"):
        create_attack(config)


def test_calibration_refuses_nothing_to_work_on(network, batch):
    attack = create_attack(AttackConfig("optimization", weight=1.0))
    for arguments, message in (
        ({"x": batch.image[:0]}, "at least one image to calibrate on, got none"),
        ({"grid": ()}, "at least one weight, got none"),
        ({"wanted": 95}, r"a share in \(0, 1\], got 95"),
    ):
        with pytest.raises(ValueError, match=message):
            calibrate(attack, network, **{"x": batch.image} | arguments)


@pytest.mark.real
@pytest.mark.slow
def test_calibration_of_a_real_network(real_data):
    """ResNet-18 on ImageNet-like images: weights of about 0.1, small changes."""
    network = create_network("resnet18", real_data / "weights" / "resnet18_pqf.safetensors").eval()
    network.requires_grad_(False)
    paths = sorted((real_data / "imagenet_nips2017").glob("*/*.jpg"))[::126][:8]
    x = torch.stack([image_tensor(path) for path in paths]).float() / 255
    attack = create_attack(AttackConfig("targeted_optimization", weight=1.0))
    calibration = calibrate(attack, network, x, grid=(0.1, 1.0))
    assert calibration.reached
    assert calibration.weight in (0.1, 1.0)
    chosen = calibration.trials[-1]
    assert 500 < chosen.l2 < 1500
    assert 10 < chosen.linf < 30
