"""Attacks on explanations: the authors' loop, kept predictions, and what each type refuses."""

import pytest
import torch
from explanation_helpers import Branches, batch, plain, wrap
from helpers import assert_untouched, fingerprint
from reference import dombrowski
from reference import ghorbani as reference

from lightning_advinterp.attacks.explanation.builders import AIMS
from lightning_advinterp.attacks.explanation.config import ExplanationAttackConfig, create_explanation_attack
from lightning_advinterp.attacks.explanation.dissimilarity import MassCentre, TargetMap, TargetRegion, TopK, written
from lightning_advinterp.attacks.explanation.presets import EXPLANATION_ATTACKS
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.explanations import LRP, DeepLift, Gradient, IntegratedGradients
from lightning_advinterp.metrics.heatmaps import centre_shift, default_k, pearson, top_k_intersection
from lightning_advinterp.networks import Network


def build(kind, explanation=None, **settings):
    settings = {"eps": "16/255", "steps": 12, "step_size": "2/255"} | settings
    return create_explanation_attack(ExplanationAttackConfig(kind, **settings), explanation or Gradient())


@pytest.mark.parametrize(
    ("kind", "measure"), [("topk", "topk"), ("mass_centre", "center_shift"), ("target_region", "topk")]
)
def test_the_loop_of_ghorbani_image_by_image(kind, measure):
    network, x = wrap(plain()), batch(4)[0]
    settings = {"target_region": {"region": (0.0, 0.5, 0.5, 0.5)}, "topk": {"k": 10}}.get(kind, {})
    attack = build(kind, softplus=5.0, criterion=measure, **settings)
    attack.dissimilarity.k = 10
    attacked = attack.run(network, x)
    region = torch.zeros(8, 8, dtype=torch.float64)
    region[:4, 4:] = 1
    for image, result, success in zip(x, attacked.x_adv, attacked.success, strict=True):
        expected = reference.attack(
            network,
            image,
            kind,
            eps=16 / 255,
            alpha=2 / 255,
            iterations=12,
            k=10,
            beta=5.0,
            measure=measure,
            region=region,
        )
        torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)
        assert success == (not torch.equal(expected, image))
    assert attacked.success.any()


