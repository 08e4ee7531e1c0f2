"""An evaluation that was interrupted anywhere goes on there, as itself and as nothing else."""

import json
import os

import pytest
from PIL import Image
from unit_evaluations import rows, run, tables, write_checkpoint, write_every_journal, write_inputs

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.dissection.analysis import DissectionAnalysis
from lightning_advinterp.cli.evaluation import single


class PowerCut(BaseException):  # no fault of the program, which would be explained
    pass


@pytest.fixture
def eager(monkeypatch):
    write_every_journal(monkeypatch)


@pytest.fixture
def updates(monkeypatch):
    """Batches that the dissection sees, as (sweep, images); a number in ``fails`` is the batch that breaks."""

    class Seen(list):
        fails = None

    observed, update = Seen(), DissectionAnalysis.update

    def watched(self, sweep, observation):
        if len(observed) == observed.fails:
            raise PowerCut
        observed.append((sweep, observation.index.tolist()))
        update(self, sweep, observation)

    monkeypatch.setattr(DissectionAnalysis, "update", watched)
    return observed


def unfinished(folder):
    return [path.name for path in sorted(folder.rglob(".unfinished*"), key=str)]


@pytest.mark.slow
def test_a_dissection_goes_on_in_its_second_sweep(inputs, tmp_path, eager, updates):
    flags = ("--concepts", str(inputs / "broden"), "--batch_size", "2", "--layers", "layer1,layer3")
    uninterrupted = run(inputs, tmp_path / "whole", "dissection", *flags)
    expected = [(0, [0, 1]), (0, [2, 3]), (0, [4]), (2, [0, 1]), (2, [2, 3]), (2, [4])]
    assert updates == expected
    updates.clear()
    updates.fails = 4
    with pytest.raises(PowerCut):
        run(inputs, tmp_path / "parts", "dissection", *flags)
    assert len(unfinished(tmp_path / "parts")) == 1
    assert not tables(tmp_path / "parts")
    updates.clear()
    updates.fails = None
    assert run(inputs, tmp_path / "parts", "dissection", *flags) == uninterrupted
    assert updates == expected[4:]
    assert not unfinished(tmp_path)
    figures = [sorted(path.name for path in (tmp_path / name / "figures").iterdir()) for name in ("whole", "parts")]
    assert figures[0] == figures[1]
    for name in figures[0]:
        first, second = (Image.open(tmp_path / folder / "figures" / name) for folder in ("whole", "parts"))
        assert first.tobytes() == second.tobytes(), name


@pytest.mark.slow
def test_what_is_complete_is_not_done_again(inputs, tmp_path, monkeypatch, updates):
    """Figures may be interrupted too, and so may a later analysis."""
    flags = ("dissection,accuracy", "--concepts", str(inputs / "broden"))
    uninterrupted = run(inputs, tmp_path / "whole", *flags)
    updates.clear()

    def cut(*_):
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(single, "save_evaluation", cut)
        with pytest.raises(PowerCut):
            run(inputs, tmp_path / "parts", *flags)
    assert len(updates) == 2
    assert len(unfinished(tmp_path / "parts")) == 2
    assert run(inputs, tmp_path / "parts", *flags) == uninterrupted
    assert len(updates) == 2
    assert not unfinished(tmp_path)


@pytest.mark.slow
def test_rows_of_a_table_that_are_complete_are_not_done_again(inputs, tmp_path, updates, capsys):
    second = write_checkpoint(tmp_path / "second.ckpt", seed=1)
    config = f"rows:\n- {{name: a, checkpoint: {inputs / 'last.ckpt'}}}\n- {{name: b, checkpoint: {second}}}\n"
    flags = ("dissection", "--concepts", str(inputs / "broden"), "--batch_size", "5")
    run(inputs, tmp_path / "whole", *flags, config=config)
    assert len(updates) == 4
    updates.clear()
    updates.fails = 3
    with pytest.raises(PowerCut):
        run(inputs, tmp_path / "parts", *flags, config=config)
    assert tables(tmp_path / "parts" / "a") == tables(tmp_path / "whole" / "a")
    assert [name.rpartition(".")[2] for name in unfinished(tmp_path / "parts")] == ["json", "0"]  # results; thresholds
    updates.fails = None
    capsys.readouterr()
    run(inputs, tmp_path / "parts", *flags, config=config)
    assert [sweep for sweep, _ in updates] == [
        0,
        2,
        0,
        2,
    ]  # the sweep between counts again where the first was cut short
    printed = capsys.readouterr().out
    assert printed.count("done already, before the interruption") == 1
    assert printed.count("units that detect a concept, %") == 2
    for name in "ab":
        assert tables(tmp_path / "parts" / name) == tables(tmp_path / "whole" / name)
    assert tables(tmp_path / "whole" / "a")["dissection"] != tables(tmp_path / "whole" / "b")["dissection"]
    assert not unfinished(tmp_path)


