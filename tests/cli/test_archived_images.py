"""Commands read tar shards and tables as they read the folder of the same images."""

import datasets
import numpy as np
import pytest
import torch
from archived import tables, write_shards
from PIL import Image
from short_configs import QUIET

from lightning_advinterp.cli import evaluate, train
from lightning_advinterp.networks import create_network

WNIDS = ("n02123045", "n02099601")


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    """Weights of a random linear network, and images of two classes in three forms."""
    folder = tmp_path_factory.mktemp("setup")
    torch.manual_seed(0)
    torch.save(create_network("helpers.PooledLinear", num_classes=2).backbone.state_dict(), folder / "weights.pth")
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in WNIDS:
            (folder / "folder" / split / name).mkdir(parents=True)
            for number in range(6):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "folder" / split / name / f"{number}.png")
    write_shards(folder / "folder", folder / "shards")
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    tables(folder / "folder")["validation"].to_parquet(str(folder / "val.parquet"))
    return folder


def test_an_evaluation_writes_the_bytes_of_the_folders(setup, tmp_path, capsys):
    network = ["--network", "helpers.PooledLinear", "--weights", str(setup / "weights.pth"), "--resize", "32"]
    flags = [*network, "--crop", "32", "--attack", "fgsm", "--limit", "9", "--num_workers", "0"]
    written = {}
    for name in ("folder", "shards/val-{00000..00002}.tar", "val.parquet"):
        output = tmp_path / str(len(written))
        classes = ["--classes", "folders"] if name == "folder" else []
        evaluate([*flags, *classes, "--data", str(setup / name), "--output", str(output)])
        written[name] = [(output / file).read_bytes() for file in ("accuracy.csv",)]
        shown = capsys.readouterr().out
        assert ("numbers that the set states" in " ".join(shown.split())) == (name != "folder")
    assert all(content == written["folder"] for content in written.values())


def test_a_training_on_shards_ends_in_the_weights_of_the_folders(setup, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    states = {}
    for name in ("folder", "shards"):
        flags = [f"--trainer.{key}={value}" for key, value in QUIET.items()]
        flags += ["--model.network=helpers.PooledLinear", "--model.objective=Standard", "--seed_everything=0"]
        flags += ["--data=ImageFolderDataModule", f"--data.init_args.root={setup / name}", "--trainer.max_epochs=1"]
        flags += ["--data.init_args.image_size=32", "--data.init_args.batch_size=4", "--data.init_args.num_workers=0"]
        train([*flags, f"--name={name}"])
        states[name] = torch.load(tmp_path / "runs" / name / "last.ckpt", weights_only=False)["state_dict"]
    assert all(torch.equal(value, states["shards"][key]) for key, value in states["folder"].items())
