"""Analyses: questions asked of a network over data."""

from lightning_advinterp.analyses.accuracy import AccuracyAnalysis
from lightning_advinterp.analyses.analysis import REAL, Analysis, Needs, Observation, Result, Sweep
from lightning_advinterp.analyses.dissection import DissectionAnalysis
from lightning_advinterp.analyses.dissection_config import DissectionConfig
from lightning_advinterp.analyses.predictions import PredictionsAnalysis
from lightning_advinterp.analyses.runner import Runner

__all__ = [
    "REAL",
    "AccuracyAnalysis",
    "Analysis",
    "DissectionAnalysis",
    "DissectionConfig",
    "Needs",
    "Observation",
    "PredictionsAnalysis",
    "Result",
    "Runner",
    "Sweep",
]
