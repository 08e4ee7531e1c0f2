import pytest
import torch
from torch import nn

from lightning_advinterp.networks import create_network, default_phi

PHI = {
    "alexnet": "features.11",
    "vgg11": "features.19",
    "vgg16": "features.29",
    "vgg16_bn": "features.42",
    "vgg19": "features.35",
    "resnet18": "layer4",
    "resnet50": "layer4",
    "resnext50_32x4d": "layer4",
    "wide_resnet50_2": "layer4",
    "inception_v3": "Mixed_7c",
    "googlenet": "inception5b",
    "squeezenet1_0": "features.12",
    "squeezenet1_1": "features.12",
    "densenet121": "features.norm5",
    "mobilenet_v2": "features.18",
    "mobilenet_v3_small": "features.12",
    "mobilenet_v3_large": "features.16",
    "efficientnet_b0": "features.8",
    "convnext_tiny": "features.7",
    "mnasnet0_5": "layers.16",
    "shufflenet_v2_x0_5": "conv5",
    "regnet_y_400mf": "trunk_output",
    "vit_b_32": "encoder.layers",
    "swin_t": "permute",
    "cifar_resnet20": "layer3",
    "timm/resnet18": "layer4",
    "timm/densenet121": "features.norm5",
    "timm/efficientnet_b0": "bn2",
    "timm/inception_v3": "Mixed_7c",
    "timm/vgg11": "features.19",
    "timm/resnetv2_50": "norm",
    "timm/vit_tiny_patch16_224": "blocks",
}


@pytest.mark.parametrize("name", PHI)
def test_phi_of_every_known_family(name):
    with torch.device("cpu" if "regnet" in name else "meta"):  # RegNet computes its widths with tensors
        network = create_network(name)
    assert network.phi == PHI[name]
    assert default_phi(network.backbone) == PHI[name]
    assert network.backbone.get_submodule(network.phi) is not None


@pytest.mark.parametrize(
    ("name", "phi"),
    [
        ("timm/convnext_atto", "stages.3"),
        ("timm/mobilenetv3_small_050", "blocks.5"),
        ("timm/swin_tiny_patch4_window7_224", "layers.3"),
    ],
)
def test_phi_that_timm_declares(name, phi):
    assert create_network(name).phi == phi


@pytest.mark.parametrize(
    ("name", "size"),
    [("alexnet", 96), ("vgg11", 64), ("squeezenet1_1", 64), ("inception_v3", 128), ("googlenet", 64)],
)
def test_phi_is_a_rectified_map(build, name, size):
    network = build(name)
    with torch.no_grad():
        _, features = network.forward_features(torch.rand(1, 3, size, size), ["phi"])
    phi = features["phi"]
    assert phi.dim() == 4
    assert phi.shape[2] > 1
    assert phi.min() == 0 < phi.max()


class Odd(nn.Module):
    """An unknown network, its pooling and its head among its modules."""

    def __init__(self):
        super().__init__()
        self.entry = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.middle = nn.ModuleDict({"deep": nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU())})
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(self.pool(self.middle["deep"](self.entry(x))).flatten(1))


def test_unknown_networks_are_tried_and_left_alone():
    backbone = Odd()
    assert default_phi(backbone, input_size=16) == "middle.deep"
    assert all(module.training for module in backbone.modules())
    assert not any(module._forward_hooks for module in backbone.modules())
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert int(backbone.middle["deep"][1].num_batches_tracked) == 0


def test_networks_that_cannot_be_tried_have_no_phi():
    assert default_phi(nn.Sequential(nn.Flatten(), nn.Linear(7, 3)), input_size=16) is None
    assert default_phi(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), input_size=4) is None
