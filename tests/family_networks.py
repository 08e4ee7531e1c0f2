"""Small random networks of the families that are not plain convolutions, with a ResNet beside them."""

import timm
import torch
import torchvision
from torch import nn

from lightning_advinterp.networks import Network
from lightning_advinterp.networks.families import default_phi

SMALL = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 2}
SWIN = {"img_size": 64, "window_size": 4, "depths": (1, 1, 2), "embed_dim": 12, "num_heads": (1, 2, 2)}
BUILD = {
    "vit": (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=5, **SMALL), 32),
    "registers": (lambda: timm.create_model("vit_small_patch14_reg4_dinov2", num_classes=5, **SMALL), 32),
    "distilled": (lambda: timm.create_model("deit_tiny_distilled_patch16_224", num_classes=5, **SMALL), 32),
    "swin": (lambda: timm.create_model("swin_tiny_patch4_window7_224", num_classes=5, **SWIN), 64),
    "convnext": (
        lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 12, 16, 20), num_classes=5),
        64,
    ),
    "torchvision's vit": (lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 24, 48, num_classes=5), 32),
    "torchvision's swin": (
        lambda: torchvision.models.SwinTransformer([4, 4], 12, [1, 1], [1, 2], [4, 4], num_classes=5),
        64,
    ),
    "torchvision's convnext": (
        lambda: torchvision.models.ConvNeXt(
            [
                torchvision.models.convnext.CNBlockConfig(8, 12, 1),
                torchvision.models.convnext.CNBlockConfig(12, None, 2),
            ],
            num_classes=5,
        ),
        64,
    ),
    "resnet": (
        lambda: torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=5),
        64,
    ),
}


def network_of(name):
    torch.manual_seed(0)
    build, size = BUILD[name]
    backbone = build().eval()
    if isinstance(backbone, torchvision.models.VisionTransformer):
        nn.init.normal_(backbone.heads.head.weight, std=0.1)  # it begins with zeros, of which every map is constant
    phi = default_phi(backbone, input_size=size)
    return Network(backbone, name=name, num_classes=5, input_size=size, phi=phi)
