"""Dissection, semantics, distances and panels on the command line: files, columns, flags, errors."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from broden_sets import CATEGORIES, INDEX, write_set
from rich.progress import Progress
from unit_evaluations import rows, run, tables, write_checkpoint

from lightning_advinterp.analyses.base.question import Scene
from lightning_advinterp.analyses.curvature.question import Curvature
from lightning_advinterp.analyses.registry import QUESTIONS
from lightning_advinterp.cli.evaluation import Evaluation
from lightning_advinterp.cli.evaluation.inputs import Subject, load_concepts
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.networks.recipes import Recipe
from lightning_advinterp.taxonomy import corpus
from lightning_advinterp.taxonomy.corpus import Sense
from lightning_advinterp.training.callbacks import DissectionCallback
from lightning_advinterp.units.conv_layers import conv_taps

AIMED = "attack:\n- {name: aimed, type: pgd, steps: 1, eps: 16/255, target: least_likely}\n"
TOGETHER = "accuracy,predictions,dissection,semantics,distances,panels,curvature"
PLACES = [row[0] for row in INDEX]
COLUMNS = {
    "accuracy": ["images", "n", "top1", "top1_low", "top1_high", "top5"],
    "dissection": [
        *("layer", "unit", "images", "threshold", "label", "category", "iou"),
        *(f"{category}_{what}" for category in CATEGORIES for what in ("label", "iou")),
    ],
    "dissection_summary": ["layer", "images", "category", "detectors", "ratio", "unique"],
    "dissection_retention": ["layer", "unit", "images"],
    "semantics": ["layer", "unit", "images", "lc", "cs1", "cs2", "mode_class"],
    "semantics_curve": ["images", "lc_low", "lc_high", "units", "cs1", "cs2"],
    "distances": ["images", "ratio", "mean", "median", "share_above_one", "n"],
    "curvature": ["image"],
}


@pytest.fixture(scope="module")
def everything(inputs):
    """Several analyses at once."""
    return run(inputs, inputs / "all", TOGETHER, "--concepts", str(inputs / "broden"), config=AIMED)


@pytest.mark.slow
def test_every_table_begins_with_the_contracts_columns(everything):
    for name, columns in COLUMNS.items():
        header = everything[name].splitlines()[0].split(",")
        assert header[: len(columns)] == columns, name
        assert len(set(header)) == len(header)
    for name in set(everything) - {"predictions", "patches", "curvature", "curvature_summary"}:
        assert "eps" in rows(everything[name])[0], f"{name} depends on an attack"


@pytest.mark.slow
def test_units_count_from_0_and_missing_fields_are_empty(everything, inputs):
    units = rows(everything["dissection"])
    assert [(row["layer"], int(row["unit"])) for row in units if row["images"] == "real"] == [
        ("layer3", unit) for unit in range(64)
    ]
    assert {row["images"] for row in units} == {"real", "aimed"}
    assert all(0 <= float(row["iou"]) <= 1 for row in units)
    assert {row["eps"] for row in units if row["images"] == "real"} == {""}
    meanings = rows(everything["semantics"])
    assert {(row["cs1"], row["cs2"]) for row in meanings if row["images"] == "real"} == {("", "")}
    assert any(row["cs1"] for row in meanings if row["images"] == "aimed")
    assert {row["dead"] for row in meanings} <= {"true", "false"}
    paths = [row["image"] for row in rows(everything["curvature"])]
    assert len(paths) == 2
    assert all((inputs / "data" / path).is_file() for path in paths)


@pytest.mark.slow
def test_figures_page_and_provenance(everything, inputs):
    folder = inputs / "all"
    expected = {"accuracy", "dissection", "dissection_units", "distances", "panels_layer3"}
    expected |= {"semantics_curve", "semantics_depth", "semantics_scatter"}
    assert {path.stem for path in (folder / "figures").iterdir()} == expected
    page = (folder / "index.html").read_text()
    assert all(f'data-figure="{name}"' in page for name in expected)
    results = json.loads((folder / "results.json").read_text())
    measured = {name for name in TOGETHER.split(",") if name not in ("predictions", "panels")}
    assert measured <= {name for name, value in results["scalars"].items() if value}
    provenance = results["provenance"]
    assert (provenance["concepts"]["images"], provenance["data"]["images"]) == (5, 15)
    assert provenance["analyses"]["dissection"]["config"]["quantile"] == 0.9
    assert provenance["settings"]["preparation"]["input_size"] == 16
    assert not list(folder.glob(".unfinished*"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accuracy", "predictions", "dissection", "semantics", "distances", "curvature"])
def test_an_analysis_gives_the_same_alone(everything, inputs, tmp_path, name):
    """Semantics aims attacks at the 3 classes of the images, which is no concern of accuracy and dissection."""
    alone = run(inputs, tmp_path / "out", name, "--concepts", str(inputs / "broden"), config=AIMED)
    assert {f"{name}"} <= set(alone)
    for table, text in alone.items():
        assert text == everything[table], table


@pytest.mark.slow
def test_attacks_aim_at_the_images_classes_for_semantics_alone(everything):
    (levels,) = (row for row in rows(everything["semantics_levels"]) if row["images"] == "aimed")
    assert levels["target_mass"] == "1"
    (accuracy,) = (row for row in rows(everything["accuracy"]) if row["images"] == "aimed")
    assert accuracy["n"] == "15"


@pytest.mark.slow
def test_semantics_by_success(inputs, tmp_path, caplog):
    flags = ("--semantics.by_success", "true", "--semantics.share", "0.5", "--semantics.pool", "max")
    tables = run(inputs, tmp_path / "out", "semantics,distances", *flags, config=AIMED)
    parts = rows(tables["semantics_success"])
    assert list(parts[0])[:4] == ["layer", "images", "change", "units"]
    assert {(row["layer"], row["images"]) for row in parts} == {("layer3", "aimed"), ("all", "aimed")}
    assert all({"floor", "chance_cs1", "readable", "eps"} <= row.keys() for row in parts)
    assert (tmp_path / "out" / "figures" / "semantics_success.png").exists()
    ungrouped = run(inputs, tmp_path / "whole", "distances", config=AIMED)
    assert [row["mean"] for row in rows(ungrouped["distances"])] != [row["mean"] for row in rows(tables["distances"])]
    nobody = run(inputs, tmp_path / "none", "semantics", *flags, "--attack", "null")
    assert "semantics_success" not in nobody


def test_a_bar_runs_over_thresholds_counts_and_pictures(inputs, tmp_path, monkeypatch):
    moves, inner = [], Progress.update

    def update(self, task, **changes):
        if not self.disable and "sweep" in self.tasks[0].description:
            moves.append((self.tasks[0].description, changes["completed"]))
        inner(self, task, **changes)

    monkeypatch.setattr(Progress, "update", update)
    flags = ("--concepts", str(inputs / "broden"), "--attack", "null", "--batch_size", "5")
    run(inputs, tmp_path / "out", "dissection", *flags)
    assert moves == [("sweep 1, images", 5), ("sweep 2, images", 5), ("sweep 3, images", 5)]


@pytest.mark.slow
def test_layers(inputs, tmp_path):
    flags = ("--attack", "null", "--concepts", str(inputs / "broden"))
    chosen = run(inputs, tmp_path / "some", "dissection,semantics", "--layers", "layer1.0.conv1, layer3", *flags)
    for name in ("dissection", "semantics"):
        widths = [row["layer"] for row in rows(chosen[name])]
        assert (widths.count("layer1.0.conv1"), widths.count("layer3"), len(widths)) == (16, 64, 80)
    every = run(inputs, tmp_path / "every", "dissection", *flags, config="layers: [all_conv]")
    taps = {layer.layer: layer.tap for layer in conv_taps(load_checkpoint(inputs / "last.ckpt").network)}
    assert {row["layer"]: row["tap"] for row in rows(every["dissection"])} == taps
    assert len(taps) == 19
    summary = rows(every["dissection_summary"])
    assert {row["units"] for row in summary if row["layer"] == "all"} == {"688"}
    assert (tmp_path / "every" / "figures" / "dissection_depth.png").exists()


def test_what_was_found_is_printed(inputs, tmp_path, capsys):
    tables = run(inputs, tmp_path / "out", "semantics,distances,curvature")
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    titles = ("meaning of the units of the last layer", "distances in feature space", "curvature")
    assert [line.partition(": ")[2] for line in printed if line.endswith(titles)] == list(titles)
    (ratio,) = (row for row in rows(tables["distances"]) if (row["images"], row["ratio"]) == ("fgsm", "r_src"))
    (line,) = (line for line in printed if "r_src" in line and line.startswith("fgsm"))
    expected = [f"{float(ratio[key]):.3g}" for key in ("median", "share_above_one", "n", "images_per_class")]
    assert line.split()[3:] == expected


def test_without_an_attack_there_are_no_tables_of_attacks(inputs, tmp_path):
    analyses = "dissection,semantics,distances,panels"
    tables = run(inputs, tmp_path / "out", analyses, "--attack", "null", "--concepts", str(inputs / "broden"))
    assert not tables.keys() & {"distances", "semantics_curve", "dissection_retention"}
    assert {row["images"] for row in rows(tables["semantics"])} == {"real"}
    assert all(text.count("\n") > 1 for text in tables.values())


def test_panels_of_units_asked_for(inputs, tmp_path):
    config = "attack: null\npanels: {units: [3, 1], images: 2, layers: 1, highlight: discrepancy}\n"
    tables = run(inputs, tmp_path / "out", "panels", "--limit", "6", config=config)
    assert "semantics" in tables
    names = {path.stem for path in (tmp_path / "out" / "figures").iterdir()}
    assert names == {"panels_layer3", "panels_layer3_3", "panels_layer3_1"}


def test_dry_run_counts(inputs, tmp_path, capsys):
    analyses = ("accuracy,dissection,panels", "--dry_run", "--trial_seconds", "0", "--concepts", str(inputs / "broden"))
    assert not run(inputs, tmp_path / "out", *analyses, config=AIMED)
    assert not (tmp_path / "out").exists()
    printed = " ".join(capsys.readouterr().out.split())
    # Sweep 1: real, random weights; sweep 2: these, the attack's step, its image, and its noise.
    # Sweep 3, for pictures: the images, the attack's step, its image.
    assert f"dissection: 5 images, {5 * (2 + 2 + 3 + 3)} forward passes, {5 * 2} backward passes" in printed
    # Of those, the attack alone belongs to accuracy: panels' attack has other targets.
    assert f"accuracy: 15 images, {15 * 3} forward passes, 15 backward passes" in printed
    # Beside them, a second sweep pastes 8 units' patches in 3 ways, and a third one shows at most 8 images for the
    # pictures of 1 layer, 2 units, 2 images and 2 kinds.
    forwards = 15 * (3 + 1 + 8 * 3) + 8 * 3
    assert f"panels: 15 images, {forwards} forward passes, {15 + 8} backward passes" in printed


@pytest.mark.parametrize("concepts", [True, False])
def test_all_means_those_that_can_be_had(inputs, tmp_path, capsys, concepts):
    flags = ("--concepts", "concept_world") if concepts else ()
    run(inputs, tmp_path / "out", "all", "--dry_run", "--trial_seconds", "0", *flags)
    first = " ".join(capsys.readouterr().out.split()).partition(" on ")[0]
    names = [name for name in QUESTIONS if concepts or name != "dissection"]
    assert first.endswith(f": {', '.join(names)}")


def test_the_concept_worlds_pictures_are_as_many_as_are_wanted(inputs):
    subject = Subject(load_checkpoint(inputs / "last.ckpt").network, "tiny", None, Recipe(16, 16))
    settings = {"concepts": "concept_world", "analyses": "dissection"}
    few = load_concepts(Evaluation(limit=7, **settings), subject, 3)
    assert (few.reported.indices, few.calibration.indices, few.taken) == (list(range(7)), [7, 8, 9], 0)
    many = load_concepts(Evaluation(**settings), subject, 64)
    assert (len(many.reported), len(many.calibration), many.taken) == (1000, 64, 0)
    assert many.reported.fingerprint != many.calibration.fingerprint


def test_damaged_maps_are_found_before_any_work(inputs, tmp_path, capsys):
    """All at once, in the images that will be looked at; others are no concern."""
    root = write_set(tmp_path / "broden")
    flags = ("--concepts", str(root), "--attack", "null", "--seed", "3", "--limit", "3")
    subject = Subject(load_checkpoint(inputs / "last.ckpt").network, "tiny", None, Recipe(16, 16))
    settings = {"concepts": str(root), "analyses": "dissection", "seed": 3, "limit": 3}
    chosen = load_concepts(Evaluation(**settings), subject).reported.indices
    broken = {number: root / "images" / f"{PLACES[number]}" for number in range(5)}
    for number, path in broken.items():
        if number not in chosen:
            path.write_bytes(b"no image")
    assert "dissection" in run(inputs, tmp_path / "whole", "dissection", *flags)
    capsys.readouterr()
    for number in chosen[:2]:
        broken[number].write_bytes(b"no image")
    with pytest.raises(SystemExit) as stop:
        run(inputs, tmp_path / "out", "dissection", *flags)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: concepts: ")
    assert "2 findings" in message
    for number in chosen[:2]:
        assert f"index.csv, row {number + 2}, column image: 'images/{PLACES[number]}' cannot be read" in message
    assert not (tmp_path / "out").exists()
    watching = DissectionCallback(str(root), limit=3, seed=3)
    with pytest.raises(ValueError, match=r"dissection.concepts: .*: 2 findings"):
        watching.prepare(type("Module", (), {"network": subject.network, "classes": [], "class_names": []}), None)


def test_a_map_that_breaks_during_the_work_is_one_line(inputs, tmp_path, capsys, monkeypatch):
    root = write_set(tmp_path / "broden")
    monkeypatch.setattr("lightning_advinterp.cli.evaluation.inputs.check_concepts", lambda *_, **__: None)
    (root / "images" / "a" / "0_object.png").write_bytes(b"no image")
    with pytest.raises(SystemExit) as stop:
        run(inputs, tmp_path / "out", "dissection", "--concepts", str(root), "--attack", "null")
    assert stop.value.code == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: index.csv, row 2, column object: 'images/a/0_object.png' cannot be read")
    assert error.count("\n") == 0


@pytest.mark.parametrize("limit", [3, None])
def test_a_set_on_disk_is_chosen_from_as_during_training(inputs, limit):
    """The callback's images are those of the evaluation, whatever the set."""
    network = load_checkpoint(inputs / "last.ckpt").network
    settings = {"concepts": str(inputs / "broden"), "analyses": "dissection", "seed": 7, "limit": limit}
    reported = load_concepts(Evaluation(**settings), Subject(network, "tiny", None, Recipe(16, 16))).reported
    callback = DissectionCallback(settings["concepts"], limit=limit, seed=7, attacks=())
    callback.prepare(type("Module", (), {"network": network, "classes": [], "class_names": []}), None)
    assert callback.dataset(None, None).fingerprint == reported.fingerprint


