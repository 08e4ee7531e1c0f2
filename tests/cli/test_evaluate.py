"""The evaluation command by its contract: flags, files, columns, errors."""

import csv
import json
import re

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from lightning_advinterp.cli import evaluate, train
from lightning_advinterp.cli.evaluation.command import read_evaluation
from lightning_advinterp.data.concept_world import CLASSES
from lightning_advinterp.data.image_folder import image_tensor
from lightning_advinterp.networks import create_network, weights_hash
from lightning_advinterp.networks.checkpoint import load_checkpoint

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


def sensitive_network(x):
    """A random network gives all noise the same class; here the head's bias is set so that images differ."""
    torch.manual_seed(0)
    network = create_network("cifar_resnet20", num_classes=3).eval()
    with torch.no_grad():
        head = network.backbone.get_submodule(network.head)
        head.weight.mul_(30)
        head.bias.sub_(network(x).mean(0))
    return network


def test_any_network_on_any_folder_equals_a_literal_loop(pictures, tmp_path):
    paths = sorted((pictures / "val").glob("*/*.png"))
    x = torch.stack([image_tensor(path, 40, 32) for path in paths]).float() / 255
    network = sensitive_network(x)
    weights = tmp_path / "weights.pth"
    torch.save(network.backbone.state_dict(), weights)
    config = tmp_path / "attacks.yaml"
    config.write_text("attack:\n- {name: weak, type: fgsm, eps: 0.25/255}\n- {name: strong, type: bim, eps: 8/255}\n")
    evaluate(
        [
            *("--config", str(config), "--network", "cifar_resnet20", "--weights", str(weights), "--resize", "40"),
            *("--data", str(pictures), "--batch_size", "2", "--classes", "folders", "--output", str(tmp_path / "out")),
            *("--analyses", "accuracy,predictions"),
        ]
    )
    real, weak, strong = table(tmp_path / "out")
    network = create_network("cifar_resnet20", weights).eval()
    y = torch.arange(3).repeat_interleave(3)
    z = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(z), y), z)
    x_adv = (x + 0.25 / 255 * gradient.sign()).clamp(0, 1)
    with torch.no_grad():
        expected = {"real": network(x).argmax(1), "weak": network(x_adv).argmax(1)}
        otherwise = network(torch.stack([image_tensor(path, 64, 32) for path in paths]).float() / 255).argmax(1)
    assert not torch.equal(expected["real"], otherwise)  # else a wrong resize could not show
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [path.relative_to(pictures).as_posix() for path in paths]
    assert [int(row["label"]) for row in rows] == y.tolist()
    for kind, classes in expected.items():
        assert [int(row[kind]) for row in rows] == classes.tolist()
        top1 = float({"real": real, "weak": weak}[kind]["top1"])
        assert top1 == pytest.approx((classes == y).float().mean().item(), abs=1e-5)
    assert (weak["steps"], strong["steps"]) == ("1", "10")
    assert float(strong["eps"]) == pytest.approx(8 / 255, rel=1e-5)


def test_labels_go_by_the_names_that_a_checkpoint_records(checkpoint, tmp_path, capsys):
    """A folder with one class of twelve, by its wnid or by its name, has that class's label, not the first."""
    for number, name in enumerate(("n02084071", "dog")):
        folder = tmp_path / f"set{number}" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 40), (90, 60, 30)).save(folder / "a.png")
        flags = ["--data", str(folder.parent), "--analyses", "predictions", "--attack", "null"]
        evaluate(["--checkpoint", str(checkpoint), *flags, "--output", str(tmp_path / "out")])
        with (tmp_path / "out" / "predictions.csv").open() as file:
            (row,) = csv.DictReader(file)
        assert int(row["label"]) == [item.wnid for item in CLASSES].index("n02084071") == 1
    (tmp_path / "set0" / "unicorn").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "set0" / "unicorn" / "b.png")
    with pytest.raises(SystemExit):
        evaluate(["--checkpoint", str(checkpoint), "--data", str(tmp_path / "set0"), "--output", str(tmp_path / "no")])
    assert "1 of the 2 class folders are none of them (unicorn)" in " ".join(capsys.readouterr().err.split())


