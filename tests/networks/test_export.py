"""Exported backbones load elsewhere and answer alike: the code of the docs is what runs."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from helpers import small_network
from safetensors.torch import load_file

from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.export import describe, export_network

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
TORCHVISION, TIMM, OURS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
CLASSES = ["n01440764", "n02102040", "my cats", "n03000684", "n03028079"]
NAMES = ["tench", "English springer", "my cats", "chain saw", "church"]


def network_of(name, size=64, **settings):
    torch.manual_seed(0)
    network = create_network(name, num_classes=5, input_size=size, **settings).eval()
    for buffer in network.buffers():
        if buffer.dtype.is_floating_point and buffer.dim() == 1:
            buffer.uniform_(0.5, 1.5)
    return network


def run(code, folder, pixels):
    """Execute a snippet of the page as it stands, but for the folder's name."""
    names = {"pixels": pixels, "torch": torch, "json": json}
    with torch.no_grad():
        exec(code.replace("exports/NAME", str(folder)), names)
    return names


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the page opens its file in one line
@pytest.mark.parametrize(
    ("name", "size", "snippets"),
    [
        ("resnet18", 64, (TORCHVISION, TIMM, OURS)),
        ("inception_v3", 75, (TORCHVISION, TIMM, OURS)),
        ("squeezenet1_0", 64, (TORCHVISION, OURS)),
        ("timm/resnet10t", 64, (TIMM, OURS)),
        ("cifar_resnet20", 32, (OURS,)),
    ],
)
def test_logits_are_the_same_elsewhere(tmp_path, name, size, snippets):
    network, pixels = network_of(name, size).to(memory_format=torch.channels_last), torch.rand(2, 3, size, size)
    export_network(network, tmp_path / "out", classes=CLASSES, class_names=NAMES)
    with torch.no_grad():
        expected = network(pixels)
    for code in snippets:
        names = run(code, tmp_path / "out", pixels)
        torch.testing.assert_close(names["logits"], expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 1e-3


def test_exchanged_stems_load_here(tmp_path):
    network = network_of("resnet18", 32, stem="small")
    _, config = export_network(network, tmp_path)
    assert json.loads(config.read_text())["advinterp"]["library"] == "lightning_advinterp"
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        again = create_network(**network.spec(), weights=tmp_path / "model.safetensors").eval()
        torch.testing.assert_close(again(pixels), network(pixels))


def test_what_the_files_say(tmp_path):
    network = network_of("resnet18")
    weights, config = export_network(
        network, tmp_path / "a" / "b", classes=CLASSES, class_names=NAMES, resize=70, averaged=True
    )
    assert sorted(path.name for path in weights.parent.iterdir()) == ["config.json", "model.safetensors"]
    tensors = load_file(weights)
    assert tensors.keys() == torchvision.models.resnet18(num_classes=5).state_dict().keys()
    content = json.loads(config.read_text())
    assert content["architecture"] == "resnet18"
    assert content["pretrained_cfg"] == {
        "input_size": [3, 64, 64],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "interpolation": "bilinear",
        "crop_pct": 64 / 70,
        "num_classes": 5,
    }
    more = content["advinterp"]
    assert (more["library"], more["phi"], more["resize"], more["averaged"]) == ("torchvision", "layer4", 70, True)
    assert more["classes"][1] == {
        "index": 1,
        "wnid": "n02102040",
        "folder": "n02102040",
        "name": "English springer",
    }
    assert more["classes"][2] == {"index": 2, "wnid": None, "folder": "my cats", "name": "my cats"}
    assert more["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert timm.create_model(f"local-dir:{weights.parent}", pretrained=False).pretrained_cfg["label_names"] == CLASSES


def test_tied_weights_and_classes_of_ones_own(tmp_path):
    network = small_network()
    network.backbone.conv1.bias = network.backbone.bn1.bias  # two names of one tensor
    network.name = "helpers.SmallBackbone"
    weights, _ = export_network(network, tmp_path)
    tensors = load_file(weights)
    assert torch.equal(tensors["conv1.bias"], tensors["bn1.bias"])
    described = describe(network)
    assert (described["architecture"], described["advinterp"]["library"]) == ("helpers.SmallBackbone", None)
    assert described["advinterp"]["classes"] == []


def test_a_broken_export_leaves_the_old_files(tmp_path, monkeypatch):
    export_network(network_of("cifar_resnet20", 32), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    torch.manual_seed(1)
    with pytest.raises(OSError, match="No space left"):
        export_network(create_network("cifar_resnet20"), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_wrong_numbers_of_classes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="classes must name each of 5 outputs, got 2"):
        export_network(network_of("cifar_resnet20", 32), tmp_path, classes=["a", "b"])
    assert not list(tmp_path.iterdir())
