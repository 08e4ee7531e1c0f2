"""Which pixels an attack may change, as settings."""

from dataclasses import dataclass, field
from typing import Any

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.mask import Mask
from lightning_advinterp.attacks.prediction.cam_mask import CamMask
from lightning_advinterp.attacks.prediction.sensitive_cells import SensitiveCells
from lightning_advinterp.core.registry import class_of_path
from lightning_advinterp.core.signatures import settings_of

_NAMED = ("cam", "cells")


@dataclass(frozen=True)
class MaskConfig:
    """Which pixels an attack may change.

    Attributes:
        type: ``cam``: the pixels above a percentile of the class activation map of the true class, or of the target's
            (Grad-CAM where the head is no global average and linear layer). ``cells``: those cells of the attack's own
            unmasked perturbation that the margin depends on most. Or the class path of a mask of your own.
        percentile: of each of the two maps of ``cam``, 0 to 100; the union holds up to twice the share above it.
        share: of the cells of ``cells`` that may change.
        cell: side of a cell of ``cells`` in pixels; null: 13 px of 299, in proportion.
        options: arguments of a mask of your own.
    """

    type: str = "cam"
    percentile: float = 70.0
    share: float = 0.5
    cell: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.percentile < 100:
            raise ValueError(f"mask.percentile must be from 0 to below 100, got {self.percentile}.")
        if not 0 < self.share <= 1:
            raise ValueError(f"mask.share must be a share of the cells in (0, 1], got {self.share}.")
        if self.cell is not None and self.cell < 1:
            raise ValueError(f"mask.cell must be 1 pixel or more, got {self.cell}.")
        if self.type in _NAMED and self.options:
            raise ValueError(f"mask.options belong to a mask of your own, got {self.options} for {self.type}.")
        if self.type not in _NAMED and "." not in self.type:
            raise ValueError(
                f"mask.type must be {' or '.join(_NAMED)}, or the class path of a mask of your own, got {self.type!r}."
            )

    def create(self, attack: Attack) -> Mask:
        """Return the mask.

        Args:
            attack: the one that is to be masked.

        Raises:
            ValueError: if a class of a user's own is not there, or takes other arguments.
        """
        if self.type == "cam":
            return CamMask(self.percentile)
        if self.type == "cells":
            return SensitiveCells(attack, share=self.share, cell=self.cell)
        kind = class_of_path(self.type, object, "mask type")
        settings = {"percentile": self.percentile} if "percentile" in settings_of(kind) else {}
        try:
            mask = kind(**settings | self.options)
        except TypeError as error:
            raise ValueError(f"mask {self.type}: {error}") from None
        if not isinstance(mask, Mask):
            raise ValueError(f"mask {self.type} must say what it costs: passes = (forward, backward) for an image.")
        return mask
