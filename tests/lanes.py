"""Which cases of a test the fast lane runs."""

import pytest


def few_fast(cases, fast=2):
    """Return the cases of one argument; all but the first few are slow.

    Each is quick, but together they take many seconds, and the first few tell whether the path still works.
    """
    cases = list(cases)
    return cases[:fast] + [pytest.param(case, marks=pytest.mark.slow) for case in cases[fast:]]