def test_the_loop_of_dombrowski_image_by_image():
    """All iterates but the last go unchecked, so that the last one is the result, as in their code."""
    body, x, n = wrap(plain()).backbone, batch(4)[0], 30
    network = Network(body, name="even", num_classes=4, std=(0.25, 0.25, 0.25), input_size=8).double().eval()
    target = Gradient().map(network, batch(1, seed=8)[0], torch.tensor([2]))
    penalty = (1e6 / 4) / (1e11 / 64)  # their means over 4 classes and 64 places as our sums
    config = ExplanationAttackConfig(
        "target_map", steps=n, step_size=0.02 * 0.25, softplus=(10.0, 100.0), penalty=penalty, check_every=n
    )
    attacked = create_explanation_attack(config, Gradient(), target=target).run(network, x)
    assert attacked.success.sum() >= 2
    for image, result in zip(x[attacked.success], attacked.x_adv[attacked.success], strict=True):
        expected = dombrowski.attack(network, image, target[0], iterations=n, lr=0.02, betas=(10.0, 100.0))
        torch.testing.assert_close(result, expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("kind", AIMS)
@pytest.mark.parametrize("explanation", [Gradient(), LRP(), DeepLift(), IntegratedGradients(steps=3)])
def test_every_type_on_every_explanation(kind, explanation):
    network, x = wrap(Branches()), batch(6)[0]
    before = fingerprint(network)
    settings = {"target_map": {"step_size": 2e-3}, "topk": {"k": 10}, "random_sign": {"k": 10}}
    attack = build(kind, explanation, **settings.get(kind, {}))
    result = attack.run(network, x)
    assert_untouched(network, before)
    label = network(x).argmax(1)
    assert torch.equal(result.target, label)
    assert torch.equal(network(result.x_adv).argmax(1), label)
    assert (result.linf <= attack.eps + 1e-12).all()
    assert result.x_adv.min() >= 0
    assert result.x_adv.max() <= 1
    assert result.success.sum() >= 4
    assert torch.equal(result.x_adv[~result.success], x[~result.success])
    original, there = (explanation.map(network, image, label) for image in (x, result.x_adv))
    state = attack.dissimilarity.reference(original)
    scores = [attack.dissimilarity.score(m, original, state, attack.criterion) for m in (original, there)]
    assert (scores[1] > scores[0])[result.success].all()
    assert result.trace.shape == (13, 6)


def test_aimed_attacks_beat_random_signs():
    network, x = wrap(plain()), batch(8)[0]
    label = network(x).argmax(1)
    original = Gradient().map(network, x, label)
    shared = {}
    for kind in ("random_sign", "topk"):
        x_adv = build(kind, k=10)(network, x)
        shared[kind] = top_k_intersection(Gradient().map(network, x_adv, label), original, 10).mean()
    assert shared["topk"] < shared["random_sign"] - 0.05


def test_images_of_a_batch_do_not_matter_to_each_other():
    network, x = wrap(plain()), batch(5)[0]
    keys = sample_keys(torch.arange(5), seed=3)
    for kind in ("random_sign", "mass_centre", "target_map"):
        attack = build(kind)
        together = attack(network, x, keys=keys)
        torch.testing.assert_close(together[3:4], attack(network, x[3:4], keys=keys[3:4]), atol=1e-12, rtol=0)


def test_random_sign_in_one_shot_goes_to_the_corners_of_the_ball():
    network, x = wrap(plain()), 0.25 + 0.5 * batch(16)[0]
    attack = create_explanation_attack(ExplanationAttackConfig("random_sign", eps="8/255", steps=1, k=10), Gradient())
    result = attack.run(network, x)
    moved = (result.x_adv - x)[result.success].abs()
    assert len(moved) > 4
    torch.testing.assert_close(moved, torch.full_like(moved, 8 / 255))


def test_wrongly_classified_images_are_left_out():
    network, x = wrap(plain()), batch(4)[0]
    label = network(x).argmax(1)
    wrong = (label + torch.tensor([0, 1, 0, 1])) % 4
    result = build("topk", label="true", k=10).run(network, x, wrong)
    assert torch.equal(result.x_adv[1::2], x[1::2])
    assert not result.success[1::2].any()
    assert result.success[::2].any()


def test_the_class_and_its_probability_are_kept():
    network, x = wrap(plain()), batch(16)[0]
    label = network(x).argmax(1)
    result = build("topk", eps=1.0, steps=1, step_size=1.0, k=10).run(network, x)
    assert torch.equal(network(result.x_adv).argmax(1), label)
    assert result.success.any()
    assert not result.success.all()  # the step lost the class
    near = build("topk", step_size="4/255", k=10, most_delta_p=0.01).run(network, x)
    p, q = (network(image).softmax(1).gather(1, label[:, None]) for image in (x, near.x_adv))
    assert (p - q).abs().max() <= 0.01
    assert near.success.any()


class Seen(Gradient):
    """Notes the images whose maps are checked: all iterates."""

    def __init__(self):
        super().__init__()
        self.images = []

    def look(self, network, x, target, **settings):
        self.images.append(x.detach())
        return super().look(network, x, target, **settings)


@pytest.mark.parametrize(("kind", "most"), [("topk", 1.0), ("topk", 0.02), ("random_sign", 0.02)])
def test_under_the_constraint_no_iterate_leaves_the_class(kind, most):
    network, x = wrap(plain()), batch(12)[0]
    with torch.no_grad():  # the mean logits are equal: the classes lie near each other
        network.backbone[9].bias -= network(x).mean(0)
    p, label = network(x).softmax(1).max(1)
    ways = {}
    for keep in ("selection", "constraint"):
        method = Seen()
        attack = build(kind, method, keep=keep, most_delta_p=most, eps=1.0, step_size=0.5, k=10)
        ways[keep] = attack.run(network, x), torch.stack([x, *method.images])
    outside = {}
    for keep, (_, images) in ways.items():
        after = [network(z).softmax(1) for z in images]
        moved = [(q.gather(1, label[:, None])[:, 0] - p).abs().max() for q in after]
        outside[keep] = max(moved) > most or any((q.argmax(1) != label).any() for q in after)
        assert images.min() >= 0
        assert images.max() <= 1
    assert outside == {"selection": True, "constraint": False}
    steps = ways["constraint"][1].diff(dim=0).abs().amax((2, 3, 4)).flatten()
    assert (steps == 0).any() or ((steps > 0) & (steps < 0.26)).any()  # some were shortened
    assert (steps > 0.4).any()  # some were not
    assert ways["constraint"][0].success.any()


def test_the_constraint_holds_image_by_image():
    network, x = wrap(plain()), batch(5)[0]
    attack = build("topk", keep="constraint", most_delta_p=0.02, eps=1.0, step_size=0.5, k=10)
    together = attack(network, x)
    torch.testing.assert_close(together[3:4], attack(network, x[3:4]), atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="keep must be one of selection, constraint"):
        build("topk", keep="penalty", k=10)


def test_a_penalty_keeps_the_probabilities_nearer():
    network, x = wrap(plain()), batch(8)[0]
    p = network(x).softmax(1)
    moved = []
    for penalty in (0.0, 100.0):
        x_adv = build("target_map", penalty=penalty, step_size=5e-3, steps=30)(network, x)
        moved.append((network(x_adv).softmax(1) - p).norm(dim=1).mean())
    assert moved[1] < 0.6 * moved[0]


def test_the_target_map_is_approached():
    network, x = wrap(plain()), batch(6)[0]
    label, explanation = network(x).argmax(1), Gradient()
    pool = explanation.map(network, batch(6, seed=8)[0], label)
    for target in ("centre", pool):
        arguments = {"target": target} if isinstance(target, torch.Tensor) else {}
        config = ExplanationAttackConfig("target_map", steps=40, step_size=5e-3)
        attack = create_explanation_attack(config, explanation, **arguments)
        original = explanation.map(network, x, label)
        target_map = attack.dissimilarity.reference(original)
        x_adv = attack(network, x)
        after = pearson(explanation.map(network, x_adv, label), target_map)
        assert (after > pearson(original, target_map) + 0.05).float().mean() > 0.8


def test_beta_grows_geometrically_and_can_be_left_out():
    attack = build("target_map", steps=100, softplus=(10.0, 100.0))
    assert [round(attack.beta(step), 6) for step in (0, 50, 100)] == [10.0, round(10 * 10**0.5, 6), 100.0]
    assert build("topk").beta(3) == 10.0
    assert build("topk", LRP()).beta(3) is None
    assert build("topk", Gradient(softplus=2.0)).beta(3) is None
    assert build("topk", softplus=0.0).beta(3) is None


def test_relu_alone_gives_the_gradient_map_no_derivative():
    """Why there is a surrogate, and why the attack on a smoothed map needs none."""
    network, x = wrap(plain()), batch(4)[0]
    stuck = build("topk", softplus=0.0, k=10).run(network, x)
    assert not stuck.success.any()
    smoothed = build("topk", Gradient(softplus=3.0), k=10).run(network, x)
    assert smoothed.success.any()


def test_dissimilarities_by_hand():
    h = torch.zeros(1, 4, 4)
    h[0, 0, 0], h[0, 0, 1], h[0, 3, 3] = 0.5, 0.3, 0.2
    top = TopK(2)
    assert float(top.gain(h, top.reference(h))) == pytest.approx(-0.8)
    region = TargetRegion()
    assert region.reference(h)[0, :2, 2:].sum() == 4  # the first of the empty quadrants
    corner = TargetRegion((0.5, 0.5, 0.5, 0.5))
    assert float(corner.gain(h, corner.reference(h))) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="k must be less than the number of places, 16, got 16"):
        TopK(16).reference(h)
    assert [default_k(torch.zeros(1, n, n)) for n in (224, 32, 8)] == [1000, 100, 6]
    with pytest.raises(ValueError, match="region must hold a pixel of a 4 x 4 map"):
        TargetRegion((0.0, 0.0, 0.1, 0.5)).reference(h)
    flat, single_place = torch.full((1, 4, 4), 1 / 16), torch.zeros(1, 4, 4)
    single_place[0, 3, 0] = 1.0
    assert torch.equal(TargetMap(torch.cat([flat, h, single_place])).reference(h), single_place)
    mass = MassCentre()
    moved = h.flip(1)
    assert mass.reference(h).tolist() == [[0.0, 0.0]]  # (0.6, 0.9) truncated
    assert float(mass.gain(moved, mass.reference(h))) == pytest.approx(2.4**2 + 0.9**2)
    assert float(centre_shift(h, moved)) == pytest.approx(1.8)
    inverted = TargetMap("inverted")
    assert float(inverted.reference(h).sum()) == pytest.approx(1)
    assert inverted.reference(h)[0, 0, 0] == 0


