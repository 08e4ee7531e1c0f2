"""Analyses: questions asked of a network over data."""

from lightning_advinterp.analyses.accuracy.analysis import AccuracyAnalysis
from lightning_advinterp.analyses.accuracy.predictions import PredictionsAnalysis
from lightning_advinterp.analyses.base.protocol import Analysis, Needs, Observation, Plan, Sweep
from lightning_advinterp.analyses.base.runner import Runner
from lightning_advinterp.analyses.dissection.analysis import DissectionAnalysis
from lightning_advinterp.analyses.dissection.config import DissectionConfig
from lightning_advinterp.analyses.distances.analysis import DistancesAnalysis
from lightning_advinterp.analyses.fragility.analysis import FragilityAnalysis
from lightning_advinterp.analyses.fragility.config import FragilityConfig
from lightning_advinterp.analyses.influence.analysis import InfluenceAnalysis
from lightning_advinterp.analyses.influence.config import InfluenceConfig
from lightning_advinterp.analyses.semantics.analysis import SemanticsAnalysis
from lightning_advinterp.core.result import REAL, Result

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
    "Plan",
    "PredictionsAnalysis",
    "Result",
    "Runner",
    "SemanticsAnalysis",
    "Sweep",
]
