"""``metrics.csv`` of a run that goes on, and figures and tables in loggers that are no TensorBoard."""

import csv

import pytest
import torch
from matplotlib.figure import Figure
from pytorch_lightning.loggers import Logger

from lightning_advinterp.training.logs import RunCSVLogger, log_figure, log_table, log_text


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_key_that_comes_later_gets_a_column_and_earlier_rows_stay(tmp_path):
    logger = RunCSVLogger(tmp_path / "run")
    logger.log_metrics({"train/loss": torch.tensor(2.5), "epoch": 0}, step=0)
    logger.save()
    logger.log_metrics({"train/loss": 2.0}, step=1)
    logger.save()
    logger.log_metrics({"val/acc": 0.5}, step=1)
    logger.finalize("success")
    assert (tmp_path / "run" / "metrics.csv").read_text() == (
        "step,epoch,train/loss,val/acc\n0,0,2.5,\n1,,2.0,\n1,,,0.5\n"
    )


def test_a_run_that_goes_on_logs_the_steps_after_its_checkpoint_once(tmp_path):
    killed = RunCSVLogger(tmp_path / "run")
    for step in range(4):
        killed.log_metrics({"loss": float(step)}, step=step)
        killed.save()
    with killed.path.open("a") as file:
        file.write("4,9")  # a line that the process did not finish
    logger = RunCSVLogger(tmp_path / "run")
    logger.experiment.forget_from(2)
    for step in (2, 3):
        logger.log_metrics({"loss": 10.0 + step}, step=step)
    logger.save()
    assert [(row["step"], float(row["loss"])) for row in rows_of(logger.path)] == [
        ("0", 0.0),
        ("1", 1.0),
        ("2", 12.0),
        ("3", 13.0),
    ]


def test_a_file_of_another_program_is_written_anew(tmp_path):
    logger = RunCSVLogger(tmp_path)
    logger.path.write_text("a,b\n1,2\n")
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.save()
    assert rows_of(logger.path) == [{"step": "0", "loss": "1.0"}]


class Weights(Logger):
    """A logger with the three methods of Lightning's for W&B, and nothing of TensorBoard's."""

    name, version = "weights", "0"

    def __init__(self):
        super().__init__()
        self.images, self.tables, self.texts = {}, {}, {}

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, params=None):
        pass

    def log_image(self, key, images, step=None, **kwargs):
        self.images[key] = (images[0].size, step)

    def log_table(self, key, columns=None, data=None, dataframe=None, step=None):
        self.tables[key] = (columns, data, step)

    def log_text(self, key, columns=None, data=None, dataframe=None, step=None):
        self.texts[key] = (data, step)


def test_figures_texts_and_tables_reach_a_logger_by_lightnings_names(tmp_path):
    logger, loggers = Weights(), [RunCSVLogger(tmp_path)]
    loggers.append(logger)
    log_figure(loggers, "dissection/units", Figure(figsize=(2, 1)), 7)
    log_text(loggers, "dissection/table", "| a |", 7)
    log_table(loggers, "dissection/rows", [{"unit": 1, "iou": float("nan")}, {"unit": 2, "name": "\x1b[1m"}], 7)
    assert logger.images == {"dissection/units": ((200, 100), 7)}
    assert logger.texts == {"dissection/table": ([["| a |"]], 7)}
    columns, data, step = logger.tables["dissection/rows"]
    assert (columns, data, step) == (["unit", "iou", "name"], [[1, None, None], [2, None, "\\x1b[1m"]], 7)


def test_lightnings_own_logger_for_wandb_has_these_methods():
    from pytorch_lightning.loggers import WandbLogger

    from lightning_advinterp.training.logs.media import _ImageLogger, _TableLogger, _TextLogger

    for protocol in (_ImageLogger, _TableLogger, _TextLogger):
        assert issubclass(WandbLogger, protocol)


@pytest.mark.slow
def test_wandb_offline_gets_figures_and_tables(tmp_path):
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    logger = WandbLogger(save_dir=tmp_path, offline=True, project="p")
    log_figure([logger], "dissection/units", Figure(figsize=(2, 1)), 7)
    log_table([logger], "dissection/rows", [{"unit": 1, "iou": 0.25}], 7)
    wandb.finish()
    files = {path.suffix for path in tmp_path.rglob("media/*/*/*")}
    assert {".png", ".json"} <= files
