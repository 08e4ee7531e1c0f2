"""The mask of Xu et al. 2019's refined attacks: where the true class and the target have their evidence."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.mask import Mask
from lightning_advinterp.core.registry import class_of_path, parameters_of
from lightning_advinterp.explanations.cam import CAM, GradCAM
from lightning_advinterp.explanations.explanation import Method


@dataclass(frozen=True)
class MaskConfig:
    """Which pixels an attack may change.

    Attributes:
        type: ``cam``: the pixels above a percentile of the class activation map of the true class, or of the target's
            (Grad-CAM where the head is no global average and linear layer). Or the class path of a mask of your own.
        percentile: of each of the two maps, 0 to 100; the union holds up to twice the share above it.
        options: arguments of a mask of your own.
    """

    type: str = "cam"
    percentile: float = 70.0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.percentile < 100:
            raise ValueError(f"mask.percentile must be from 0 to below 100, got {self.percentile}.")
        if self.type == "cam" and self.options:
            raise ValueError(f"mask.options belong to a mask of your own, got {self.options} for cam.")
        if self.type != "cam" and "." not in self.type:
            raise ValueError(f"mask.type must be cam, or the class path of a mask of your own, got {self.type!r}.")

    def create(self) -> Mask:
        """Return the mask.

        Raises:
            ValueError: if a class of a user's own is not there, or takes other arguments.
        """
        if self.type == "cam":
            return CamMask(self.percentile)
        kind = class_of_path(self.type, object, "mask type")
        known = parameters_of(kind)
        settings = {"percentile": self.percentile} if "percentile" in known else {}
        try:
            mask: Mask = kind(**settings | self.options)
        except TypeError as error:
            raise ValueError(f"mask {self.type}: {error}") from None
        return mask


@dataclass(frozen=True)
class CamMask:
    """{pixels above the P-th percentile of CAM(x0, t0)} ∪ {those of CAM(x0, t)}.

    The percentile is taken of the signed map, so that a map without positive evidence has a percentile too. Departure:
    the paper's text at hand does not say how it combines the two maps of its refined attacks; the union is this
    project's reading.

    Attributes:
        percentile: P.
    """

    percentile: float

    @property
    def passes(self) -> tuple[int, int]:
        """Those of two maps of either kind, at most."""
        return 4, 2

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        """Return the union of both classes' regions, bool ``[B, 1, H, W]``."""
        return self._region(network, images, labels) | self._region(network, images, targets)

    def _region(self, network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
        try:
            cam = _map(CAM(), network, images, classes)
        except ValueError:  # the head is none whose map is known in closed form
            cam = _map(GradCAM(), network, images, classes)
        flat = cam.flatten(1)
        place = max(1, round(self.percentile / 100 * flat.shape[1]))
        return (flat > flat.kthvalue(place, dim=1, keepdim=True).values).view_as(cam)[:, None]


def _map(method: Method, network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    with torch.enable_grad():
        return method.explain(network, images, classes).sum(1)
