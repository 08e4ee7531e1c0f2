"""The stock table of robust ImageNet networks, on a file in the form of the robustness library."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from torch import nn
from torchvision.models import resnet18

from lightning_advinterp.cli import evaluate
from lightning_advinterp.data.imagenet_classes import imagenet_classes

TABLE = Path(__file__).parents[2] / "configs" / "paper" / "robust_imagenet.yaml"
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)  # not ImageNet's: a normaliser that is dropped changes the predictions


class Normalizer(nn.Module):
    """The library's: ``helpers.InputNormalize``."""

    def __init__(self):
        super().__init__()
        self.register_buffer("new_mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("new_std", torch.tensor(STD)[:, None, None])


class Attacker(nn.Module):
    """The library's: the network again, with a normaliser of its own."""

    def __init__(self, model):
        super().__init__()
        self.normalize, self.model = Normalizer(), model


class AttackerModel(nn.Module):
    """The library's: what its checkpoints are the state of, within DataParallel."""

    def __init__(self, model):
        super().__init__()
        self.normalizer, self.model, self.attacker = Normalizer(), model, Attacker(model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint by the authors' name for it, and three images that a literal loader names differently."""
    folder = tmp_path_factory.mktemp("robust")
    torch.manual_seed(0)
    network, pixels = resnet18().eval(), torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    inputs = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        network.fc.weight.normal_()
        network.fc.bias.zero_()
        network.fc.bias -= network(inputs).mean(0)
        predictions = network(inputs).argmax(1).tolist()
    assert len(set(predictions)) == 3
    for index, image in zip(predictions, pixels, strict=True):
        place = folder / "data" / imagenet_classes()[index].wnid
        place.mkdir(parents=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / "image.png")
    wrapped = nn.DataParallel(AttackerModel(network))
    optimizer = torch.optim.SGD(wrapped.parameters(), 0.1)
    content = {"model": wrapped.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 90, "amp": None}
    path = folder / "weights" / "robust_imagenet" / "resnet18_linf_eps4.0.ckpt"
    path.parent.mkdir(parents=True)
    torch.save(content, path, _use_new_zipfile_serialization=False)  # as before PyTorch 1.6
    return folder


@pytest.mark.slow
def test_the_table_reads_the_librarys_files_as_they_are(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    flags = ["--data", "data", "--crop", "32", "--resize", "32", "--num_workers", "0", "--attack", "null"]
    evaluate(["--config", str(TABLE), *flags, "--output", "out"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "ResNet-18-linf-4, real: top1 100.00 (printed 52.49)" in printed
    assert "ResNet-50-linf-4: left out, weights: no file weights/robust_imagenet/resnet50_linf_eps4.0.ckpt" in printed
    record = json.loads((folder / "out" / "ResNet-18-linf-4" / "results.json").read_text())["provenance"]
    assert record["network"]["mean"] == pytest.approx(MEAN)
    assert record["network"]["std"] == pytest.approx(STD)
    assert record["weights"]["weights_set"] == "model:module.model."
    assert [path.name for path in (folder / "out").iterdir() if path.is_dir()] == ["ResNet-18-linf-4"]


def test_the_files_are_named_as_the_authors_name_them():
    for row in yaml.safe_load(TABLE.read_text())["rows"]:
        architecture, kind, radius = re.fullmatch(r"(\w+)_(l2|linf)_eps([\d.]+)", Path(row["weights"]).stem).groups()
        assert architecture == row["network"]
        assert row["name"].endswith(f"-{kind}-{float(radius):g}" if float(radius) else "-standard")