@pytest.mark.filterwarnings("ignore:.*no weight")
@pytest.mark.slow
def test_each_set_has_a_calibration_of_its_own(inputs, tmp_path):
    """So that a dissection's attack has the same weight alone and beside other analyses."""
    config = "attack: [{name: adversarial, type: targeted_optimization, steps: 1}]\ncalibration_images: 2\n"
    concepts = ("--concepts", "concept_world", "--limit", "4")
    both = run(inputs, tmp_path / "both", "accuracy,dissection", *concepts, config=config)
    alone = run(inputs, tmp_path / "alone", "dissection", *concepts, config=config)
    assert both["dissection"] == alone["dissection"]
    origins = [json.loads((tmp_path / name / "results.json").read_text())["provenance"] for name in ("both", "alone")]
    assert origins[0]["calibration"]["concepts"] == origins[1]["calibration"]["concepts"]
    assert origins[0]["calibration"]["data"]["images"] != origins[0]["calibration"]["concepts"]["images"]


def test_measured_beside_printed(inputs, tmp_path, capsys):
    config = (
        f"rows:\n- name: Ours\n  checkpoint: {inputs / 'last.ckpt'}\n"
        "  printed: {real: {color: 0.123, top1: 0.5}, adversarial: {object: 0.045, smell: 0.9}}\n"
        "- {name: Theirs, checkpoint: no/such.ckpt, printed: {real: {color: 0.2}}}\n"
        "attack: [{name: adversarial, type: fgsm, eps: 8/255}]\n"
    )
    run(inputs, tmp_path / "out", "dissection", "--concepts", str(inputs / "broden"), config=config)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    summary = rows((tmp_path / "out" / "Ours" / "dissection_summary.csv").read_text())

    def measured(kind, column="ratio"):
        return " ".join(f"{100 * float(row[column]):.1f}" for row in summary if row["images"] == kind)

    start = lines.index("Ours: units that detect a concept, %")
    assert lines[start + 2] == "images color object part scene all"
    assert lines[start + 4 : start + 8] == [
        f"real {measured('real')}",
        "real, printed 12.3",
        f"adversarial {measured('adversarial')}",
        "adversarial, printed 4.5",
    ]
    assert f"control: shuffled {measured('real', 'shuffled')}" in lines
    assert "Theirs: left out, checkpoint: no file no/such.ckpt." in lines
    assert "Ours: nothing measured beside the printed top1 (real), smell (adversarial)" in lines
    shares = {(row["images"], row["category"]): row["ratio"] for row in summary}
    (real,) = (row for row in summary if (row["images"], row["category"]) == ("real", "color"))
    controls = [real[name] for name in ("shuffled", "rotated", "random")]
    beside = rows((tmp_path / "out" / "printed.csv").read_text())
    assert [list(row.values()) for row in beside] == [
        ["Ours", "real", "color", shares["real", "color"], "0.123", *controls],
        ["Ours", "adversarial", "object", shares["adversarial", "object"], "0.045", "", "", ""],
    ]
    assert list(beside[0]) == ["name", "images", "measure", "measured", "printed", "shuffled", "rotated", "random"]
    assert "shares compare on one set of images alone" in lines


