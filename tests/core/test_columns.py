"""Columns are declared once, names in braces stand for any text, and what is missing is one thing."""

import numpy as np
import pytest
from helpers import small_network

from lightning_advinterp.analyses import Plan, Runner
from lightning_advinterp.core.columns import Column, TableSpec, columns_of
from lightning_advinterp.core.result import Result, described, is_missing, joined

DECLARED = (Column("iou", "the best"), Column("{category}_iou", "of a category", "share"), Column("{images}", "any"))


def test_the_first_column_that_takes_a_header_in_is_its_own():
    rows = [{"iou": 1.0, "my part (x)_iou": 0.5}, {"_iou": 1, "a\nb": 2}]
    columns = columns_of(rows, DECLARED)
    assert list(columns) == ["iou", "my part (x)_iou", "_iou", "a\nb"]
    assert columns["my part (x)_iou"] == Column("my part (x)_iou", "of a category", "share")
    assert [column.meaning for column in columns.values()] == ["the best", "of a category", "any", "any"]
    assert columns_of(rows, DECLARED[:1]) == {"iou": DECLARED[0]}


def test_a_name_is_no_pattern_beside_its_braces():
    assert not Column("a.c", "").names("abc")
    assert Column("{x}.c", "").names("b.c")
    assert not Column("{x}.c", "").names(".c")


@pytest.mark.parametrize("value", [None, float("nan"), np.float32("nan"), np.float64("nan")])
def test_missing(value):
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, 0.0, "", "nan", False, float("inf"), np.int64(0)])
def test_not_missing(value):
    assert not is_missing(value)


class Silent:
    """Finds a number that is none."""

    name = "silent"

    def bind(self, network):
        return Plan(())

    def result(self):
        return Result(self.name, {"a": float("nan")}, {"silent": [{"x": np.float32("nan"), "y": 1, "z": None}]})


def test_a_runner_returns_none_for_what_is_missing():
    result = Runner(small_network(), []).run([Silent()])["silent"]
    assert result.tables == {"silent": [{"x": None, "y": 1, "z": None}]}
    assert result.scalars["a"] != result.scalars["a"]


def test_declared_columns_stay_with_the_joined_result():
    result = described(Result("q", tables={"q": [{"a": 1, "b": 2}]}), (TableSpec("q", "x", (Column("a", "it"),)),))
    assert result.columns == {"q": {"a": Column("a", "it")}}
    assert joined("both", [result, Result("r")]).columns == result.columns
