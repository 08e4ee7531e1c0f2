"""One folder holds the results of one evaluation: others are moved aside, and nothing that is not ours is touched."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from interruptions import PowerCut
from lanes import few_fast
from unit_evaluations import power_cut, run, tables, write_checkpoint, write_every_journal

from lightning_advinterp.report import store


@pytest.fixture(scope="module")
def first(inputs, tmp_path_factory):
    """A folder with one evaluation, and a file of the user's."""
    folder = tmp_path_factory.mktemp("first") / "out"
    run(inputs, folder, "accuracy,predictions")
    (folder / "notes.csv").write_text("mine\n")
    (folder / "figures" / "mine.png").write_text("mine")
    return folder


@pytest.fixture
def out(first, tmp_path):
    shutil.copytree(first, tmp_path / "out")
    return tmp_path / "out"


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


OURS = ["accuracy.csv", "figures/accuracy.png", "index.html", "predictions.csv", "results.json"]
THEIRS = ["figures/mine.png", "notes.csv"]


def test_the_record_lists_the_files_with_their_hashes(out):
    record = json.loads((out / "results.json").read_text())
    assert sorted([*record["files"], "results.json"]) == OURS
    for name, digest in record["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    assert record["analyses"]["accuracy"]["files"] == ["accuracy.csv", "figures/accuracy.png"]
    assert files(out) == sorted(OURS + THEIRS)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--eps", "5/255"), "eps"),
        (("--attack", "pgd"), "attack"),
        (("--seed", "1"), "seed"),
        (("--limit", "6"), "limit"),
        (("--crop", "24"), "network"),
        (("--attack", "null"), "attack"),
    ],
)
def test_other_settings_move_what_was_there(inputs, out, capsys, flags, reason):
    before = {name: (out / name).read_bytes() for name in OURS}
    run(inputs, out, "predictions", *flags)
    aside = out.with_name("out.old-1")
    assert {name: (aside / name).read_bytes() for name in files(aside)} == before
    assert files(out) == sorted(["predictions.csv", "index.html", "results.json", *THEIRS])
    line = next(line for line in capsys.readouterr().out.splitlines() if "moved to" in line)
    assert str(aside) in line
    assert reason in line
    run(inputs, out, "predictions")
    assert files(out.with_name("out.old-2")) == ["index.html", "predictions.csv", "results.json"]


def test_another_network_and_other_images_move_what_was_there(inputs, out, tmp_path):
    changed = shutil.copytree(inputs, tmp_path / "inputs")
    write_checkpoint(changed / "last.ckpt", seed=1)
    run(changed, out, "accuracy")
    assert files(out.with_name("out.old-1")) == OURS
    shutil.copytree(inputs / "data", changed / "data", dirs_exist_ok=True)
    next((changed / "data").rglob("*.png")).unlink()
    run(changed, out, "accuracy")
    assert files(out.with_name("out.old-2")) == ["accuracy.csv", "figures/accuracy.png", "index.html", "results.json"]


def test_the_same_settings_replace(inputs, out):
    before = tables(out)
    (out / "accuracy.csv").write_text("edited")
    run(inputs, out, "accuracy,predictions", "--batch_size", "4", "--num_workers", "0")
    assert tables(out) == before
    assert not out.with_name("out.old-1").exists()


def test_another_analysis_of_the_same_evaluation_stands_beside(inputs, out):
    expected = run(inputs, out.with_name("whole"), "accuracy,predictions,curvature")
    run(inputs, out, "curvature", "--attack", "pgd")  # which it does not look at
    assert not out.with_name("out.old-1").exists()
    assert {name: text for name, text in tables(out).items() if name != "notes"} == expected
    records = [json.loads((folder / "results.json").read_text()) for folder in (out, out.with_name("whole"))]
    assert records[0]["scalars"] == records[1]["scalars"]
    assert set(records[0]["files"]) == set(records[1]["files"])
    assert records[0]["provenance"]["settings"]["attack"] == "fgsm"
    page = (out / "index.html").read_text()
    assert "accuracy.csv" in page
    assert "curvature.csv" in page
    assert not store.differing(out, records[0])
    run(inputs, out, "accuracy", "--attack", "pgd")  # which this one does
    assert "curvature.csv" in files(out.with_name("out.old-1"))
    assert sorted(tables(out)) == ["accuracy", "notes"]


