"""What is printed of several networks together, and a paper's values beside the measured ones."""

import csv
import io

import pytest
from rich.console import Console

from lightning_advinterp.cli.evaluation.config import Evaluation, TableRow
from lightning_advinterp.cli.evaluation.printed import print_tables
from lightning_advinterp.cli.evaluation.run import measured_beside_printed
from lightning_advinterp.core.result import Result
from lightning_advinterp.metrics.distance_ratio import RATIOS
from lightning_advinterp.report.save import to_csv


def found(mean):
    shared = {"eps": 0.1, "median": mean, "share_above_one": 1.0, "n": 9, "images_per_class": 3.0}
    rows = [
        {"images": "fgsm", "ratio": ratio, "mean": mean, "mean_low": mean - 0.1, "mean_high": mean + 0.1} | shared
        for ratio in RATIOS
    ]
    return {"distances": Result("distances", tables={"distances": rows})}


RESULTS = {"Before": found(1.25), "After": found(0.75)}


@pytest.fixture
def evaluation():
    printed = {"fgsm": {"r1": 1.07, "smell": 0.9}}
    rows = (TableRow(network="n", name="Before", printed=printed), TableRow(network="n", name="After"))
    return Evaluation(analyses="distances", rows=rows)


def test_every_candidate_stands_beside_a_networks_printed_ratio(evaluation):
    beside = list(csv.reader(io.StringIO(to_csv(measured_beside_printed(evaluation, RESULTS)))))
    assert beside[0] == ["name", "images", "measure", "measured", "printed"]
    assert beside[1:] == [["Before", "fgsm", f"r1 as {ratio}", "1.25", "1.07"] for ratio in RATIOS]


def test_networks_stand_side_by_side(evaluation):
    console = Console(file=io.StringIO(), width=200)
    print_tables(evaluation, RESULTS, console)
    printed = console.file.getvalue()
    lines = [line.split() for line in printed.splitlines()]
    assert ["fgsm", "r_own", "r2", "1.25", "[1.15,", "1.35]", "0.75", "[0.65,", "0.85]"] in lines
    assert ["fgsm", "printed", "r1", "1.07", "–"] in lines
    assert "Before: nothing measured beside the printed smell (fgsm)" in printed
    alone = Console(file=io.StringIO(), width=200)
    print_tables(evaluation, {"Before": RESULTS["Before"]}, alone)
    assert "distance ratios, means" not in alone.file.getvalue()
