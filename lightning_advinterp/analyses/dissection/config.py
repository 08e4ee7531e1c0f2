"""The settings of a dissection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lightning_advinterp.metrics.concepts import DETECTOR_IOU
from lightning_advinterp.metrics.label_maps import Rule, check_rule
from lightning_advinterp.metrics.quantile_ranks import as_quantile

Control = Literal["shuffled", "rotated", "random"]
CONTROLS: tuple[Control, ...] = get_args(Control)
NOISE = "~noise"
"""Ends the name of the view of an attack's noise."""
PAIRED = "~real"
"""Ends the name of the view of the real images, split by an attack's success."""


def check_names(attacks: Sequence[str]) -> None:
    """Refuse attacks that are called like what a dissection counts beside them: one would replace the other."""
    for name in attacks:
        if name in CONTROLS or name.endswith((NOISE, PAIRED)):
            raise ValueError(
                f"attack: {name!r} is what dissection calls a control; give the attack another name than "
                f"{', '.join(CONTROLS)}, and none that ends with {NOISE} or {PAIRED}."
            )


@dataclass(frozen=True)
class DissectionConfig:
    """How a dissection counts.

    Attributes:
        layers: ``last`` (the network's φ), ``all_conv`` (every convolution of the main path, read where its response
            is used), ``all``, ``all_mlp``, ``all_heads``, ``all_blocks``, or names, in a list or separated by commas.
        quantile: q of the activations, above which a unit is active; ``official`` is 994/999, what NetDissect's code
            reads for 0.995.
        exact: one more sweep makes the quantile exact instead of within 2⁻¹¹.
        rule: what the union counts, ``original``, ``plain`` or ``lite``, see
            :mod:`lightning_advinterp.metrics.dissection`.
        iou: the overlap from which a unit is a detector. The paper prints 0.4, which no unit reaches; 0.04 is meant.
        threshold_source: ``real``: a unit's threshold on adversarial images is its own on real ones; ``recompute``:
            that of the adversarial images.
        controls: what is counted beside it: ``shuffled`` (every image with another's labels), ``rotated`` (a random
            rotation of each layer's units), ``random`` (the network with random weights). At least one: a ratio that
            nothing is held against says nothing.
        noise: count images with random-sign noise as large as each attack's, beside its retention.
        by_success: count images on which an attack succeeds apart from those on which it fails: what it leaves of
            concepts, ratios, and both under its noise.
        groups: into so many random groups images are counted, from which intervals and split halves are read.
        replicates: of the bootstrap over groups of images; 0 for no intervals.
        keep: hold all activations between the sweeps instead of computing them twice: 4 bytes each, that is 100 kB
            per image for ResNet-18's last layer, and for each of: real images, an attack, its noise, ``rotated``,
            ``random``. Memory then grows with the number of images.
        seed: draws groups, controls and noise.
    """

    layers: str | tuple[str, ...] = "last"
    quantile: float | Literal["official"] = 0.995
    exact: bool = False
    rule: Rule = "original"
    iou: float = DETECTOR_IOU
    threshold_source: Literal["real", "recompute"] = "real"
    controls: tuple[Control, ...] = CONTROLS
    noise: bool = True
    by_success: bool = False
    groups: int = 20
    replicates: int = 200
    keep: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        as_quantile(self.quantile)
        check_rule(self.rule)
        if not self.controls or not set(self.controls) <= set(CONTROLS):
            raise ValueError(
                f"controls must name at least one of {', '.join(CONTROLS)}, got {list(self.controls)}; "
                "without a control nobody can tell what a ratio says."
            )
        if self.threshold_source not in ("real", "recompute"):
            raise ValueError(f"threshold_source must be real or recompute, got {self.threshold_source!r}.")
        if not 0 < self.iou <= 1:
            raise ValueError(f"iou must lie in (0, 1], got {self.iou}.")
        if self.groups < 2:
            raise ValueError(f"groups must be 2 or more, for there to be two halves, got {self.groups}.")
        if self.replicates < 0:
            raise ValueError(f"replicates must be 0 or more, got {self.replicates}.")
        if self.keep and self.exact:
            raise ValueError("keep: exact thresholds need a sweep of their own; choose one of keep and exact.")
