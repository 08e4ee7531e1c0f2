"""Comparison of tables that hold missing values."""

import math

import pytest


def missing(value):
    return value is None or (isinstance(value, float) and math.isnan(value))


def assert_same_tables(tables, expected, tolerance=1e-9):
    assert tables.keys() == expected.keys()
    for name, rows in expected.items():
        assert len(tables[name]) == len(rows), name
        for row, expected_row in zip(tables[name], rows, strict=True):
            assert row.keys() == expected_row.keys(), name
            for key, value in expected_row.items():
                if missing(value):
                    assert missing(row[key]), (name, key, row[key])
                elif isinstance(value, float):
                    assert row[key] == pytest.approx(value, rel=tolerance, abs=tolerance), (name, key)
                else:
                    assert row[key] == value, (name, key)
