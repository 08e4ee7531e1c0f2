"""Patterns: against sums over places in plain Python, and on the toy problem that they were invented for."""

import pytest
import torch
from explanation_helpers import Branches, batch, plain, wrap
from reference import propagation as reference
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.explanations import Gradient, PatternAttribution, Patterns, learn_patterns
from lightning_advinterp.explanations.linear import Affine
from lightning_advinterp.networks import create_network


def literal_pattern(patches, responses, weight, fires):
    """a of one unit from its inputs [n, d] and responses [n]: one number after the other."""
    chosen = [i for i in range(len(responses)) if fires(responses[i])]
    mean_xy = sum(patches[i] * responses[i] for i in chosen) / len(chosen)
    mean_x = sum(patches[i] for i in chosen) / len(chosen)
    covariance = mean_xy - mean_x * responses.mean()
    return covariance / (weight @ covariance)


def test_patterns_of_a_convolution_and_of_the_last_layer_literally():
    network, x = wrap(plain()), batch(6)[0]
    body = network.backbone
    patterns = learn_patterns(network, x.split(4))
    with torch.no_grad():
        z = network.normalize(x)
        norm = body[1]
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        responses = body[1](body[0](z)).permute(0, 2, 3, 1).reshape(-1, 5)
        patches = F.unfold(z, 3, padding=1).permute(0, 2, 1).reshape(-1, 27)
        unit = 2
        weight = (body[0].weight[unit] * scale[unit]).flatten()
        expected = literal_pattern(patches, responses[:, unit], weight, lambda y: y > 0)
        torch.testing.assert_close(patterns.values["0"][unit].flatten(), expected)
        inputs, logits = body[:9](z), body(z)
        expected = literal_pattern(inputs, logits[:, 1], body[9].weight[1], lambda y: True)
        torch.testing.assert_close(patterns.values["9"][1], expected)


def test_every_pattern_has_weight_one():
    network = wrap(plain())
    patterns = learn_patterns(network, [batch(64)[0]])
    assert list(patterns.values) == ["0", "4", "7", "9"]
    sums = (network.backbone[9].weight * patterns.values["9"]).sum(1)
    torch.testing.assert_close(sums.detach(), torch.ones(4, dtype=torch.float64))


