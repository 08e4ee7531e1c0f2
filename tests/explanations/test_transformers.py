"""Explanations of transformers and ConvNeXts against captum, in float64; maps of tokens; what is refused."""

import captum.attr as captum
import pytest
import torch
from family_networks import network_of
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.explanations import CAM, GradCAM, Gradient, IntegratedGradients, SmoothGrad

FAMILIES = ("vit", "registers", "distilled", "swin", "convnext", "torchvision's vit", "torchvision's swin")
pytestmark = pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks")  # captum says what it does


def case(name, images=2):
    network = network_of(name).double()
    size, generator = network.input_size, torch.Generator().manual_seed(0)
    x = torch.rand(images, 3, size, size, dtype=torch.float64, generator=generator)
    return network, x, torch.arange(images) + 1, network.normalize(x).requires_grad_()


def assert_near(attribution, expected):
    assert expected.abs().max() > 1e-12  # a layer scale of 1e-6 leaves little
    assert (attribution - expected).abs().max() < 1e-6 * expected.abs().max()


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_and_integrated_gradients_equal_captum(name):
    network, x, y, z = case(name)
    assert_near(Gradient().explain(network, x, y), captum.Saliency(network.backbone).attribute(z, y, abs=False))
    softmax = captum.IntegratedGradients(nn.Sequential(network.backbone, nn.Softmax(1)))
    expected = softmax.attribute(z, target=y, n_steps=3, method="riemann_right").detach()
    assert_near(IntegratedGradients(steps=3).explain(network, x, y), expected)
    assert SmoothGrad(samples=2).map(network, x, y).sum() == pytest.approx(2)


class Split(nn.Module):
    """Tokens to maps and back, so that a library that knows maps alone can read them in between."""

    def __init__(self, apart, side):
        super().__init__()
        self.apart, self.side, self.maps = apart, side, nn.Identity()

    def forward(self, tokens):
        patches = tokens[:, self.apart :].unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        return torch.cat([tokens[:, : self.apart], self.maps(patches).flatten(2).transpose(1, 2)], 1)


class Turned(nn.Module):
    """Channels last to channels first and back."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Identity()

    def forward(self, x):
        return self.maps(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


BESIDE = {
    "vit": ("blocks.1.norm1", lambda: Split(1, 4)),
    "registers": ("blocks.1.norm1", lambda: Split(5, 4)),
    "distilled": ("blocks.1.norm1", lambda: Split(2, 4)),
    "torchvision's vit": ("encoder.layers.encoder_layer_1.ln_1", lambda: Split(1, 4)),
    "swin": ("layers.2", Turned),
}


def captum_gradcam(network, layer, x, y, z):
    maps = captum.LayerGradCam(network.backbone, layer).attribute(z, target=y)
    return F.interpolate(maps, x.shape[2:], mode="bilinear", align_corners=False)[:, 0].detach()


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("by_name", [False, True])
def test_gradcam_of_tokens_equals_captum_on_maps(name, by_name):
    network, x, y, z = case(name)
    path, build = BESIDE[name]
    attribution = GradCAM(layer=path if by_name else None).explain(network, x, y).sum(1)
    between = build()
    parent, _, last = path.rpartition(".")
    network.backbone.get_submodule(parent)._modules[last] = nn.Sequential(network.backbone.get_submodule(path), between)
    assert_near(attribution, captum_gradcam(network, between.maps, x, y, z))


@pytest.mark.parametrize("name", ["convnext", "torchvision's swin", "torchvision's convnext"])
def test_gradcam_of_channels_first_equals_captum(name):
    network, x, y, z = case(name)
    layer = network.backbone.get_submodule(network.phi)
    assert_near(GradCAM().explain(network, x, y).sum(1), captum_gradcam(network, layer, x, y, z))


def test_gradcam_behind_the_last_attention_is_refused():
    """Of a class token alone the class depends: the patches' map would be zero everywhere."""
    network, x, y, _ = case("vit")
    with pytest.raises(ValueError, match=r"class token of layer blocks and on none of its patches.*blocks\.1\.norm1"):
        GradCAM(layer="phi").explain(network, x, y)
    assert GradCAM(layer="blocks.0").map(network, x, y).sum() > 0


def test_gradcam_refuses_windows_and_vectors():
    network, x, y, _ = case("swin")
    with pytest.raises(ValueError, match=r"layer layers\.0\.blocks\.0\.attn must return maps .* shape \(32, 16, 12\)"):
        GradCAM(layer="layers.0.blocks.0.attn").explain(network, x, y)
    with pytest.raises(ValueError, match=r"layer head must return maps .* shape \(2, 5\)"):
        GradCAM(layer="head").explain(network, x, y)


def test_gradcam_of_images_that_are_not_square():
    network = network_of("torchvision's convnext").double()
    x, y = torch.rand(1, 3, 64, 128, dtype=torch.float64), torch.tensor([2])
    for layer in ("features.3", "features.3.0.block.2"):  # channels first; LayerNorm with channels last
        module = network.backbone.get_submodule(layer)
        last = isinstance(module, nn.LayerNorm)
        caught = []
        handle = module.register_forward_hook(lambda module, inputs, output, to=caught: to.append(output))
        z = network.normalize(x).requires_grad_()
        score = network.backbone(z)[0, 2]
        handle.remove()
        (gradient,) = torch.autograd.grad(score, caught[0])
        axes = (1, 2) if last else (2, 3)
        assert caught[0].shape == ((1, 8, 16, 12) if last else (1, 12, 8, 16))
        cam = (gradient.mean(axes, keepdim=True) * caught[0]).sum(3 if last else 1)
        expected = F.interpolate(cam[:, None], (64, 128), mode="bilinear", align_corners=False)[:, 0].detach()
        assert_near(GradCAM(layer=layer).explain(network, x, y).sum(1), expected)


def test_cam_of_channels_last_equals_captum():
    """Behind the last LayerNorm Swin is an average and a linear layer: Grad-CAM's weights there are W over places."""
    network, x, y, z = case("swin")
    cam, between = CAM().explain(network, x, y).sum(1).detach(), Turned()
    network.backbone.norm = nn.Sequential(network.backbone.norm, between)
    assert_near(cam, captum_gradcam(network, between.maps, x, y, z) * 4 * 4)


@pytest.mark.parametrize("name", ["vit", "convnext"])
def test_cam_refuses_before_any_work(name):
    network, x, y, _ = case(name)
    with pytest.raises(ValueError, match="cam needs feature maps, their global average, and one linear layer"):
        CAM().explain(network, x, y)


@pytest.mark.parametrize("name", ["vit", "swin", "torchvision's vit"])
def test_gradcam_is_differentiable(name):
    network, x, y, _ = case(name, images=1)
    along = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(3))

    def value(t):
        return GradCAM().explain(network, x + t * along, y, create_graph=True)[0, 0].square().sum()

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(value(t), t)
    difference = (value(t.detach() + 1e-5) - value(t.detach() - 1e-5)) / 2e-5
    torch.testing.assert_close(slope, difference.detach(), rtol=1e-5, atol=0)
