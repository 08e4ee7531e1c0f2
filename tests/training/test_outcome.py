"""What is printed: the line of an epoch's question, and where a run's files lie when it is over."""

import io
from types import SimpleNamespace

import pytest
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from rich.console import Console

from lightning_advinterp.training.callbacks.asking import Answer
from lightning_advinterp.training.callbacks.showing import line_of
from lightning_advinterp.training.logs import RunCSVLogger
from lightning_advinterp.training.outcome import print_outcome
from lightning_advinterp.training.run_directory import RunDirectory


@pytest.mark.parametrize(
    ("looked_at", "scalars", "line"),
    [
        (
            8,
            {"fragility/images": 0, "fragility/skipped": 8, "fragility/left": 0},
            "0 images (of 8, 8 classified wrongly)",
        ),
        (
            8,
            {"fragility/images": 1, "fragility/skipped": 2, "fragility/left": 5, "fragility/a/topk": 0.25},
            "1 image (of 8, 2 classified wrongly, 5 left for lack of time)",
        ),
        (8, {"fragility/images": 3, "fragility/skipped": 0, "fragility/left": 5}, "3 images (of 8, for lack of time)"),
        (6, {}, "6 images (of 8, for lack of time)"),  # of a question that takes all it looks at
        (8, {}, "8 images"),
    ],
)
def test_the_line_counts_the_images_that_were_taken(looked_at, scalars, line):
    question = SimpleNamespace(name="fragility")
    callback = SimpleNamespace(questions=[question], headlines=lambda: ["fragility/a/topk"], limit=8)
    printed = line_of(callback, Answer({}, range(20), looked_at, 1.25), scalars)
    assert printed.partition(", a/topk")[0] == f"fragility: {line} in 1.2 s"
    assert ("a/topk 0.25" in printed) == ("fragility/a/topk" in scalars)


@pytest.mark.parametrize("usual", [True, False])
def test_the_end_names_the_places_where_the_loggers_wrote(usual, tmp_path):
    directory = RunDirectory.of(tmp_path / "runs", "a")
    if usual:
        loggers = [TensorBoardLogger(tmp_path / "runs", "a", version=""), RunCSVLogger(directory.path)]
        expected = [f"curves         tensorboard --logdir {tmp_path / 'runs'}"]
        expected.append(f"numbers        {tmp_path / 'runs' / 'a' / 'metrics.csv'}")
    else:
        loggers = [CSVLogger(tmp_path, "csv", "v"), TensorBoardLogger(tmp_path, "curves", "v")]
        expected = [f"numbers        {tmp_path / 'csv' / 'v' / 'metrics.csv'}"]
        expected.append(f"curves         tensorboard --logdir {tmp_path / 'curves' / 'v'}")
    output = io.StringIO()
    print_outcome({"standard": None}, directory, Console(file=output, width=60), loggers=loggers)
    lines = output.getvalue().splitlines()
    assert [line for line in lines if line.startswith(("curves", "numbers"))] == expected