def test_rows_of_table_1_whose_weights_are_absent(inputs, tmp_path, monkeypatch, capsys):
    """A file of one's own that is not there, and a download that cannot be had: said, and the others go on."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    table = Path(__file__).parents[2] / "configs" / "paper" / "table1.yaml"
    chosen = [row for row in yaml.safe_load(table.read_text())["rows"] if row["name"] in ("VGG-16-Place", "Adv-Inc-v3")]
    assert [Path(row["weights"]).name for row in chosen] == ["pretrained", "vgg16_places365.pth"]
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_dump({"rows": [*chosen, {"name": "Ours", "checkpoint": str(inputs / "last.ckpt")}]})
    run(inputs, tmp_path / "out", "dissection", "--concepts", str(inputs / "broden"), "--attack", "null", config=config)
    printed = " ".join(capsys.readouterr().out.split())
    assert "VGG-16-Place: left out, weights: no file weights/vgg16_places365.pth." in printed
    assert "Adv-Inc-v3: left out, " in printed
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == ["Ours"]


NAMED = {"ape": "n02084071", "bee": "n02958343", "cow": "n04490091"}  # the shipped dog, car, truck


@pytest.fixture
def unnamed(inputs, tmp_path):
    """Images in folders without wnids, and a network whose outputs they are."""
    content = torch.load(write_checkpoint(tmp_path / "last.ckpt"), weights_only=True)
    content["advinterp"]["classes"] = content["advinterp"]["class_names"] = [*NAMED, *"defghijkl"]
    torch.save(content, tmp_path / "last.ckpt")
    (tmp_path / "data").mkdir()
    for name, folder in zip(NAMED, sorted((inputs / "data").iterdir()), strict=True):
        (tmp_path / "data" / name).symlink_to(folder)
    (tmp_path / "fast.yaml").write_text((inputs / "fast.yaml").read_text())
    return tmp_path


def test_guessed_synsets_are_shown_and_confirmed(unnamed, monkeypatch, capsys):
    def senses(name):
        return [Sense(NAMED[name], name, f"what {name} means"), Sense("n01503061", "bird", "flies")]

    monkeypatch.setattr(corpus, "senses", senses)
    with pytest.raises(SystemExit) as stop:
        run(unnamed, unnamed / "out", "semantics")
    assert stop.value.code == 2
    message = " ".join(capsys.readouterr().err.split())
    assert message.startswith("error: semantics: 3 classes are named by no wnid. WordNet says:")
    assert "'ape': n02084071, what ape means; other senses: n01503061 (flies)" in message
    assert "--semantics.accept_guesses true" in message
    assert """--semantics.wnids '{"ape":""" in message
    assert not tables(unnamed / "out")
    accepted = run(unnamed, unnamed / "a", "semantics", "--semantics.accept_guesses", "true")
    named = run(unnamed, unnamed / "b", "semantics", "--semantics.wnids", json.dumps(NAMED))
    assert accepted == named
    assert {row["mode_class"] for row in rows(named["semantics"])} <= {*NAMED, ""}


