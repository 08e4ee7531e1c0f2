"""Tracing on the command line: files of any kind, pages that stand alone, concepts, folders, stored results."""

import json
import re
from html.parser import HTMLParser

import pytest
import torch
from declared import undeclared
from PIL import Image
from unit_evaluations import run, table, write_checkpoint, write_inputs

from lightning_advinterp import load_results
from lightning_advinterp.analyses.tracing.question import Tracing
from lightning_advinterp.cli import evaluate
from lightning_advinterp.core.names import file_name
from lightning_advinterp.data.concept_world import CLASSES


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = write_inputs(tmp_path_factory.mktemp("inputs"))
    files = folder / "files"
    (files / CLASSES[2].wnid).mkdir(parents=True)
    pixels = torch.randint(0, 256, (40, 70, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8).numpy()
    Image.fromarray(pixels[..., :3]).save(files / "wide.jpg")
    Image.fromarray(pixels[..., 0]).save(files / "grey.png")
    Image.fromarray(pixels).save(files / "transparent.png")
    Image.fromarray(pixels[:5, :3, :3]).save(files / "tiny.png")
    Image.fromarray(pixels[..., :3]).save(files / "<b>&'\".png")
    Image.fromarray(pixels[..., :3]).save(files / CLASSES[2].wnid / "known.png")
    return folder


FILES = ("wide.jpg", "grey.png", "transparent.png", "tiny.png", "<b>&'\".png", f"{CLASSES[2].wnid}/known.png")
FLAGS = ("--attack", "fgsm", "--eps", "32/255", "--layers", "layer3")


class Tags(HTMLParser):
    """Notes the elements of a page, and what it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def named(inputs):
    return [str(inputs / "files" / name) for name in FILES]


@pytest.fixture(scope="module")
def of_files(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("files") / "out"
    run(inputs, out, "tracing", *FLAGS, "--images", *named(inputs))
    return out


def test_files_of_any_kind_get_a_page_each(of_files, inputs):
    rows = table(of_files, "tracing")
    assert list(dict.fromkeys(row["image"] for row in rows)) == named(inputs)
    assert {row["class"] for row in rows} == {"predicted", "true"}
    assert {row["image"] for row in rows if row["class"] == "true"} == {named(inputs)[5]}, "its folder says its class"
    assert {row["images"] for row in rows} == {"real", "fgsm"}
    assert all(row["lc"] and row["mode_class"] for row in rows if row["lc"])
    assert any(row["lc"] for row in rows)
    assert len(list((of_files / "tracing").glob("*.html"))) == len(FILES)
    assert (of_files / "tracing" / "wide.jpg.html").is_file()


def test_pages_stand_alone_and_names_are_text(of_files):
    for path in (of_files / "tracing").glob("*.html"):
        page = Tags(path.read_text(encoding="utf-8"))
        assert "script" not in page.tags
        assert "b" not in page.tags
        assert page.links
        assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
        assert len(path.read_bytes()) < 1_000_000
        assert re.search(r"Read as \w", page.text)
        assert "Under the attack fgsm" in page.text
    assert any("<b>&'\".png" in Tags(path.read_text()).text for path in (of_files / "tracing").glob("*.html"))


def test_pages_are_listed_and_drawn_again_from_the_folder(of_files):
    record = json.loads((of_files / "results.json").read_text())
    listed = [name for name in record["files"] if name.startswith("tracing/")]
    assert len(listed) == len(FILES)
    assert undeclared(of_files, "tracing") == []
    assert set(listed) <= set(record["analyses"]["tracing"]["files"])
    index = (of_files / "index.html").read_text()
    assert index.count('href="tracing/') == len(FILES)
    pages = Tracing().pages(load_results(of_files)["tracing"], "inputs")
    for name, text in pages.items():
        path = of_files / "tracing" / f"{file_name(name)}.html"
        written = re.sub(r"<title>.*?</h1>", "", path.read_text(), flags=re.DOTALL)
        assert re.sub(r"<title>.*?</h1>", "", text, flags=re.DOTALL) == written


def test_every_column_is_declared(of_files):
    assert undeclared(of_files, "tracing") == []


def test_files_alone_need_no_data(inputs, tmp_path, capsys):
    write_checkpoint(tmp_path / "last.ckpt")
    flags = ["--network", "cifar_resnet20", "--num_classes", "12", "--output", str(tmp_path / "out")]
    evaluate([*flags, "--analyses", "tracing", "--attack", "fgsm", "--images", *named(inputs)[:2], "--crop", "32"])
    printed = capsys.readouterr().out
    assert "have numbers alone: give --classes FILE" in printed
    assert "predicted name" in printed
    rows = table(tmp_path / "out", "tracing")
    assert len({row["image"] for row in rows}) == 2
    assert {row["lc"] for row in rows} == {""}
    assert not (tmp_path / "out" / "tracing_errors.csv").exists()
    for flag, message in (("mean", "tracing.baselines: mean is taken from a data set"),):
        with pytest.raises(SystemExit):
            evaluate(
                [*flags, "--analyses", "tracing", "--images", *named(inputs)[:2], "--tracing.baselines", f"[{flag}]"]
            )
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate([*flags, "--analyses", "accuracy,tracing", "--images", *named(inputs)[:2]])
    assert "data: give --data DIR" in capsys.readouterr().err


def test_stored_images_must_know_the_files(inputs, tmp_path, capsys):
    write_checkpoint(tmp_path / "last.ckpt")
    attack = f"[{{name: mine, type: stored, path: {tmp_path}}}]"
    flags = ["--network", "cifar_resnet20", "--num_classes", "12", "--crop", "32", "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        evaluate([*flags, "--analyses", "tracing", "--attack", attack, "--images", *named(inputs)[:1]])
    assert "no adversarial image of 1 of the 1 images" in capsys.readouterr().err


@pytest.mark.parametrize("data", ["none", "of the network", "of the data"])
def test_files_have_the_labels_that_data_would_have(data):
    from types import SimpleNamespace

    from lightning_advinterp.cli.evaluation.config import Evaluation
    from lightning_advinterp.cli.evaluation.inputs import load_files
    from lightning_advinterp.data.class_labels import Outputs

    classes = {"none": (), "of the network": ("x", "n02708093"), "of the data": ("y", "z", "n02708093")}[data]
    named = classes if data == "of the network" else ()
    subject = SimpleNamespace(
        recipe=SimpleNamespace(resize=8, input_size=8, interpolation="bilinear"),
        outputs=Outputs(named, named),
        network=SimpleNamespace(num_classes=1000),
    )
    evaluation = Evaluation(network="resnet18", images=["a/n02708093/x.png", "a/other/x.png"])
    beside = SimpleNamespace(classes=classes) if data == "of the data" else None
    expected = {"none": 409, "of the network": 1, "of the data": 2}[data]
    assert load_files(evaluation, subject, beside)._labels == [expected, -1]


@pytest.mark.slow
def test_concepts_of_the_same_evaluation_and_of_a_folder(inputs, tmp_path, capsys):
    flags = (*FLAGS, "--tracing.of", "right", "--tracing.show", "1")
    concepts = ("--concepts", str(inputs / "broden"))
    run(inputs, tmp_path / "both", "tracing,dissection", *flags, *concepts)
    rows = table(tmp_path / "both", "tracing")
    dissected = {
        row["unit"]: (row["label"], row["iou"])
        for row in table(tmp_path / "both", "dissection")
        if row["images"] == "real"
    }
    assert rows
    assert all((row["label"], row["iou"]) == dissected[row["unit"]] for row in rows)
    assert any(row["label"] for row in rows)
    run(inputs, tmp_path / "apart", "tracing", *flags, "--tracing.dissection", str(tmp_path / "both"))
    apart = table(tmp_path / "apart", "tracing")
    assert [(row["unit"], row["label"]) for row in apart] == [(row["unit"], row["label"]) for row in rows]
    with pytest.raises(SystemExit):
        run(inputs, tmp_path / "none", "tracing", *flags, "--tracing.dissection", str(tmp_path / "apart"))
    assert "but no dissection" in capsys.readouterr().err
    write_checkpoint(tmp_path / "last.ckpt", seed=5)
    foreign_flags = [
        "--checkpoint",
        str(tmp_path / "last.ckpt"),
        "--data",
        str(inputs / "data"),
        "--analyses",
        "tracing",
    ]
    with pytest.raises(SystemExit):
        evaluate([*foreign_flags, "--tracing.dissection", str(tmp_path / "both"), "--output", str(tmp_path / "other")])
    assert "holds the dissection of another network" in capsys.readouterr().err


@pytest.mark.slow
def test_another_evaluations_pages_are_moved_aside(inputs, tmp_path):
    out = tmp_path / "out"
    run(inputs, out, "tracing", *FLAGS, "--images", named(inputs)[0])
    run(inputs, out, "tracing", *FLAGS, "--images", named(inputs)[1])
    assert [path.name for path in (out / "tracing").iterdir()] == ["grey.png.html"]
    assert [path.name for path in (tmp_path / "out.old-1" / "tracing").iterdir()] == ["wide.jpg.html"]
    run(inputs, out, "accuracy", *FLAGS[:4])
    assert (out / "tracing" / "grey.png.html").is_file(), "a part of the same evaluation stays"