def test_patterns_of_images_alike_are_found_in_float32_too():
    """Where images hardly differ, covariances are a small part of the sums that they are the difference of."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Linear(4, 3))
    nn.init.constant_(body[1].bias, 2.0)
    generator = torch.Generator().manual_seed(1)
    batches = [0.9 + 0.02 * torch.rand(16, 3, 8, 8, generator=generator) for _ in range(200)]
    learnt = learn_patterns(body, batches).values
    exact = learn_patterns(body.double(), [x.double() for x in batches]).values
    for name, pattern in learnt.items():
        assert pattern.dtype == torch.float32
        assert (pattern - exact[name]).norm() < 0.02 * exact[name].norm()  # 0.4 with sums in float32


@pytest.mark.slow
def test_patterns_of_alexnet(tmp_path):
    torch.manual_seed(0)
    network = create_network("alexnet", num_classes=5).eval()
    x, y = torch.rand(6, 3, 64, 64), torch.tensor([0, 1, 2, 3, 4, 0])
    patterns = learn_patterns(network, x.split(4))
    layers = {name: part for name, part in network.backbone.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)}
    assert patterns.values.keys() == layers.keys()
    for name, pattern in patterns.values.items():
        sums = (layers[name].weight * pattern).flatten(1).sum(1).detach()
        assert (((sums - 1).abs() < 1e-2) | (sums == 0)).all()
    patterns.save(tmp_path / "alexnet.safetensors")
    method = PatternAttribution(tmp_path / "alexnet.safetensors")
    signed, maps = method.explain(network, x, y), method.map(network, x, y)
    torch.testing.assert_close(maps.sum((1, 2)), torch.ones(6))
    # forward with w, backward with w ⊙ a: the gradient of the logit, times the logit
    z = network.normalize(x).requires_grad_()
    for name, layer in layers.items():
        weight = layer.weight.detach() * patterns.values[name]
        layer.register_forward_hook(
            lambda module, inputs, output, weight=weight: reference.keep(
                output, reference.linear(module, inputs[0], weight)
            )
        )
    logit = network.backbone(z).gather(1, y[:, None])
    (slope,) = torch.autograd.grad(logit.sum(), z)
    expected = slope * logit.detach()[:, :, None, None]
    torch.testing.assert_close(signed, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-3)


def test_patterns_whose_terms_cancel_are_not_refused():
    """Units that fired on a few images only have w ⊙ a of 10⁵ in sum of magnitudes (AlexNet, six images), or more."""
    torch.manual_seed(0)
    layer = nn.Linear(25088, 2, bias=False)
    w = layer.weight.detach().double()
    pattern = 1e6 * torch.randn(2, 25088, dtype=torch.float64)
    pattern -= ((w * pattern).sum(1, keepdim=True) - 1) / w.square().sum(1, keepdim=True) * w
    affine = Affine(layer, layer.weight, None)
    patterns = Patterns({"fc": pattern.float()})
    assert ((layer.weight * patterns.values["fc"]).sum(1) - 1).abs().max() > 0.01
    patterns.of("fc", affine)
    with pytest.raises(ValueError, match="not learnt for this network's weights"):
        patterns.of("fc", Affine(layer, 1.01 * layer.weight.roll(1, 1), None))


def test_patterns_find_the_signal_where_weights_must_cancel_a_distractor():
    """Kindermans et al. 2018, section 2: x = a_s s + a_d d, and w = (1, −1) reads s; a_s = (1, 0) is the pattern."""
    s, d = torch.randn(2, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.stack([s + d, d], 1)[:, :, None, None] * 0.1 + 0.5
    body = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False)).double()
    body[1].weight.data = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    y = torch.zeros(1, dtype=torch.int64)
    signal = PatternAttribution(learn_patterns(body, [x])).explain(body, x[:1], y).flatten()
    assert abs(signal[1] / signal[0]) < 0.05
    gradient = Gradient().explain(body, x[:1], y).flatten()
    assert gradient[1] / gradient[0] == -1


def test_attribution_literally():
    """From the logit back: (w ⊙ a)ᵀ, gates of relu, winners of the pool."""
    network, (x, y) = wrap(plain()), batch(1)
    body, patterns = network.backbone, learn_patterns(network, [batch(64)[0]])
    with torch.no_grad():
        z = network.normalize(x)
        pooled, index = F.max_pool2d(F.relu(body[1](body[0](z))), 2, return_indices=True)
        logits = body(z)
        r = logits[:, y[0]] * (body[9].weight * patterns.values["9"])[y[0]]
        r = r * (body[7](F.relu(body[4](pooled)).flatten(1)) > 0)
        r = (r @ (body[7].weight * patterns.values["7"])).view(1, 6, 2, 2) * (body[4](pooled) > 0)
        r = F.conv_transpose2d(r, body[4].weight * patterns.values["4"])
        r = F.max_unpool2d(r, index, 2) * (body[1](body[0](z)) > 0)
        scale = (body[1].weight / (body[1].running_var + body[1].eps).sqrt())[:, None, None, None]
        expected = F.conv_transpose2d(r, body[0].weight * scale * patterns.values["0"], padding=1)
    torch.testing.assert_close(PatternAttribution(patterns).explain(network, x, y), expected)


def test_patterns_are_saved_and_belong_to_their_weights(tmp_path):
    network, (x, y) = wrap(plain()), batch()
    patterns = learn_patterns(network, [batch(64)[0]])
    patterns.save(tmp_path / "patterns.safetensors")
    method = PatternAttribution(tmp_path / "patterns.safetensors")
    torch.testing.assert_close(
        method.explain(network, x, y), PatternAttribution(patterns).explain(network, x, y), atol=0, rtol=0
    )
    for foreign in (wrap(plain(), seed=1), wrap(nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()))):
        with pytest.raises(ValueError, match="not learnt for this network's weights"):
            method.explain(foreign, x, y)
    with pytest.raises(FileNotFoundError, match=r"patterns: no file .*none.safetensors; learn_patterns"):
        Patterns.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        Patterns.load(tmp_path / "bad.safetensors")


class Residual(nn.Module):
    """relu(W₂ h + h) with h = relu(W₁ x), and two logits of it."""

    def __init__(self):
        super().__init__()
        weights = ([[1.0, -1.0], [0.0, 1.0]], [[1.0, 1.0], [-2.0, 1.0]], [[1.0, 2.0], [0.0, 1.0]])
        self.first, self.second, self.last = (nn.Linear(2, 2, bias=False).double() for _ in weights)
        for layer, weight in zip((self.first, self.second, self.last), weights, strict=True):
            layer.weight.data = torch.tensor(weight, dtype=torch.float64)

    def forward(self, x):
        h = torch.relu(self.first(x.flatten(1)))
        return self.last(torch.relu(self.second(h) + h))


def test_attribution_of_a_residual_block_by_hand():
    """x = (.3, .1): h = (.2, .1), W₂h + h = (.5, −.2), of which relu keeps the first; z₀ = .5.

    w ⊙ a of the three layers: ((2, −1), (0, 1)), ((.5, .5), (2, −1)), ((3, −2), (0, 1)). So z₀ (3, −2) = (1.5, −1) is
    cut to (1.5, 0); the shortcut hands (1.5, 0) on, the branch 1.5 (.5, .5); together (2.25, .75), and through the
    first layer (4.5, −1.5).
    """
    patterns = {
        "first": [[2.0, 1.0], [5.0, 1.0]],
        "second": [[0.5, 0.5], [-1.0, -1.0]],
        "last": [[3.0, -1.0], [7.0, 1.0]],
    }
    method = PatternAttribution(Patterns({name: torch.tensor(values) for name, values in patterns.items()}))
    x = torch.tensor([[0.3, 0.1]], dtype=torch.float64)[:, :, None, None]
    signed = method.explain(Residual(), x, torch.zeros(1, dtype=torch.int64)).flatten()
    torch.testing.assert_close(signed, torch.tensor([4.5, -1.5], dtype=torch.float64))


@pytest.fixture(scope="module")
def branches():
    network = wrap(Branches())
    return network, learn_patterns(network, batch(64)[0].split(40))


def test_patterns_of_a_branch_are_learnt_where_the_relu_of_its_sum_is_open(branches):
    network, patterns = branches
    body, unit = network.backbone, 3
    with torch.no_grad():
        h = body.pool(F.relu(body.bn1(body.conv1(network.normalize(batch(64)[0])))))
        y = body.bn2(body.conv2(h))
        scale = body.bn2.weight / (body.bn2.running_var + body.bn2.eps).sqrt()
        weight = (body.conv2.weight[unit] * scale[unit]).flatten()
        patches = F.unfold(h, 3, padding=1).permute(0, 2, 1).reshape(-1, 45)
        passed = {number for number, value in enumerate((y + h)[:, unit].flatten().tolist()) if value > 0}
        responses = y[:, unit].flatten()
        assert passed != {number for number, value in enumerate(responses.tolist()) if value > 0}
        chosen = torch.tensor(sorted(passed))
        covariance = (patches[chosen] * responses[chosen, None]).mean(0) - patches[chosen].mean(0) * responses.mean()
    torch.testing.assert_close(patterns.values["conv2"][unit].flatten(), covariance / (weight @ covariance))
    assert list(patterns.values) == ["conv1", "conv2", "left", "right", "fc"]


def test_attribution_through_a_sum_and_a_concatenation_is_a_gradient_with_other_weights(branches):
    network, patterns = branches
    (x, y), body = batch(4), network.backbone
    signed = PatternAttribution(patterns).explain(network, x, y)
    handles = []
    for name in ("conv1", "conv2", "left", "right", "fc"):
        layer, norm = body.get_submodule(name), {"conv1": body.bn1, "conv2": body.bn2}.get(name)
        weight = layer.weight.detach()
        if norm is not None:
            weight = weight * (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()[:, None, None, None]
            handles.append(norm.register_forward_hook(lambda module, inputs, out: reference.keep(out, inputs[0])))

        def backwards(module, inputs, out, weight=weight * patterns.values[name]):
            return reference.keep(out, reference.linear(module, inputs[0], weight))

        handles.append(layer.register_forward_hook(backwards))
    z = network.normalize(x).requires_grad_()
    logit = body(z).gather(1, y[:, None])
    (slope,) = torch.autograd.grad(logit.sum(), z)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(signed, slope * logit.detach()[:, :, None, None])


def test_a_norm_of_its_own_hands_on_what_it_got():
    """Its pattern is 1/w, so that w ⊙ a is 1."""
    body = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 8), nn.Flatten())
    network, (x, y) = wrap(body), batch(3)
    patterns = learn_patterns(network, [batch(64)[0]])
    product = body[1].weight.detach() * patterns.values["1"]
    logit = network(x).gather(1, y[:, None])[..., None, None].detach()
    torch.testing.assert_close(PatternAttribution(patterns).explain(network, x, y), product[y] * logit)


def test_other_networks_are_refused_by_the_layer_s_name():
    with pytest.raises(ValueError, match="layer 1 is a ReLU6"):
        learn_patterns(wrap(nn.Sequential(nn.Conv2d(3, 4, 8), nn.ReLU6(), nn.Flatten())), [batch()[0]])
    with pytest.raises(ValueError, match="learnt from images, got none"):
        learn_patterns(wrap(plain()), [])