def test_skipped_images_are_remembered(inputs, tmp_path, monkeypatch, eager):
    folder = sorted((inputs / "data").iterdir())[0]
    (folder / "9.png").write_bytes(b"broken")
    flags = ("accuracy", "--on_bad_image", "skip", "--batch_size", "6")
    run_on = Runner._observe

    def failing(self, batch, wants):
        if int(batch.index[0]) >= 12:
            raise PowerCut
        return run_on(self, batch, wants)

    with monkeypatch.context() as patched:
        patched.setattr(Runner, "_observe", failing)
        with pytest.raises(PowerCut):
            run(inputs, tmp_path / "out", *flags)
    tables = run(inputs, tmp_path / "out", *flags)
    (folder / "9.png").unlink()
    assert rows(tables["accuracy"])[0]["n"] == "15"
    assert f"{folder.name}/9.png" in (tmp_path / "out" / "results.json").read_text()


@pytest.mark.slow
def test_the_journals_name_depends_on_everything(inputs, tmp_path, monkeypatch):
    names = []

    def stop(self, analyses):
        names.append(self._journal._path.name)
        raise PowerCut

    monkeypatch.setattr(Runner, "run", stop)
    altered = tmp_path / "inputs"
    altered.mkdir()
    write_inputs(altered)
    write_checkpoint(altered / "last.ckpt", seed=1)
    (altered / "broden" / "index.csv").write_text((inputs / "broden" / "index.csv").read_text().replace("val", "train"))

    def name_of(*flags, config="", checkpoint=inputs, concepts=inputs):
        with pytest.raises(PowerCut):
            run(
                checkpoint,
                tmp_path / "out",
                "dissection",
                "--concepts",
                str(concepts / "broden"),
                *flags,
                config=config,
            )
        return names.pop()

    ensemble = f"attack: [{{type: ensemble, weight: 1, members: [{{checkpoint: {altered / 'last.ckpt'}}}]}}]"
    plain = name_of()
    assert name_of() == plain
    changed = [
        name_of(checkpoint=altered),
        name_of(concepts=altered),
        name_of("--crop", "24"),
        name_of("--resize", "30"),
        name_of("--limit", "4"),
        name_of("--seed", "1"),
        name_of("--layers", "layer2"),
        name_of("--eps", "5/255"),
        name_of("--attack", "null"),
        name_of("--attack", "pgd", "--steps", "3"),
        name_of(config="attack: [{name: fgsm, type: fgsm, target: random}]"),
        name_of(config=ensemble),
        *(name_of(f"--dissection.{key}", value) for key, value in SETTINGS.items()),
    ]
    write_checkpoint(altered / "last.ckpt", seed=2)
    changed.append(name_of(config=ensemble))
    for file in ("a/0.png", "a/0_object.png"):  # other pixels, as many bytes
        os.utime(inputs / "broden" / "images" / file, ns=(1, 1))
        changed.append(name_of())
    assert len({plain, *changed}) == 1 + len(changed)


SETTINGS = {
    "quantile": "0.95",
    "exact": "true",
    "rule": "plain",
    "iou": "0.1",
    "threshold_source": "recompute",
    "controls": "[shuffled]",
    "noise": "false",
    "by_success": "true",
    "groups": "5",
    "replicates": "3",
    "keep": "true",
}


@pytest.mark.slow
def test_tables_of_what_is_done_are_there_when_the_rest_is_killed(inputs, tmp_path, monkeypatch, updates):
    """Accuracy and predictions look at other images than dissection, and are done before it."""
    flags = ("accuracy,predictions,dissection", "--concepts", str(inputs / "broden"), "--figures", "png")
    updates.fails = 0
    with pytest.raises(PowerCut):
        run(inputs, tmp_path / "out", *flags)
    stored = tables(tmp_path / "out")
    assert set(stored) == {"accuracy", "predictions"}
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(record["analyses"]) == {"accuracy", "predictions"}
    assert {"accuracy.csv", "predictions.csv"} <= set(record["files"])
    updates.fails = None
    finished = run(inputs, tmp_path / "out", *flags)
    assert {name: finished[name] for name in stored} == stored
    assert "dissection" in finished
    assert (tmp_path / "out" / "figures" / "accuracy.png").is_file()
    assert not unfinished(tmp_path)
    assert not list(tmp_path.glob("out.old*"))
