"""The page of a prediction from a result made by hand: words, escapes, what is missing."""

import re

import numpy as np
import pytest

from lightning_advinterp.analyses.tracing.figures import errors_sheet
from lightning_advinterp.analyses.tracing.page import prediction_pages
from lightning_advinterp.analyses.tracing.sentences import percent
from lightning_advinterp.core.result import Result

EVIL = "<script>alert(1)</script>\u202e&\"'"
UNIT = {"label": None, "iou": None, "category": None, "lc": 0.8, "mode_class": "goldfinch", "cs1": None, "floor": 0.1}
MAIN = {"layer": "layer4", "form": "probability", "baseline": "zero"}


def row(unit, rank, name="predicted", index=1, class_name="goldfinch", difference=0.3, **more):
    place = {"image": "a/b.jpg", "images": "real", "class": name, "class_index": index, "class_name": class_name}
    return place | MAIN | {"unit": unit, "difference": difference, "rank": rank, "activation": 1.0} | UNIT | more


def result(label=None, rows=None, removed=(), **page):
    first = {"image": "a/b.jpg", "images": "real", "picture": "p", "label": label, "predicted": 1}
    first |= {"label_name": None if label is None else "brambling", "predicted_name": "goldfinch"}
    first |= {"confidence": 0.97, "support": None} | MAIN | page
    tables = {"tracing_pages": [first], "tracing": [row(12, 0)] if rows is None else rows}
    tables |= {"tracing_removed": list(removed), "tracing_centres": [], "tracing_switched": [], "tracing_pictures": []}
    tables["tracing_classes"] = [
        {
            "image": "a/b.jpg",
            "images": "real",
            "rank": 0,
            "class_index": 1,
            "class_name": "goldfinch",
            "probability": 0.97,
        }
    ]
    return Result("tracing", {}, tables, {"p": np.zeros((8, 8, 3), np.uint8)})


def lead(page):
    return re.search(r'<p class="lead">(.*?)</p>', page, re.DOTALL)[1].replace("\u00a0", " ")


def without(count, predicted, name, probability, which="named"):
    head = {"image": "a/b.jpg", "images": "real", "class": "predicted", "class_index": 1, "class_name": "goldfinch"}
    head |= {"which": which, "count": count, "units": "", "probability": 0.1, "predicted": predicted}
    return head | {"predicted_name": name, "predicted_probability": probability}


def test_an_image_without_a_label():
    rows = [row(12, 0), row(45, 1, mode_class="brambling"), row(301, 2), row(7, 3)]
    (page,) = prediction_pages(result(rows=rows, removed=[without(5, 2, "brambling", 0.43)]), "net").values()
    assert lead(page) == (
        "Read as goldfinch (97.0 %) because of units 12, 45 and 301 of layer4, driven most by images of goldfinch and "
        "brambling. Without the five strongest it is read as brambling (43 %)."
    )


def test_an_error_has_two_columns():
    rows = [row(12, 0), row(45, 0, "true", 2, "brambling", label="wing", category="part", iou=0.12)]
    pages = prediction_pages(result(label=2, rows=rows, removed=[without(1, 1, "goldfinch", 0.9)]), "net")
    page = pages["b.jpg"]
    assert "wrongly (it is labelled brambling)" in lead(page)
    assert lead(page).endswith("Without the strongest it is still read as goldfinch (90 %).")
    assert "For goldfinch, which it is not" in page
    assert "For brambling, which it is" in page
    assert "concept wing (part, IoU 0.12)" in page


def test_a_right_prediction_has_one_column():
    rows = [row(12, 0), row(12, 0, "true")]
    (page,) = prediction_pages(result(label=1, rows=rows), "net").values()
    assert "rightly" in lead(page)
    assert page.count("unit 12</strong>") == 1


@pytest.mark.parametrize(
    ("lc", "floor", "words"),
    [(0.8, 0.1, "mostly goldfinch"), (0.15, 0.1, "images of many classes"), (1.0, 1.0, None), (None, None, None)],
)
def test_a_unit_means_what_its_images_can_say(lc, floor, words):
    name = None if lc is None else "goldfinch"
    (page,) = prediction_pages(result(rows=[row(12, 0, lc=lc, floor=floor, mode_class=name)]), "net").values()
    assert ("mostly" in page) is (words == "mostly goldfinch")
    assert ("images of many classes" in page) is (words == "images of many classes")
    assert ('class="soft">LC ' in page) is (words is not None)


def test_no_unit_speaks_for_the_prediction():
    (page,) = prediction_pages(result(rows=[row(12, 0, difference=-0.1), row(3, 1, difference=None)]), "net").values()
    assert "no unit of layer4 alone speaks for it" in lead(page)
    assert "No unit speaks for this class." in page


def test_names_are_text():
    evil = result(rows=[row(12, 0, mode_class=EVIL, label=EVIL, class_name=EVIL)], predicted_name=EVIL, image=EVIL)
    for name, rows in evil.tables.items():
        evil.tables[name] = [entry | {"image": EVIL} for entry in rows]
    ((name, page),) = prediction_pages(evil, EVIL).items()
    assert "<script" not in page
    assert "\u202e" not in page
    assert page.count("&lt;script&gt;") >= 5
    assert name
    assert errors_sheet(evil, EVIL).axes


def test_files_of_one_name_keep_their_paths():
    both = result()
    for name in ("tracing_pages", "tracing", "tracing_classes"):
        both.tables[name] += [entry | {"image": "c/b.jpg"} for entry in both.tables[name]]
    assert sorted(prediction_pages(both, "net")) == ["a/b.jpg", "c/b.jpg"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.99999, "> 99.9 %"), (0.97, "97.0 %"), (0.5, "50 %"), (0.031, "3.1 %"), (1e-5, "< 0.1 %")],
)
def test_percent(share, text):
    assert percent(share).replace("\u00a0", " ") == text


def test_where_no_unit_alone_matters_none_is_named_as_the_reason():
    (page,) = prediction_pages(result(rows=[row(12, 0, difference=1e-21)]), "net").values()
    assert "because of" not in lead(page)
    assert "No unit alone makes a difference of 0.1 points" in lead(page)
    assert "&lt; 0.1 points" in page
    assert 'style="width: 0.0%"' in page


def test_a_page_says_what_its_numbers_are():
    concept = row(12, 0, label="wing", category="part", iou=0.12)
    page = prediction_pages(result(rows=[concept], removed=[without(2, 1, "goldfinch", 0.9)]), "net")["b.jpg"]
    assert "What the class loses (probability, in points) when this unit alone is set to zero." in page
    assert "probability of goldfinch" in page
    assert "IoU, from 0 to 1" in page
    assert "give one to evaluate.py by --data" in " ".join(page.split())


def test_without_data_the_sheet_names_units_beside_the_image():
    (axes,) = errors_sheet(result(rows=[row(12, 0), row(45, 1)]), "net").axes
    assert axes.get_ylabel().endswith("units 12, 45")
