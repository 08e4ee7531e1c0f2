"""Analyses: questions asked of a network over data."""

from lightning_advinterp.analyses.accuracy import AccuracyAnalysis
from lightning_advinterp.analyses.analysis import REAL, Analysis, Needs, Observation, Result, Sweep
from lightning_advinterp.analyses.dissection import DissectionAnalysis
from lightning_advinterp.analyses.dissection_config import DissectionConfig
from lightning_advinterp.analyses.distances import DistancesAnalysis
from lightning_advinterp.analyses.fragility import FragilityAnalysis
from lightning_advinterp.analyses.fragility_config import FragilityConfig
from lightning_advinterp.analyses.influence import InfluenceAnalysis
from lightning_advinterp.analyses.influence_config import InfluenceConfig
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
    "FragilityAnalysis",
    "FragilityConfig",
    "InfluenceAnalysis",
    "InfluenceConfig",
    "Needs",
    "Observation",
    "PredictionsAnalysis",
    "Result",
    "Runner",
    "SemanticsAnalysis",
    "Sweep",
]
