"""The papers' settings of attacks on explanations."""

from typing import Any

from lightning_advinterp.attacks.explanation.config import ExplanationAttackConfig


def _ghorbani(kind: str, **settings: Any) -> ExplanationAttackConfig:
    common: dict[str, Any] = {"eps": "8/255", "steps": 300, "step_size": "0.5/255", "label": "true"}
    surrogate: dict[str, Any] = {} if kind == "random_sign" else {"softplus": 1.0}
    return ExplanationAttackConfig(kind, **common | surrogate | settings)


EXPLANATION_ATTACKS: dict[str, tuple[ExplanationAttackConfig, ...]] = {
    "ghorbani2019": tuple(
        _ghorbani(kind, criterion="topk") for kind in ("random_sign", "topk", "mass_centre", "target_region")
    ),
    "dombrowski2019": (ExplanationAttackConfig("target_map", steps=1500, softplus=(10.0, 100.0), penalty=5e-4),),
    "recommended": tuple(
        ExplanationAttackConfig(kind) for kind in ("random_sign", "topk", "mass_centre", "target_region", "target_map")
    ),
}
"""The settings of the authors' codes.

ghorbani2019: 300 steps of 0.5/255 in ε = 8/255, a softplus surrogate of β = 1, the least intersection of the top 1,000
(of smaller images fewer, see :func:`~lightning_advinterp.metrics.heatmaps.default_k`). Departures: the region is the
quadrant of least relevance; the centre of mass moves away from that of the ReLU map, in the authors' code from the
surrogate's; of integrated gradients the whole map is differentiated, its factor (x − baseline) included, while the
authors' code sums (k/n) times the derivatives at the points of the path and leaves the factor fixed. With β = 1 a
ResNet-18 loses its classes, a SqueezeNet does not; ``recommended`` has 10. For DeepLIFT the authors take ε = 16/255,
α = 0.1/255 and no surrogate.

dombrowski2019: 1,500 steps of Adam, γ = (1e6/1000)/(1e11/224²) = 5e-4 of the squared change of the probabilities, β
from 10 to 100, no ball. Departures: the best checked iterate is kept instead of the last; the step, 2e-4 in normalised
units, is 4.5e-5 in pixels of every channel; the original map is the ReLU network's (theirs: β = 1000).
"""