def test_target_maps_are_shares_and_look_as_named():
    h = torch.rand(2, 60, 80)
    for target in ("uniform", "centre", "inverted", "text"):
        target_map = TargetMap(target).reference(h)
        torch.testing.assert_close(target_map.sum((1, 2)), torch.ones(2))
        assert target_map.min() >= 0
    assert TargetMap("uniform").reference(h).std() < 1e-9
    middle = TargetMap("centre").reference(h)[0]
    assert middle[29:31, 39:41].min() > 10 * middle[0].max()
    text = written("NO CAT", 60, 80)
    assert 0.05 < text.mean() < 0.5
    assert text[:, :3].sum() == text[:3].sum() == 0
    assert not torch.equal(text, written("A DOG", 60, 80))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "top"}, r"attack on explanations must be one of .* \(did you mean topk\?\)"),
        ({"type": "mass_centre", "k": 3}, "k is no setting of mass_centre"),
        ({"type": "random_sign", "softplus": 3.0}, "softplus is no setting of random_sign"),
        ({"type": "topk", "target": "text"}, "target is no setting of topk"),
        ({"type": "topk", "k": 0}, "k must be 1 or more, got 0"),
        ({"type": "topk", "eps": 8}, r'in 0-255 units write "8/255"'),
        ({"type": "topk", "step": "momentum"}, "step must be sign or adam"),
        ({"type": "topk", "softplus": -1.0}, "softplus must be one β"),
        ({"type": "topk", "softplus": (10.0,)}, r"softplus must be one β, \[first, last\]"),
        ({"type": "topk", "label": "least_likely"}, "label must be predicted or true"),
        ({"type": "target_region", "region": (0.6, 0.0, 0.5, 0.5)}, "region must be"),
        ({"type": "target_map", "text": "DOG"}, "text is written by target: text alone, got target None"),
        ({"type": "topk", "text": "DOG"}, "text is no setting of topk"),
        ({"type": "target_map", "target": "text", "text": " "}, "text must have a letter"),
        ({"type": "target_map", "target": "dog"}, "target must be uniform, centre, inverted, text"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ExplanationAttackConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"criterion": "ssim"}, "criterion must be one of topk, spearman"),
        ({"check_every": 0}, "check_every must be 1 or more"),
        ({"penalty": -1.0}, "penalty must be 0 or more"),
    ],
)
def test_wrong_settings_of_the_loop_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        build("topk", **settings)


def test_the_last_iterate_is_always_checked():
    network, x = wrap(plain()), batch(6)[0]
    often = build("topk", k=10).run(network, x)
    once = build("topk", k=10, check_every=100).run(network, x)
    assert once.success.any()
    assert not torch.equal(often.x_adv, once.x_adv)


def test_the_papers_attacks_are_built():
    for configs in EXPLANATION_ATTACKS.values():
        for config in configs:
            assert create_explanation_attack(config, Gradient()).name == config.type
    (topk,) = (config for config in EXPLANATION_ATTACKS["ghorbani2019"] if config.type == "topk")
    attack = create_explanation_attack(topk, Gradient())
    assert (attack.steps, attack.step.size, attack.eps) == (300, 0.5 / 255, 8 / 255)
    assert (attack.softplus, attack.label) == (1.0, "true")
    for preset in EXPLANATION_ATTACKS["ghorbani2019"]:
        aim = create_explanation_attack(preset, Gradient()).dissimilarity
        assert [aim.places(torch.zeros(1, n, n)) for n in (224, 32)] == [1000, 100]
