"""What stands beside an evaluation: further networks, evaluated alike, and evaluations that are there already."""

import hashlib
import json
import shutil
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from unit_evaluations import run, write_checkpoint

from lightning_advinterp.cli.evaluation.command import read_evaluation
from lightning_advinterp.cli.evaluation.compared import compared
from lightning_advinterp.cli.evaluation.copied import copy_evaluation, print_unlike, unlike_settings
from lightning_advinterp.cli.evaluation.place import Place
from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.data.concept_world import CLASSES
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.networks.choice import NetworkChoice
from lightning_advinterp.report import store
from lightning_advinterp.report.load import read_results


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("second") / "other.ckpt", seed=1)


@pytest.fixture(scope="module")
def earlier(inputs, second, tmp_path_factory):
    """The evaluation of a second network."""
    folder = tmp_path_factory.mktemp("earlier") / "out"
    changed = shutil.copytree(inputs, folder.parent / "inputs")
    shutil.copy(second, changed / "last.ckpt")
    run(changed, folder, "accuracy")
    return folder


@pytest.fixture(scope="module")
def beside(inputs, second, earlier, tmp_path_factory):
    """One network with a checkpoint, a network by its weights, and a stored evaluation beside it."""
    out = tmp_path_factory.mktemp("beside") / "out"
    network = load_checkpoint(second).network
    weights = out.parent / "weights.pt"
    torch.save(network.backbone.state_dict(), weights)
    choice = f"{{network: cifar_resnet20, weights: {weights}, num_classes: {network.num_classes}, input_size: 16}}"
    names = out.parent / "names.txt"
    names.write_text("\n".join(entry.wnid for entry in CLASSES))
    run(inputs, out, "accuracy", "--compare", str(second), choice, str(earlier), "--classes", str(names))
    return out


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.mark.slow
def test_networks_and_a_stored_evaluation_stand_beside_the_first(beside, earlier):
    assert record(beside)["folders"] == ["compare", "compare-2", "compare-3"]
    hashes = [record(beside / name)["provenance"]["weights_sha256"] for name in record(beside)["folders"]]
    assert len(set(hashes)) == 1
    assert record(beside)["provenance"]["weights_sha256"] != hashes[0]
    rows = [read_results(beside / name)["accuracy"].tables for name in record(beside)["folders"]]
    assert rows[0] == rows[2] == read_results(earlier)["accuracy"].tables
    assert [row["top1"] for row in rows[1]["accuracy"]] == [row["top1"] for row in rows[0]["accuracy"]]


@pytest.mark.slow
def test_a_copy_is_the_evaluation_byte_by_byte(beside, earlier):
    for name in [*record(earlier)["files"], "results.json"]:
        assert (beside / "compare-3" / name).read_bytes() == (earlier / name).read_bytes()
    assert not store.differing(beside / "compare-3", record(earlier))


@pytest.mark.slow
def test_one_page_shows_all(beside):
    page = (beside / "index.html").read_text()
    for name in ("compare", "compare-2", "compare-3"):
        assert f"{name}/accuracy.csv" in page
    assert not store.differing(beside, record(beside))


def test_a_copy_made_again_stays_and_another_moves_it(earlier, tmp_path):
    out, console = shutil.copytree(earlier, tmp_path / "out"), Console(file=StringIO(), width=300)
    for _ in range(2):
        title, results = copy_evaluation(earlier, out / "compare", Place(out, console), console)
        assert Path(title).name == "last.ckpt"
        assert results["accuracy"].tables == read_results(earlier)["accuracy"].tables
        assert not out.with_name("out.old-1").exists()
    edited = shutil.copytree(earlier, tmp_path / "other")
    (edited / "accuracy.csv").write_text((edited / "accuracy.csv").read_text().replace("real", "plain"))
    changed = record(edited)
    changed["depends_on"]["eps"] = "another"
    unsigned = {key: value for key, value in changed.items() if key != "sha256"}
    store.write_record(
        edited, unsigned | {"files": changed["files"] | {"accuracy.csv": digest(edited / "accuracy.csv")}}
    )
    copy_evaluation(edited, out / "compare", Place(out, console), console)
    assert record(out.with_name("out.old-1") / "compare") == record(earlier)
    assert record(out / "compare") == record(edited)
    print_unlike(out, out / "compare", edited, console)
    assert f"{edited} was evaluated with other eps: what differs is not due to" in console.file.getvalue()


def test_what_the_networks_alone_differ_in_is_not_said():
    before, now = ({"depends_on": {"network": name, "seed": "0", "data": "a", "members": name}} for name in "ab")
    assert unlike_settings(before, now) == []
    now["depends_on"]["data"] = "b"
    assert unlike_settings(before, now) == ["data"]


def test_entries_of_every_kind(second, earlier, tmp_path):
    # Shells hand on words: settings of a network are text there.
    text = f"[{second}, '{{network: resnet18, weights: w.pt}}']"
    assert list(compared(text).values()) == [
        NetworkChoice(checkpoint=str(second)),
        NetworkChoice(network="resnet18", weights="w.pt"),
    ]
    assert compared((str(earlier),)) == {"compare": earlier.resolve()}
    assert compared(None) == compared("") == {}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("resnet18", "a network by its name needs its weights, {network: resnet18, weights: FILE}"),
        (("a.ckpt", "a.ckpt"), "compare: a.ckpt stands twice"),
        ({"network": "resnet18", "wieghts": "f"}, "a network has no wieghts; its settings are network, weights"),
        ({"weights": "f"}, "needs either network .* or checkpoint, got network=None and checkpoint=None"),
    ],
)
def test_what_is_none_of_them_is_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        compared(entry)


def test_folders_without_a_whole_evaluation_are_refused(inputs, earlier, second, tmp_path):
    shutil.copy(second, tmp_path / "last.ckpt")
    with pytest.raises(FileNotFoundError, match=r"no evaluation here .* A run is named by its checkpoint"):
        compared(str(tmp_path))
    damaged = shutil.copytree(earlier, tmp_path / "damaged")
    (damaged / "accuracy.csv").write_text("edited")
    with pytest.raises(DamagedFileError, match=r"accuracy.csv is missing or is not what was written"):
        compared(str(damaged))
    table = tmp_path / "table"
    table.mkdir()
    store.write_record(table, {"folders": ["a", "b"], "files": {}})
    with pytest.raises(ValueError, match=r"a table of several networks; name them, .*table/a, .*table/b"):
        compared(str(table))


def test_an_evaluation_is_not_copied_into_itself(inputs, earlier, tmp_path, capsys):
    out = shutil.copytree(earlier, tmp_path / "out")
    with pytest.raises(SystemExit):
        run(inputs, out, "accuracy", "--compare", str(out))
    assert "lie in one another; choose another output" in capsys.readouterr().err
    assert record(out) == record(earlier)


def test_one_name_stays_one_and_several_may_stand_one_after_the_other():
    assert read_evaluation(["--compare", "a.ckpt", "--attack", "fgsm"]).compare == "a.ckpt"
    assert read_evaluation(["--compare", "a.ckpt", "b.ckpt", "--seed", "1"]).compare == ("a.ckpt", "b.ckpt")
