"""Every method that captum has too, on really trained networks, in float64 at 64 pixels."""

import captum.attr as captum
import pytest
import torch
from explanation_helpers import one_relu_per_use
from reference import propagation as reference
from torch import nn
from torch.nn import functional as F

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
)
from lightning_advinterp.networks import create_network

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks"),  # captum says what it does
]
FILES = {"resnet18": "resnet18_pqf.safetensors", "squeezenet1_0": "squeezenet1_0_deepcompression.safetensors"}


@pytest.fixture(scope="module", params=FILES)
def case(request, real_data):
    """A trained network, images, their predicted classes, and the images as the backbone sees them."""
    network = create_network(request.param, real_data / "weights" / FILES[request.param]).double().eval()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        y, z = network(x).argmax(1), network.normalize(x)
    return network, x.requires_grad_(), y, z.requires_grad_()


def assert_near(attribution, expected):
    assert expected.abs().max() > 1e-3
    assert (attribution - expected).abs().max() < 1e-6


def test_gradient(case):
    network, x, y, z = case
    expected = captum.Saliency(network.backbone).attribute(z, target=y, abs=False)
    assert_near(Gradient().explain(network, x, y), expected)
    assert_near(GradientTimesInput().explain(network, x, y), z * expected)
    pixels = captum.Saliency(network).attribute(x, target=y, abs=False)
    assert_near(Gradient(space="pixel").explain(network, x, y), pixels)
    assert_near(GradientTimesInput(space="pixel").explain(network, x, y), x * pixels)


def test_integrated_gradients(case):
    network, x, y, z = (part[:1] if isinstance(part, torch.Tensor) else part for part in case)
    softmax = captum.IntegratedGradients(nn.Sequential(network.backbone, nn.Softmax(1)))
    expected = softmax.attribute(z, target=y, n_steps=5, method="riemann_right")
    assert_near(IntegratedGradients(steps=5).explain(network, x, y), expected)
    logit = captum.IntegratedGradients(network).attribute(x, x * 0, target=y, n_steps=4, method="riemann_right")
    assert_near(IntegratedGradients(steps=4, output="logit", baseline="black").explain(network, x, y), logit)


def test_guided_backprop(case):
    network, x, y, z = case
    expected = captum.GuidedBackprop(one_relu_per_use(network.backbone)).attribute(z, target=y)
    assert_near(GuidedBackprop().explain(network, x, y), expected)


def test_gradcam(case):
    network, x, y, z = case
    layer = network.backbone.get_submodule(network.phi)
    expected = captum.LayerGradCam(network.backbone, layer).attribute(z, target=y)
    large = F.interpolate(expected, x.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    assert_near(GradCAM().explain(network, x, y).sum(1), large)
    positive = large.clamp(min=0)
    torch.testing.assert_close(GradCAM().map(network, x, y), (positive / positive.sum((1, 2), keepdim=True)).detach())


def test_occlusion(case):
    network, x, y, z = case
    tool = captum.Occlusion(network.backbone)
    for size, stride in ((32, 32), (40, 24)):
        expected = tool.attribute(z, (3, size, size), strides=(3, stride, stride), target=y)
        assert_near(Occlusion(size=size, stride=stride).explain(network, x, y).sum(1), expected[:, 0])


def test_deeplift(case):
    """Captum is wrong on SqueezeNet's overlapping pools: there the literal rule is the reference."""
    network, x, y, z = case
    attribution = DeepLift().explain(network, x, y)
    zero = torch.zeros_like(z)
    if network.name == "resnet18":
        expected = captum.DeepLift(one_relu_per_use(network.backbone)).attribute(z, zero, target=y)
    else:
        expected = reference.deeplift(network.backbone, z, zero, y)
    assert_near(attribution, expected.detach())
    gap = (network.backbone(z) - network.backbone(zero)).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(attribution.sum((1, 2, 3)), gap.detach(), atol=1e-9, rtol=1e-9)


def test_lrp(case):
    network, x, y, z = (part[:1] if isinstance(part, torch.Tensor) else part for part in case)
    low, high = ((level - network._mean[None]) / network._std for level in (0.0, 1.0))
    for rule in ("alpha_beta", "epsilon", "gamma"):
        expected = reference.lrp(network.backbone, z, y, low, high, rule=rule)
        attribution = LRP(rule=rule).explain(network, x, y)
        # the gamma rule amplifies rounding where a sum of branches is near 0
        torch.testing.assert_close(attribution, expected, atol=1e-6 * expected.abs().max().item(), rtol=1e-4)


def test_cam(case):
    network, x, y, z = case
    cam = CAM().explain(network, x, y).sum(1)
    if network.name == "resnet18":
        layer = captum.LayerGradCam(network.backbone, network.backbone.layer4).attribute(z, target=y) * 4
        assert_near(cam, F.interpolate(layer, (64, 64), mode="bilinear", align_corners=False)[:, 0])
    else:
        with torch.no_grad():
            layer = network.backbone.classifier[:3](network.backbone.features(z))[torch.arange(2), y]
        assert_near(cam, F.interpolate(layer[:, None], (64, 64), mode="bilinear", align_corners=False)[:, 0])
