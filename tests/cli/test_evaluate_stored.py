"""Stored adversarial images on the command line: every question takes them, and the record says for whom they are."""

import json

import pytest
from unit_evaluations import rows, run, write_checkpoint, write_inputs

from lightning_advinterp.cli.adversarial import main as make_set

LIVE = "{name: live, type: pgd, eps: 64/255, steps: 2}"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = write_inputs(tmp_path_factory.mktemp("inputs"))
    write_checkpoint(folder / "other.ckpt", seed=1)
    for name, network in (("own", "last"), ("theirs", "other")):
        write_set(folder, name, network, "--data", "data")
    write_set(folder, "concepts", "last", "--concepts", "broden")
    return folder


def write_set(folder, name, network, kind, source):
    flags = ["--checkpoint", str(folder / f"{network}.ckpt"), kind, str(folder / source), "--targets", "null"]
    flags += ["--attack", "{type: pgd, eps: 64/255, steps: 2}", "--pixels", "float32"]
    make_set([*flags, "--output", str(folder / name)])


def stored(folder, name, **settings):
    more = "".join(f", {key}: {value}" for key, value in settings.items())
    return f"{{name: {name}, type: stored, path: {folder / name}{more}}}"


@pytest.mark.slow
def test_every_question_takes_them_and_they_are_the_live_attacks(inputs, tmp_path, capsys):
    both = f"{{name: own, type: stored, path: {{data: {inputs / 'own'}, concepts: {inputs / 'concepts'}}}}}"
    questions = "accuracy,predictions,dissection,semantics,distances,panels"
    tables = run(
        inputs, tmp_path / "out", questions, "--concepts", str(inputs / "broden"), "--attack", f"[{LIVE}, {both}]"
    )
    for name in ("accuracy", "dissection", "dissection_summary", "semantics", "distances"):
        kinds = {kind: [] for kind in ("live", "own")}
        for row in rows(tables[name]):
            if row["images"] in kinds:
                kinds[row["images"]].append({key: value for key, value in row.items() if key != "images"})
        assert kinds["live"]
        assert kinds["own"] == kinds["live"], name
    assert all(row["own"] == row["live"] for row in rows(tables["predictions"]))
    origins = json.loads((tmp_path / "out" / "results.json").read_text())["provenance"]["made_for"]
    assert {data: by_name["own"]["made_for"] for data, by_name in origins.items()} == {
        "data": "this network",
        "concepts": "this network",
    }
    assert "own: made for this network (cifar_resnet20, weights" in " ".join(capsys.readouterr().out.split())


def test_images_of_another_network_are_named_so(inputs, tmp_path, capsys):
    run(inputs, tmp_path / "out", "accuracy", "--attack", stored(inputs, "theirs"), "--eps", "4/255")
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["provenance"]["made_for"]["data"]["theirs"]["made_for"] == "another network"
    assert "theirs: made for another network" in " ".join(capsys.readouterr().out.split())


def test_what_is_missing_is_refused_or_dropped(inputs, tmp_path, capsys):
    for number in (2, 4):
        path = next((inputs / "data").iterdir()) / f"9{number}.png"
        path.write_bytes(next((inputs / "data").rglob("0.png")).read_bytes())
    try:
        with pytest.raises(SystemExit):
            run(inputs, tmp_path / "refused", "accuracy", "--attack", stored(inputs, "own"))
        message = " ".join(capsys.readouterr().err.split())
        assert "no adversarial image of" in message or "a set of other images" in message
    finally:
        for path in (inputs / "data").rglob("9?.png"):
            path.unlink()
    flags = ["--checkpoint", str(inputs / "last.ckpt"), "--data", str(inputs / "data"), "--attack", "fgsm"]
    make_set([*flags, "--limit", "8", "--targets", "null", "--output", str(tmp_path / "few")])
    few = f"{{name: few, type: stored, path: {tmp_path / 'few'}, missing: drop}}"
    tables = run(inputs, tmp_path / "dropped", "accuracy", "--attack", few)
    assert [row["n"] for row in rows(tables["accuracy"])] == ["8", "8"]
    assert "missing: drop leaves out 7 of 15 images" in " ".join(capsys.readouterr().out.split())


def test_no_training_and_no_set_is_made_of_them(inputs, tmp_path, capsys):
    flags = ["--checkpoint", str(inputs / "last.ckpt"), "--data", str(inputs / "data"), "--output", str(tmp_path / "x")]
    with pytest.raises(SystemExit):
        make_set([*flags, "--attack", stored(inputs, "own")])
    assert "makes no images" in capsys.readouterr().err


@pytest.mark.slow
def test_own_transferred_and_ensemble_images_in_one_command(inputs, tmp_path, capsys):
    flags = ["--attack", "pgd", "--steps", "2", "--eps", "64/255", "--seed", "0"]
    flags += ["--transfer_from", str(inputs / "other.ckpt"), "--concepts", str(inputs / "broden")]
    tables = run(inputs, tmp_path / "out", "accuracy,dissection,semantics,distances", *flags)
    kinds = ["pgd", "pgd_from_other", "pgd_ensemble"]
    for name in ("accuracy", "dissection", "semantics", "distances"):
        assert list(dict.fromkeys(row["images"] for row in rows(tables[name]) if row["images"] != "real")) == kinds
    origins = json.loads((tmp_path / "out" / "results.json").read_text())["provenance"]["made_for"]["data"]
    made_for = [origins[kind]["made_for"] for kind in kinds]
    assert made_for == ["this network", "another network", "ensemble"]
    printed = " ".join(capsys.readouterr().out.split())
    assert "pgd_from_other: made for another network" in printed
    assert "pgd_ensemble: made for an ensemble" in printed
