"""What is printed of a result: the rows and columns that matter most, whatever is missing in them."""

import io

import pytest
from rich.console import Console

from lightning_advinterp.analyses.registry import QUESTIONS
from lightning_advinterp.core.result import Result
from lightning_advinterp.report.brief import brief_table

LEVELS = {"floor": 0.1, "chance_lc": 0.15, "images_per_class": 12.0, "kept": 10, "readable": True}


def printed(table):
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return [line.split() for line in console.file.getvalue().splitlines() if line.strip()]


def brief(question, table, rows):
    return QUESTIONS[question]().brief(Result(question, tables={table: rows}), "net")


def test_numbers_are_short_and_missing_values_dashes():
    rows = [
        {"images": "real", "eps": None, "lc": 1 / 3, "n": 12345},
        {"images": "fgsm", "eps": 8 / 255, "lc": float("nan")},
    ]
    head, _, *lines = printed(brief_table(rows, ("images", "eps", "lc", "n")))
    assert head == ["images", "eps", "lc", "n"]
    assert lines == [["real", "–", "0.333", "12345"], ["fgsm", "8/255", "–", "–"]]


def test_a_narrow_terminal_cuts_nothing_off():
    rows = [{"attack": "target_region", "spearman_other": 0.125}]
    console = Console(file=io.StringIO(), width=20)
    console.print(brief_table(rows, ("attack", "spearman_other")))
    assert "…" not in console.file.getvalue()


def test_semantics_are_of_the_last_layer():
    rows = [
        {"layer": layer, "images": kind, "lc": 0.5, "cs1": value, "chance_cs1": 0.75} | LEVELS
        for layer, value in (("conv1", 0.9), ("conv2", 0.4))
        for kind in ("real", "fgsm")
    ]
    title, levels, head, _, *lines = printed(brief("semantics", "semantics_layers", rows))
    assert " ".join(title) == "net: meaning of the units of the last layer"
    assert " ".join(levels) == "LC: floor 0.10, chance 0.15; 12 images per class, 10 top images"
    assert head[:4] == ["layer", "images", "eps", "lc"]
    assert [(line[0], line[1], *line[4:6]) for line in lines] == [
        ("conv2", "real", "0.4", "0.75"),
        ("conv2", "fgsm", "0.4", "0.75"),
    ]


def test_fragility_is_at_the_largest_radius_of_each_attack():
    rows = [
        {"method": "gradient", "attack": "topk", "eps": eps, "topk": eps, "spearman": -0.25}
        for eps in (1 / 255, 8 / 255, 4 / 255)
    ]
    rows += [{"method": "gradient", "attack": "target_map", "eps": None, "topk": 0.5}]
    _, _, _, *lines = printed(brief("fragility", "fragility_summary", rows))
    assert [line[1:3] for line in lines] == [["topk", "8/255"], ["target_map", "–"]]
    assert lines[0][-2:] == ["-0.25", "–"]


@pytest.mark.parametrize(
    ("question", "table"),
    [
        ("semantics", "semantics_layers"),
        ("distances", "distances"),
        ("fragility", "fragility_summary"),
        ("influence", "influence_summary"),
        ("curvature", "curvature_summary"),
    ],
)
def test_an_empty_result_is_no_error(question, table):
    assert printed(brief(question, table, []))
