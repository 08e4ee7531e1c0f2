"""What the tests of dissection, semantics and panels on the command line share."""

import csv
import io
from contextlib import contextmanager

import pytest
import torch
from broden_sets import write_set
from interruptions import PowerCut
from PIL import Image

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.base.journal import Journal
from lightning_advinterp.cli import evaluate
from lightning_advinterp.data.concept_world import CLASSES, ConceptWorld
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.checkpoint import CHECKPOINT_FORMAT

FAST = """
dissection: {quantile: 0.9, groups: 4, replicates: 20}
semantics: {share: 0.2, sample: 20, layers: last}
panels: {layers: 1, count: 1, images: 2}
curvature: {limit: 2, lanczos: 3, probes: 2}
"""
"""Settings with which figures and bootstraps cost little."""


def write_checkpoint(path, seed=0, size=16):
    """A random network of the concept world's classes that tells its pictures apart."""
    torch.manual_seed(seed)
    network = create_network("cifar_resnet20", num_classes=len(CLASSES), input_size=size).eval()
    x = ConceptWorld("val", 12, size=size).images / 255
    with torch.no_grad():
        head = network.backbone.get_submodule(network.head)
        head.weight.mul_(30)
        head.bias.sub_(network(x).mean(0))
    names = {"classes": [entry.wnid for entry in CLASSES], "class_names": [entry.name for entry in CLASSES]}
    weights = {f"network.backbone.{key}": value for key, value in network.backbone.state_dict().items()}
    meta = {"format": CHECKPOINT_FORMAT, "network": network.spec(), "seed": 0, **names}
    torch.save({"advinterp": meta, "state_dict": weights}, path)
    return path


def write_inputs(folder):
    """A checkpoint, a set in Broden's format, images of 3 of the network's 12 classes, and quick settings."""
    write_checkpoint(folder / "last.ckpt")
    write_set(folder / "broden")
    generator = torch.Generator().manual_seed(0)
    for entry in CLASSES[:3]:
        (folder / "data" / entry.wnid).mkdir(parents=True)
        for number in range(5):
            pixels = torch.randint(0, 256, (20, 20, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(folder / "data" / entry.wnid / f"{number}.png")
    (folder / "fast.yaml").write_text(FAST)
    return folder


def run(inputs, output, analyses, *flags, config=""):
    """Evaluate, and return the tables by name."""
    parts = ["--config", str(inputs / "fast.yaml")]
    if config:
        (output.parent / f"{output.name}.yaml").write_text(config)
        parts += ["--config", str(output.parent / f"{output.name}.yaml")]
    parts += ["--checkpoint", str(inputs / "last.ckpt"), "--data", str(inputs / "data"), "--num_workers", "0"]
    evaluate([*parts, "--analyses", analyses, "--output", str(output), *flags])
    return tables(output)


@contextmanager
def power_cut(monkeypatch, batch=3):
    """What is evaluated within breaks at a batch, counted from 1."""
    observe, batches = Runner._observe, []

    def failing(self, images, wants):
        batches.append(images)
        if len(batches) == batch:
            raise PowerCut
        return observe(self, images, wants)

    with monkeypatch.context() as patched:
        patched.setattr(Runner, "_observe", failing)
        with pytest.raises(PowerCut):
            yield


def write_every_journal(monkeypatch):
    """Journals are written after every batch."""
    save = Journal.save
    monkeypatch.setattr(Journal, "save", lambda *arguments, now=False: save(*arguments, now=True))


def tables(folder):
    return {path.stem: path.read_text() for path in folder.glob("*.csv")} if folder.exists() else {}


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def table(folder, name):
    """Return the rows of one table."""
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
