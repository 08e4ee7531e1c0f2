"""CAM, Grad-CAM and occlusion, where a library has no word on it."""

import pytest
import torch
from explanation_helpers import Branches, batch, plain, wrap
from torch import nn

from lightning_advinterp.explanations import CAM, GradCAM, Occlusion
from lightning_advinterp.networks import Network, create_network


def test_cam_plus_bias_averages_to_the_logit():
    torch.manual_seed(0)
    network = create_network("cifar_resnet20").eval()
    x, y = torch.rand(2, 3, 32, 32), torch.tensor([3, 5])
    weight, bias = network.backbone.linear.weight[y], network.backbone.linear.bias[y]
    maps = network.forward_features(x, ["phi"])[1]["phi"]
    cam = (weight[:, :, None, None] * maps).sum(1)
    torch.testing.assert_close(cam.mean((1, 2)) + bias, network(x)[[0, 1], y])
    large = nn.functional.interpolate(cam[:, None], (32, 32), mode="bilinear")[:, 0]
    torch.testing.assert_close(CAM().explain(network, x, y).sum(1), large.detach())


@pytest.mark.parametrize("phi", ["0", "1"])
def test_cam_is_refused_where_the_head_is_another(phi):
    """Another depth, or another map than the one that is averaged."""
    x, y = batch()
    with pytest.raises(ValueError, match=r"cam needs feature maps, their global average.*Take gradcam"):
        CAM().explain(wrap(plain()), x, y)
    body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Tanh(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    with pytest.raises(ValueError, match="is not made like that"):
        CAM().explain(Network(body, name="max", num_classes=4, phi=phi, head="4").double(), x, y)


def test_gradcam_names_a_layer_that_has_no_maps():
    network, (x, y) = wrap(plain()), batch()
    with pytest.raises(ValueError, match=r"layer 7 must return maps \[B, K, h, w\] .*, it returned shape \(2, 7\)"):
        GradCAM(layer="7").explain(network, x, y)
    with pytest.raises(ValueError, match="must be a module path"):
        GradCAM(layer="nowhere").explain(network, x, y)


def test_occlusion_patch_by_patch():
    network, (x, y) = wrap(Branches()), batch(1)
    total, count = torch.zeros(2, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        for top in (0, 3, 5):  # the last one ends at the border
            for left in (0, 3, 5):
                covered = x.clone()
                covered[:, :, top : top + 3, left : left + 3] = 1.0
                total[top : top + 3, left : left + 3] += (network(x) - network(covered))[0, y[0]]
                count[top : top + 3, left : left + 3] += 1
    attribution = Occlusion(size=3, stride=3, baseline="white", chunk=4).explain(network, x, y)
    torch.testing.assert_close(attribution.sum(1)[0], total / count)


def test_a_patch_larger_than_the_image_covers_it():
    network, (x, y) = wrap(plain()), batch()
    gap = (network(x) - network(torch.zeros_like(x))).gather(1, y[:, None])[:, 0]
    attribution = Occlusion(size=20, stride=20, baseline="black").explain(network, x, y).sum(1)
    torch.testing.assert_close(attribution, gap[:, None, None].expand(2, 8, 8).detach())
