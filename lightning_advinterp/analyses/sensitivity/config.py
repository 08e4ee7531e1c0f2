"""The settings of sensitivity."""

from dataclasses import dataclass

from lightning_advinterp.attacks.loop.budget import Eps, parse_budget
from lightning_advinterp.core.settings import require_above_zero, require_least


@dataclass(frozen=True)
class SensitivityConfig:
    """How units' changes under attack are measured, and what else is done with them.

    Attributes:
        layers: ``last``, ``all_conv``, or names; p-values are adjusted over them.
        noise: look at noise as large as every attack, in L∞ and in L2, too: a forward pass each.
        near: classes at most so many edges apart in WordNet are near each other.
        caliper: detectors and other units are matched whose mean, share of active places and standard deviation differ
            by at most this share of the layer's ranks.
        dissection: folder of an evaluation with the dissection of this network, in place of --concepts.
        mask_units: set so many of the most sensitive units to zero and attack the network again, such as [0,8,32];
            empty for not at all. Cost: (1 + mask_draws) attacks of half the images for every number but 0.
        mask_attack: attacks that are made on the masked network, by name, separated by commas; autoattack costs some
            thousand passes of every image.
        mask_eps: their radius.
        mask_steps: their steps, where they take several.
        mask_draws: random choices of as many units of the same layers, as a control.
    """

    layers: str | tuple[str, ...] = "last"
    noise: bool = True
    near: int = 2
    caliper: float = 0.1
    dissection: str | None = None
    mask_units: tuple[int, ...] = ()
    mask_attack: str = "pgd"
    mask_eps: Eps = "4/255"
    mask_steps: int = 20
    mask_draws: int = 3

    def __post_init__(self) -> None:
        require_least(self, {"near": 0, "mask_steps": 1, "mask_draws": 1})
        require_above_zero(self, {"caliper": 1})
        if any(units < 0 for units in self.mask_units) or len(set(self.mask_units)) < len(self.mask_units):
            raise ValueError(f"mask_units must be different numbers of units, 0 or more, got {list(self.mask_units)}.")
        parse_budget(self.mask_eps)
