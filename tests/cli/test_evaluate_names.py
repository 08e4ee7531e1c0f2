"""An evaluation of files, classes and attacks of any name: everything is written, below the output, in UTF-8."""

import csv
import json
import os

import numpy as np
import torch
from helpers import PooledLinear
from PIL import Image

from lightning_advinterp.cli.evaluation.command import evaluate

CLASSES = [b"$\\frac{$", b"[red]x[bold]", b"=1+1", b"caf\xe9", b"\x1b[31mred", b"a|b <b>"]


def test_names_of_any_kind(tmp_path, capfd):
    root = os.fsencode(tmp_path / "data")
    for number, name in enumerate(CLASSES):
        os.makedirs(os.path.join(root, name))
        with open(os.path.join(root, name, b"-im\xff.png"), "wb") as file:
            Image.fromarray(np.full((16, 16, 3), 40 * number, np.uint8)).save(file, "png")
    torch.manual_seed(0)
    torch.save(PooledLinear(6).state_dict(), tmp_path / "w.pth")
    attack = json.dumps([{"type": "fgsm", "name": "../[red]$x$", "eps": "4/255"}])
    evaluate(
        [
            *("--network", "helpers.PooledLinear", "--num_classes", "6", "--weights", str(tmp_path / "w.pth")),
            *("--data", str(tmp_path / "data"), "--classes", "folders", "--analyses", "accuracy,predictions"),
            *("--crop", "16", "--resize", "16", "--num_workers", "0", "--device", "cpu", "--attack", attack),
            *("--output", str(tmp_path / "out")),
        ]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out", "w.pth"]
    told = capfd.readouterr().out
    assert "../[red]$x$" in told
    assert "\x1b[31mred" not in told
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["image"] for row in rows} == {
        "$\\frac{$/-im\\xff.png", "[red]x[bold]/-im\\xff.png", "'=1+1/-im\\xff.png", "caf\\xe9/-im\\xff.png",
        "\\x1b[31mred/-im\\xff.png", "a|b <b>/-im\\xff.png",
    }  # fmt: skip
    assert "../[red]$x$" in rows[0]
    json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert "a|b &lt;b&gt;/" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "figures" / "accuracy.png").stat().st_size