def test_a_skipped_image_is_counted_and_named(checkpoint, tmp_path):
    folder = tmp_path / "set" / "dog"
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"broken")
    flags = ["--data", str(folder.parent), "--on_bad_image", "skip", "--num_workers", "0"]
    with pytest.warns(UserWarning, match=r"skipped 1 of 2 images .*dog/b.png"):
        evaluate(["--checkpoint", str(checkpoint), *flags, "--output", str(tmp_path / "out")])
    assert table(tmp_path / "out")[0]["n"] == "1"
    provenance = json.loads((tmp_path / "out" / "results.json").read_text())["provenance"]
    assert provenance["data"]["skipped"] == ["dog/b.png"]


def test_images_may_stand_one_after_the_other():
    words = ["--images", "a.jpg", "b.jpg", "--dry_run", "--seed", "3", "--data", "concept_world"]
    evaluation = read_evaluation(words)
    assert (evaluation.images, evaluation.dry_run, evaluation.seed) == (["a.jpg", "b.jpg"], True, 3)


def test_dry_run_writes_nothing(checkpoint, tmp_path, capsys):
    flags = ["--attack", "pgd", "--steps", "5", "--limit", "20", "--output", str(tmp_path / "out"), "--dry_run"]
    evaluate(["--checkpoint", str(checkpoint), *flags])
    assert "20 images, 140 forward passes, 100 backward passes" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "out").exists()


def test_two_networks_side_by_side(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    for tensor in content["state_dict"].values():
        tensor.copy_(tensor.roll(1)) if tensor.dim() > 1 else None
    rolled = tmp_path / "other.ckpt"
    torch.save(content, rolled)
    flags = ["--limit", "12", "--attack", "null", "--output", str(tmp_path / "out")]
    evaluate(["--checkpoint", str(checkpoint), "--compare", str(rolled), *flags])
    hashes = []
    for folder in (tmp_path / "out", tmp_path / "out" / "compare"):
        hashes.append(json.loads((folder / "results.json").read_text())["provenance"]["weights_sha256"])
    assert hashes == [weights_hash(load_checkpoint(path).network) for path in (checkpoint, rolled)]
    assert hashes[0] != hashes[1]


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
        (["--analyses", "acuracy"], "or all; got 'acuracy'"),
        (["--analyses", "accuracy,dissection"], "concepts: dissection needs images with labels of concepts; give"),
        (["--analyses", "dissection", "--concepts", "no_set"], "concepts: there is no 'no_set'"),
        (["--analyses", "dissection", "--concepts", "no_set"], "script/dlbroden.sh fetches broden1_224"),
        (["--attack", "fgsn"], "got 'fgsn' (did you mean fgsm?)"),
        (["--eps", "4"], 'write "4/255"'),
        (["--network", "resnet18"], "Give either --checkpoint RUN/last.ckpt, or --network"),
        (["--num_classes", "5"], "num_classes=5 contradicts the checkpoint"),
        (["--compare", "no/such.ckpt"], "no file no/such.ckpt"),
        (["--compare", "Carmon2019Unlabeled"], "{network: robustbench:Carmon2019Unlabeled, weights: FILE}"),
        (["--layers", "layer9"], "layer9"),
        (["--images", "no/such.jpg"], "images: there is no 'no/such.jpg'"),
        (["--attack", "null", "--eps", "8/255"], "eps='8/255' belongs to an attack given by its name"),
        (["--attack", "null", "--steps", "5"], "steps=5 belongs to an attack given by its name"),
        (["--least_success", "10"], "least_success must be a share from 0 to 1, got 10"),
        (["--output", __file__], "is no writable folder"),
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
    assert "holds more than tensors and plain data: exec" in capsys.readouterr().err
    assert not (tmp_path / "pwned").exists()
