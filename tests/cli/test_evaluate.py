"""The evaluation command by its contract: flags, files, columns, errors."""

import csv
import json
import re

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from lightning_advinterp.cli import evaluate, train
from lightning_advinterp.data.image_folder import image_tensor
from lightning_advinterp.networks import create_network

COLUMNS = ["images", "n", "top1", "top1_low", "top1_high", "top5"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    train(
        [
            *("--output", str(runs), "--name", "tiny", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
            *("--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "1"),
            *("--data", "ConceptWorldDataModule", "--data.train_size", "32", "--data.val_size", "12"),
            *("--data.image_size", "16", "--data.batch_size", "16", "--model.network", "cifar_resnet20"),
            *("--guard", "null", "--pictures", "null", "--accuracy", "null"),
        ]
    )
    return runs / "tiny" / "last.ckpt"


@pytest.fixture
def pictures(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for split, count in (("val", 3), ("train", 1)):
        for label in ("ape", "bee", "cow"):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = torch.randint(0, 256, (40, 50, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(tmp_path / "data" / split / label / f"{i}.png")
    return tmp_path / "data"


def table(folder):
    with (folder / "accuracy.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_checkpoint_on_the_embedded_data(checkpoint, tmp_path, capsys):
    evaluate(["--checkpoint", str(checkpoint), "--limit", "30", "--steps", "7", "--output", str(tmp_path / "out")])
    rows = table(tmp_path / "out")
    assert list(rows[0])[:6] == COLUMNS
    assert [(row["images"], row["n"]) for row in rows] == [("real", "30"), ("fgsm", "30")]
    assert (rows[0]["eps"], float(rows[1]["eps"]), rows[1]["steps"]) == ("", pytest.approx(4 / 255, rel=1e-5), "1")
    assert float(rows[1]["linf"]) == pytest.approx(4 / 255, rel=1e-3)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["scalars"]["accuracy"]["acc"] == pytest.approx(float(rows[0]["top1"]), abs=1e-6)
    provenance = results["provenance"]
    assert re.fullmatch("[0-9a-f]{64}", provenance["weights_sha256"])
    assert provenance["versions"]["torch"] == torch.__version__.split("+")[0]
    assert provenance["settings"]["seed"] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "accuracy.csv",
        "results.json",
        "index.html",
        "figures",
    }
    assert "tiny" in capsys.readouterr().out


def test_any_network_on_any_folder_equals_a_literal_loop(pictures, tmp_path):
    torch.manual_seed(0)
    network = create_network("cifar_resnet20", num_classes=3)
    weights = tmp_path / "weights.pth"
    torch.save(network.backbone.state_dict(), weights)
    config = tmp_path / "attacks.yaml"
    config.write_text("attack:\n- {name: weak, type: fgsm, eps: 0.25/255}\n- {name: strong, type: bim, eps: 8/255}\n")
    evaluate(
        [
            *("--config", str(config), "--network", "cifar_resnet20", "--weights", str(weights)),
            *("--data", str(pictures), "--batch_size", "2", "--output", str(tmp_path / "out")),
        ]
    )
    real, weak, strong = table(tmp_path / "out")
    network = create_network("cifar_resnet20", weights).eval()
    paths = sorted((pictures / "val").glob("*/*.png"))
    x = torch.stack([image_tensor(path, 37, 32) for path in paths]).float() / 255
    y = torch.arange(3).repeat_interleave(3)
    assert float(real["top1"]) == pytest.approx((network(x).argmax(1) == y).float().mean().item(), abs=1e-5)
    z = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(z), y), z)
    x_adv = (x + 0.25 / 255 * gradient.sign()).clamp(0, 1)
    assert float(weak["top1"]) == pytest.approx((network(x_adv).argmax(1) == y).float().mean().item(), abs=1e-5)
    assert (weak["steps"], strong["steps"]) == ("1", "10")
    assert float(strong["eps"]) == pytest.approx(8 / 255, rel=1e-5)


def test_dry_run_writes_nothing(checkpoint, tmp_path, capsys):
    flags = ["--attack", "pgd", "--steps", "5", "--limit", "20", "--output", str(tmp_path / "out"), "--dry_run", "true"]
    evaluate(["--checkpoint", str(checkpoint), *flags])
    assert "20 images, 140 forward passes, 100 backward passes" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "out").exists()


def test_two_networks_side_by_side(checkpoint, tmp_path):
    flags = ["--compare", str(checkpoint), "--limit", "12", "--output", str(tmp_path / "out")]
    evaluate(["--checkpoint", str(checkpoint), *flags])
    assert table(tmp_path / "out") == table(tmp_path / "out" / "compare")


def test_rows_of_a_table(checkpoint, tmp_path, capsys):
    config = tmp_path / "table.yaml"
    config.write_text(
        f"rows:\n- {{name: here, checkpoint: {checkpoint}, printed: {{real: {{top1: 0.5}}}}}}\n"
        "- {name: absent, checkpoint: no/such.ckpt}\n"
    )
    evaluate(["--config", str(config), "--limit", "12", "--output", str(tmp_path / "out")])
    assert len(table(tmp_path / "out" / "here")) == 2
    printed = " ".join(capsys.readouterr().out.split())
    assert "absent: left out" in printed
    assert "(printed 50.00)" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--analyses", "acuracy"], "analyses must be among accuracy, predictions, or all; got 'acuracy'"),
        (["--analyses", "accuracy,dissection"], "dissection is not part of this version"),
        (["--attack", "fgsn"], "got 'fgsn' (did you mean fgsm?)"),
        (["--eps", "4"], 'write "4/255"'),
        (["--network", "resnet18"], "Give either --checkpoint RUN/last.ckpt, or --network"),
        (["--device", "tpu9"], "device 'tpu9' cannot be used here; there are cpu"),
        (["--limit", "0"], "limit must be"),
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--checkpoint", "no/such.ckpt"], "no file no/such.ckpt"),
    ],
)
def test_wrong_flags_are_refused(checkpoint, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        evaluate(["--checkpoint", str(checkpoint), "--output", str(tmp_path / "out"), *flags])
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_something_else_is_refused(tmp_path, capsys):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(SystemExit):
        evaluate(["--checkpoint", str(tmp_path / "other.ckpt")])
    assert "was not written by a run of this project" in capsys.readouterr().err


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'pwned')!r}, 'w')",))

    torch.save({"advinterp": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(SystemExit):
        evaluate(["--checkpoint", str(tmp_path / "evil.ckpt")])
    assert "cannot be read as plain data" in capsys.readouterr().err
    assert not (tmp_path / "pwned").exists()
