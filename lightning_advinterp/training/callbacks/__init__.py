"""Callbacks: when analyses run, what is watched and what is drawn."""

from lightning_advinterp.training.callbacks.accuracy import AccuracyCallback
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback
from lightning_advinterp.training.callbacks.budget import BudgetCallback
from lightning_advinterp.training.callbacks.dissection import DissectionCallback
from lightning_advinterp.training.callbacks.ema import EMACallback
from lightning_advinterp.training.callbacks.export import ExportCallback
from lightning_advinterp.training.callbacks.finite_loss import FiniteLossCallback
from lightning_advinterp.training.callbacks.fragility import FragilityCallback
from lightning_advinterp.training.callbacks.guard import GuardCallback
from lightning_advinterp.training.callbacks.mid_epoch import MidEpochCallback
from lightning_advinterp.training.callbacks.monitors import BestCheckpoint, MonitorsCallback
from lightning_advinterp.training.callbacks.pictures import PicturesCallback
from lightning_advinterp.training.callbacks.semantics import SemanticsCallback
from lightning_advinterp.training.callbacks.tensorboard import TensorBoardCallback
from lightning_advinterp.training.callbacks.throughput import ThroughputCallback

__all__ = [
    "AccuracyCallback",
    "AnalysisCallback",
    "BestCheckpoint",
    "BudgetCallback",
    "DissectionCallback",
    "EMACallback",
    "ExportCallback",
    "FiniteLossCallback",
    "FragilityCallback",
    "GuardCallback",
    "MidEpochCallback",
    "MonitorsCallback",
    "PicturesCallback",
    "SemanticsCallback",
    "TensorBoardCallback",
    "ThroughputCallback",
]
