"""Analyses: questions asked of a network over data."""

from lightning_advinterp.analyses.accuracy import AccuracyAnalysis
from lightning_advinterp.analyses.analysis import REAL, Analysis, Needs, Observation, Result, Sweep
from lightning_advinterp.analyses.dissection import DissectionAnalysis
from lightning_advinterp.analyses.dissection_config import DissectionConfig
from lightning_advinterp.analyses.distances import DistancesAnalysis
from lightning_advinterp.analyses.predictions import PredictionsAnalysis
from lightning_advinterp.analyses.runner import Runner
from lightning_advinterp.analyses.semantics import SemanticsAnalysis

__all__ = [
    "REAL",
    "AccuracyAnalysis",
    "Analysis",
    "DissectionAnalysis",
    "DissectionConfig",
    "DistancesAnalysis",
    "Needs",
    "Observation",
    "PredictionsAnalysis",
    "Result",
    "Runner",
    "SemanticsAnalysis",
    "Sweep",
]
