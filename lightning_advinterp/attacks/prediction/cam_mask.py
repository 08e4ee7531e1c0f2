"""The mask of Xu et al. 2019's refined attacks: where the true class and the target have their evidence."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_advinterp.explanations.cam import CAM, GradCAM
from lightning_advinterp.explanations.explanation import Method


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
