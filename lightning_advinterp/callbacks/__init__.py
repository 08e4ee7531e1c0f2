"""Callbacks: when analyses run, what is watched and what is drawn."""

from lightning_advinterp.callbacks.accuracy import AccuracyCallback
from lightning_advinterp.callbacks.analysis import AnalysisCallback
from lightning_advinterp.callbacks.dissection import DissectionCallback
from lightning_advinterp.callbacks.ema import EMACallback
from lightning_advinterp.callbacks.export import ExportCallback
from lightning_advinterp.callbacks.finite_loss import FiniteLossCallback
from lightning_advinterp.callbacks.fragility import FragilityCallback
from lightning_advinterp.callbacks.guard import GuardCallback
from lightning_advinterp.callbacks.mid_epoch import MidEpochCallback
from lightning_advinterp.callbacks.monitors import BestCheckpoint, MonitorsCallback
from lightning_advinterp.callbacks.pictures import PicturesCallback
from lightning_advinterp.callbacks.semantics import SemanticsCallback
from lightning_advinterp.callbacks.tensorboard import TensorBoardCallback
from lightning_advinterp.callbacks.throughput import ThroughputCallback

__all__ = [
    "AccuracyCallback",
    "AnalysisCallback",
    "BestCheckpoint",
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