def test_a_missing_corpus_is_said(unnamed, monkeypatch, capsys):
    def senses(name):
        raise LookupError("WordNet 3.0 is needed: run `python -m nltk.downloader wordnet`.")

    monkeypatch.setattr(corpus, "senses", senses)
    with pytest.raises(SystemExit) as stop:
        run(unnamed, unnamed / "out", "distances")
    assert stop.value.code == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "semantics: WordNet 3.0 is needed: run `python -m nltk.downloader wordnet`. Or give the wnids" in message


@pytest.mark.parametrize(
    ("analyses", "flags", "message"),
    [
        ("panels", ["--panels.units", "[64]"], "panels.units: layer 'layer3' has units 0 to 63, got [64]"),
        ("dissection", ["--layers", "layer3.9"], "layer3.9"),
        ("dissection", ["--dissection.iou", "4"], "iou must lie in (0, 1], got 4"),
        ("semantics", ["--semantics.share", "0"], "share must lie in (0, 1], got 0"),
        ("semantics", ["--semantics.sample", "0"], "sample must be 1 or more images, got 0"),
        ("semantics", ["--semantics.hierarchy", "no.csv"], "no.csv"),
    ],
)
def test_wrong_settings_are_refused(inputs, tmp_path, capsys, analyses, flags, message):
    with pytest.raises(SystemExit) as stop:
        run(inputs, tmp_path / "out", analyses, "--concepts", str(inputs / "broden"), *flags)
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not tables(tmp_path / "out")


def test_one_seed_serves_curvature_too():
    (analysis,) = Curvature().build(Scene(None, None, {}, None, {}, seed=3))
    assert analysis.config == Curvature(seed=3)