def test_a_second_network_moves_with_the_first(inputs, tmp_path):
    out, second = tmp_path / "out", write_checkpoint(tmp_path / "other.ckpt", seed=1)
    run(inputs, out, "accuracy", "--compare", str(second))
    run(inputs, out, "accuracy", "--seed", "1")
    assert not (out / "compare").exists()
    assert "compare/accuracy.csv" in files(tmp_path / "out.old-1")
    config = f"rows:\n- {{name: a, checkpoint: {second}}}\n"
    run(inputs, out, "accuracy", config=config)
    page_and_record = ["index.html", "results.json"]
    assert files(out) == [f"a/{name}" for name in OURS if name != "predictions.csv"] + page_and_record
    run(inputs, out, "accuracy")
    assert not (out / "a").exists()


def test_results_of_earlier_versions_are_known_by_their_names(inputs, out):
    record = json.loads((out / "results.json").read_text())
    (out / "results.json").write_text(json.dumps({key: record[key] for key in ("scalars", "provenance")}))
    (out / "figures" / "mine.png").unlink()
    run(inputs, out, "predictions")
    assert files(out.with_name("out.old-1")) == OURS


def test_a_dry_run_moves_nothing(inputs, out):
    before = files(out)
    run(inputs, out, "accuracy", "--seed", "1", "--dry_run")
    assert files(out) == before
    assert not out.with_name("out.old-1").exists()


def test_an_unfinished_evaluation_of_other_settings_is_moved_and_goes_on_there(inputs, tmp_path, monkeypatch, capsys):
    out, flags = tmp_path / "out", ("accuracy", "--batch_size", "4")
    with monkeypatch.context() as patched:
        write_every_journal(patched)
        with power_cut(patched):
            run(inputs, out, *flags)
    run(inputs, out, *flags, "--seed", "1")
    assert "an unfinished evaluation (other seed)" in capsys.readouterr().out
    aside = tmp_path / "out.old-1"
    assert [name[:9] for name in files(aside)] == [".started-", ".unfinish"]
    assert not list(out.glob(".*"))
    run(inputs, aside, *flags)
    assert tables(aside) == run(inputs, tmp_path / "whole", *flags)
    assert not list(aside.glob(".*"))


def test_a_changed_file_of_another_analysis_is_not_kept_and_that_is_said(inputs, out, caplog):
    (out / "accuracy.csv").write_text("edited\n")
    run(inputs, out, "distances")
    assert "files of accuracy were changed or are missing: not kept; ask for it anew" in caplog.text
    assert "accuracy" not in json.loads((out / "results.json").read_text())["scalars"]
    assert (out / "predictions.csv").is_file()


def test_what_ended_before_its_first_number_is_removed(inputs, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".started-0123456789abcdef.json").write_text('{"seed": "7"}')
    run(inputs, out, "accuracy")
    assert "moved to" not in capsys.readouterr().out
    assert not list(tmp_path.glob("out.old*"))
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("steps", few_fast([4, 1, 0, 2, 3, 5], fast=2))
def test_a_kill_while_files_are_put_in_place_or_moved_loses_and_mixes_nothing(inputs, out, monkeypatch, steps):
    """Every rename may be the last thing that a process does; what it began is ended by whoever comes next."""
    replace, paths = Path.replace, []
    flags = ("accuracy,predictions", "--seed", "1")

    def cutting(self, target):
        placed = store._STAGE in self.parts and store._STAGE not in Path(target).parts
        if placed or "out.old-1" in str(target):
            if len(paths) == steps:
                raise PowerCut
            paths.append(self)
        return replace(self, target)

    before = {name: (out / name).read_bytes() for name in OURS}
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", cutting)
        with pytest.raises(PowerCut):
            run(inputs, out, *flags)
    run(inputs, out, *flags)
    assert {name: (out.with_name("out.old-1") / name).read_bytes() for name in OURS} == before
    assert files(out.with_name("out.old-1")) == OURS
    assert files(out) == sorted(OURS + THEIRS)
    assert not store.differing(out, store.read_record(out))
    uninterrupted = run(inputs, out.with_name("whole"), *flags)
    assert {name: text for name, text in tables(out).items() if name != "notes"} == uninterrupted


def test_a_file_of_the_user_with_a_name_of_ours_is_moved(inputs, tmp_path, caplog):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "accuracy.csv").write_text("mine")
    run(inputs, tmp_path / "out", "accuracy")
    assert (tmp_path / "out.old-1" / "accuracy.csv").read_text() == "mine"
    assert "accuracy.csv, which no evaluation wrote: moved to" in caplog.text


@pytest.mark.parametrize("path", ["../evil.csv", "/etc/passwd", "a/../../evil.csv"])
def test_a_record_cannot_name_files_elsewhere(inputs, out, path):
    (out.parent / "evil.csv").write_text("mine")
    record = json.loads((out / "results.json").read_text())
    record["files"][path] = "0"
    (out / "results.json").write_text(json.dumps(record))
    run(inputs, out, "accuracy", "--seed", "1")
    assert (out.parent / "evil.csv").read_text() == "mine"
