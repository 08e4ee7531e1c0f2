"""Training objectives: what a training step minimises."""

from lightning_advinterp.objectives.adversarial import Fast, Kurakin, Madry
from lightning_advinterp.objectives.attribution import IGNorm, IGSumNorm
from lightning_advinterp.objectives.consistency import Consistency, squared_distance
from lightning_advinterp.objectives.ensemble import EnsembleAdversarial
from lightning_advinterp.objectives.explanation import HessianNorm
from lightning_advinterp.objectives.free import Free
from lightning_advinterp.objectives.grad_align import GradAlign
from lightning_advinterp.objectives.mart import Mart, mart_loss
from lightning_advinterp.objectives.objective import Loss, Objective
from lightning_advinterp.objectives.source_network import SourceNetwork
from lightning_advinterp.objectives.standard import Standard
from lightning_advinterp.objectives.trades import Trades, trades_loss
from lightning_advinterp.objectives.weight_perturbation import AWP

__all__ = [
    "AWP",
    "Consistency",
    "EnsembleAdversarial",
    "Fast",
    "Free",
    "GradAlign",
    "HessianNorm",
    "IGNorm",
    "IGSumNorm",
    "Kurakin",
    "Loss",
    "Madry",
    "Mart",
    "Objective",
    "SourceNetwork",
    "Standard",
    "Trades",
    "mart_loss",
    "squared_distance",
    "trades_loss",
]
