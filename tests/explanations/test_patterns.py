"""Patterns: against sums over places in plain Python, and on the toy problem that they were invented for."""

import pytest
import torch
from explanation_helpers import Branches, batch, plain, wrap
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.explanations import Gradient, PatternAttribution, Patterns, learn_patterns


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
    for other in (wrap(plain(), seed=1), wrap(nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()))):
        with pytest.raises(ValueError, match="not learnt for this network's weights"):
            method.explain(other, x, y)
    with pytest.raises(FileNotFoundError, match=r"patterns: no file .*none.safetensors; learn_patterns"):
        Patterns.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        Patterns.load(tmp_path / "bad.safetensors")


def test_other_networks_are_refused_by_the_layer_s_name():
    x = batch()[0]
    with pytest.raises(ValueError, match="add joins branches"):
        learn_patterns(wrap(Branches()), [x])
    with pytest.raises(ValueError, match="0 normalises on its own"):
        learn_patterns(wrap(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 8), nn.Flatten())), [x])
    with pytest.raises(ValueError, match="learnt from images, got none"):
        learn_patterns(wrap(plain()), [])
