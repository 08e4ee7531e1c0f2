"""The maps in which a perturbation is looked for: CAM or Grad-CAM, and the adversarial saliency map."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_advinterp.explanations import CAM, GradCAM, Method
from lightning_advinterp.explanations.promotion import adversarial_saliency, class_gradients
from lightning_advinterp.metrics.heatmaps import says_nothing
from lightning_advinterp.metrics.interpretability import PERCENTILES, interpretability_score, interpretability_scores
from lightning_advinterp.metrics.interpretability import largest as largest_places
from lightning_advinterp.networks.network import Network

Pair = tuple[Literal["real", "adversarial"], Literal["true", "target"]]
PAIRS: tuple[Pair, ...] = (("real", "true"), ("real", "target"), ("adversarial", "true"), ("adversarial", "target"))
"""Of which image and for which class a map is."""
ASM = "asm"


@dataclass(frozen=True)
class Looked:
    """What one forward pass of an image for two classes gives.

    Attributes:
        maps: map and class to ``[B, C or 1, H, W]``.
        gradients: ∂z_t and ∂z_t0.
    """

    maps: Mapping[tuple[str, str], Tensor]
    gradients: tuple[Tensor, Tensor]


class Maps:
    """The maps of a network.

    CAM where the network ends with a global average and one layer, else Grad-CAM; neither where there are no feature
    maps. Both are signed (without relu, which would tie most places at 0) and enlarged bicubically.

    Args:
        network: seen in evaluation mode.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.cam: Method | None = None
        self.cam_name = ""
        parameter = next(network.parameters())
        probe = parameter.new_full((1, len(network.mean), network.input_size, network.input_size), 0.5)
        methods: dict[str, Method] = {
            "cam": CAM(interpolation="bicubic"),
            "grad_cam": GradCAM(interpolation="bicubic"),
        }
        for name, method in methods.items():
            try:
                method.explain(network, probe, torch.zeros(1, dtype=torch.int64, device=probe.device))
            except ValueError:
                continue
            self.cam, self.cam_name = method, name
            break

    @property
    def names(self) -> tuple[str, ...]:
        """What the maps are called, the class activation map first."""
        return (self.cam_name, ASM) if self.cam is not None else (ASM,)

    @property
    def passes(self) -> tuple[int, int]:
        """Forward and backward passes of :meth:`look`."""
        forwards, backwards = (0, 0) if self.cam is None else self.cam.passes(self.network.input_size)
        return 1 + 2 * forwards, 2 + 2 * backwards

    def look(self, x: Tensor, target: Tensor, true: Tensor) -> Looked:
        """Return all maps of images ``[B, C, H, W]`` for two classes, int64 ``[B]`` each."""
        at_target, at_true = class_gradients(self.network, x, (target, true))
        maps = {
            (ASM, "true"): adversarial_saliency(at_true, at_target),
            (ASM, "target"): adversarial_saliency(at_target, at_true),
        }
        if self.cam is not None:
            for which, classes in (("true", true), ("target", target)):
                maps[self.cam_name, which] = self.cam.explain(self.network, x, classes).sum(1, keepdim=True)
        return Looked(maps, (at_target, at_true))


def map_scores(
    names: tuple[str, ...], delta: Tensor, looked: Mapping[str, Looked], control: Looked | None, distinct: Tensor
) -> Tensor:
    """Return interpretability scores, float64 ``[B, maps, 4, P, 3]``: the map's own, rolled, and another image's.

    Args:
        names: of the maps.
        delta: ``[B, C, H, W]``.
        looked: what ``real`` and ``adversarial`` images gave.
        control: what another image gave for the same classes; None where there is none.
        distinct: bool ``[B]``, whether the target is another class than the true one; without, a map of the target
            or of both classes is missing.
    """
    scores = delta.new_full((len(delta), len(names), len(PAIRS), len(PERCENTILES), 3), torch.nan, dtype=torch.float64)
    for number, name in enumerate(names):
        nonzero = name == ASM
        for place, (of, which) in enumerate(PAIRS):
            maps = looked[of].maps[name, which]
            score, rolled = interpretability_scores(delta, maps, nonzero=nonzero)
            scores[:, number, place, :, 0], scores[:, number, place, :, 1] = score, rolled
            if control is not None:
                foreign = control.maps[name, which]
                spoken = ~says_nothing(foreign.flatten(2))[:, None, None, None]
                masks = largest_places(foreign, PERCENTILES, nonzero=nonzero) & spoken
                scores[:, number, place, :, 2] = torch.stack([interpretability_score(delta, mask) for mask in masks], 1)
            if nonzero or which == "target":
                scores[~distinct, number, place] = torch.nan
    return scores
