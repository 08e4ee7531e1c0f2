"""Training objectives: what a training step minimises."""

from lightning_advinterp.objectives.adversarial import Kurakin, Madry
from lightning_advinterp.objectives.consistency import Consistency, squared_distance
from lightning_advinterp.objectives.objective import Loss, Objective
from lightning_advinterp.objectives.standard import Standard

__all__ = ["Consistency", "Kurakin", "Loss", "Madry", "Objective", "Standard", "squared_distance"]
