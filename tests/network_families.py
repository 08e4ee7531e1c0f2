"""Which analysis works on which family of networks: every one is run on a small random network of each.

python tests/network_families.py          # print the table of docs/networks.md, about twenty minutes
python tests/network_families.py ViT      # one family
"""

import logging
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import torch

import lightning_advinterp as advinterp
from lightning_advinterp.analyses.registry import QUESTIONS
from lightning_advinterp.data.concept_world import CLASSES, ConceptWorld
from lightning_advinterp.data.loaders import collate_batch

TRANSFORMER = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 2}
SWIN = {"img_size": 64, "window_size": 4, "depths": (1, 1), "embed_dim": 12, "num_heads": (1, 2)}
FAMILIES = {
    "AlexNet": ("alexnet", {}, 64),
    "VGG": ("timm/vgg11", {"mlp_ratio": 0.02}, 32),
    "ResNet": ("resnet18", {}, 32),
    "Inception v3": ("inception_v3", {}, 75),
    "SqueezeNet": ("squeezenet1_1", {}, 64),
    "DenseNet": ("timm/densenet121", {"growth_rate": 8, "block_config": (2, 2, 2, 2)}, 64),
    "MobileNetV3": ("mobilenet_v3_small", {}, 64),
    "EfficientNet": ("timm/efficientnet_lite0", {}, 64),
    "ConvNeXt": ("timm/convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 12, 16, 20)}, 64),
    "ViT": ("timm/vit_tiny_patch16_224", TRANSFORMER, 32),
    "DeiT": ("timm/deit_tiny_distilled_patch16_224", TRANSFORMER, 32),
    "Swin": ("timm/swin_tiny_patch4_window7_224", SWIN, 64),
    "WRN": ("robustbench:WRN-10-1", {}, 32),
    "CLIP-ViT": ("timm/vit_base_patch32_clip_quickgelu_224", TRANSFORMER, 32),
}
"""Family to the network's name, options of its constructor, and the side of its images."""

SETTINGS = {
    "dissection": {"quantile": 0.9, "groups": 2, "replicates": 5},
    "semantics": {"share": 0.2, "sample": 10, "layers": "all"},
    "panels": {"layers": 1, "count": 1, "images": 1},
    "curvature": {"limit": 2, "lanczos": 2, "probes": 2},
    "fragility": {"preset": "quick", "limit": 2, "steps": 2, "faithfulness": 0, "show": 1},
    "influence": {"test": 1, "show": 1},
    "promotion": {"limit": 2, "cell": 16, "show": 1},
    "sensitivity": {"noise": False},
    "detection": {"adaptive_images": 2, "steps": 1, "rate": 0.5},
    "tracing": {"limit": 2, "show": 1, "units": 3, "screen": 4, "layers": "last"},
}
"""What makes the analyses quick; nothing that decides whether they work."""

CALIBRATED = ("Inception v3",)
"""Families whose first weights make activations of 10⁷: BatchNorm takes its statistics from a batch of pictures."""

LAYERS = {"panels": "last"}
"""Where an analysis' own default is of convolutions alone, which transformers have none of."""

WORKS = "works"
_IMAGES = 24
IMAGES = {"influence": 48}
"""Images of an analysis that needs more than the others: a few of every class are held out of its training."""


def weights_of(family, data, folder):
    """Return the file of a calibrated network's weights; None for a family that needs none."""
    if family not in CALIBRATED:
        return None
    path = Path(folder) / f"weights_{len(data)}.pth"
    if path.exists():  # made for another analysis, from the same seed
        return str(path)
    name, options, size = FAMILIES[family]
    network = advinterp.create_network(name, num_classes=len(CLASSES), input_size=size, **options).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(collate_batch([data[number] for number in range(_IMAGES)]).to_float().image)
    torch.save(network.backbone.state_dict(), path)
    return str(path)


def outcome(family, analysis, folder):
    """Run one analysis on one family, and return ``works``, or the first sentence of the refusal.

    Raises:
        AssertionError: if it ends in anything else, or a refused analysis leaves a page.
    """
    name, options, size = FAMILIES[family]
    images = IMAGES.get(analysis, _IMAGES)
    data = ConceptWorld("val", images, size=size)
    output = Path(folder) / f"{family} {analysis}".replace(" ", "_")
    torch.manual_seed(0)
    weights = weights_of(family, data, folder)
    settings = {analysis: SETTINGS[analysis]} if analysis in SETTINGS else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = advinterp.evaluate(
                name, data, quiet=True, analyses=analysis, output=str(output), num_classes=len(CLASSES),
                network_options=options, input_size=size, weights=weights,
                attack="fgsm", eps="8/255", concepts="concept_world",
                limit=images, batch_size=12, num_workers=0, device="cpu", least_success=0, layers=LAYERS.get(analysis),
                **settings,
            )  # fmt: skip
    except (ValueError, FileNotFoundError) as error:
        assert not (output / "index.html").exists(), f"{family}, {analysis}: a refused analysis left a page"
        return str(error).splitlines()[0]
    assert any(result.tables for result in results.values()), f"{family}, {analysis}: no table"
    assert (output / "index.html").exists(), f"{family}, {analysis}: no page"
    return WORKS


def outcomes(families=tuple(FAMILIES)):
    """Return what every analysis says to every family, by analysis and family."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for analysis in QUESTIONS:
            rows[analysis] = {family: outcome(family, analysis, folder) for family in families}
    return rows


def main():
    logging.disable(logging.WARNING)
    for family in sys.argv[1:] or FAMILIES:
        for analysis in QUESTIONS:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    print(f"{family:14} {analysis:12} {outcome(family, analysis, folder)}", flush=True)
                except Exception as error:
                    traceback.print_exc(limit=-4)
                    print(f"{family:14} {analysis:12} TRACEBACK {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
