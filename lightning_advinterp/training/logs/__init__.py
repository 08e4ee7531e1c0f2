"""Where a run's numbers, figures and tables go: a CSV file, and whichever loggers Lightning has."""

from lightning_advinterp.training.logs.folder import log_folder
from lightning_advinterp.training.logs.media import log_figure, log_table, log_text
from lightning_advinterp.training.logs.metrics_file import MetricsFile, RunCSVLogger

__all__ = ["MetricsFile", "RunCSVLogger", "log_figure", "log_folder", "log_table", "log_text"]
