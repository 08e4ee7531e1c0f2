"""The attack on influence functions that makes one chosen training image count: the targeted form."""

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_advinterp.attacks.explanation.influence import InfluenceAttack, InfluenceGoal
from lightning_advinterp.core.randomness import uniform

Measure = Literal["share", "influence"]

_CHOICE = 0x72616973  # "rais"


class RaisedInfluenceAttack(InfluenceAttack):
    """Make a training image of another class look influential: climb −I(j, t) of one image j that is chosen before.

    −I(j, t) is how much weight on j lowers the loss at t. By itself it also changes with the length of ∇L(t), which all
    training images share: of an image j of another class it is mostly negative, and rises towards 0 as the loss at t
    vanishes, at which all influences do. ``measure: share`` therefore climbs −I(j, t) / ‖I(·, t)‖₂ over all training
    images, of which the authors' code makes its vectors; ``influence`` climbs −I(j, t), the paper's form with the sign
    turned.

    Ghorbani et al. 2019 speak of such attacks; which image they choose is not known here.

    Args:
        among: ``other_class``: j is drawn by each image's key among the training images of other classes than its; or
            the place of a training image, the same for all.
        measure: what is climbed.
        **settings: as in :class:`~lightning_advinterp.attacks.explanation.influence.InfluenceAttack`, without ``top``.
    """

    def __init__(
        self,
        *args: Any,
        among: int | Literal["other_class"] = "other_class",
        measure: Measure = "share",
        **settings: Any,
    ) -> None:
        super().__init__(*args, top=1, **settings)
        if measure not in ("share", "influence"):
            raise ValueError(f"measure must be share or influence, got {measure!r}.")
        count = len(self.influence.labels)
        if among != "other_class" and not (isinstance(among, int) and 0 <= among < count):
            raise ValueError(f"among must be other_class, or a place among {count} training images, got {among!r}.")
        self.among, self.measure = among, measure

    def chosen(self, y: Tensor, keys: Tensor) -> Tensor:
        """Return the place of the training image that is raised for each test image, int64 ``[B]``.

        Args:
            y: int64 ``[B]``, classes of the influence's layer.
            keys: int64 ``[B]``.

        Raises:
            ValueError: if all training images are of one class.
        """
        if isinstance(self.among, int):
            return torch.full_like(y, self.among)
        eligible = self.influence.labels[None].to(y.device) != y[:, None]
        if not bool(eligible.any(1).all()):
            raise ValueError("among: no training image is of another class; name the place of one.")
        drawn = uniform(keys, (eligible.shape[1],), stream=_CHOICE)
        return drawn.masked_fill(~eligible, -1).argmax(1)

    def exemplars(self, values: Tensor, y: Tensor, keys: Tensor) -> Tensor:
        """Return the chosen training image, ``[B, 1]``."""
        return self.chosen(y, keys)[:, None]

    def climbed(self, features: Tensor, goal: InfluenceGoal) -> Tensor:
        """Return −I(j, t), or its share, ``[B]``, of features ``[B, F]``."""
        raised = -super().climbed(features, goal)
        return raised if self.measure == "influence" else raised / self.influence.length(features, goal.label)
