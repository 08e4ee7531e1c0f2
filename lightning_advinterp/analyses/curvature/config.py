"""What curvature measures of every image."""

import math
from dataclasses import dataclass

from lightning_advinterp.core.settings import require_above_zero, require_least


@dataclass(frozen=True)
class CurvatureConfig:
    """What is measured of every image.

    Attributes:
        beta: β of the softplus that stands for ReLU, whose Hessian is 0 almost everywhere.
        lanczos: dimension of the Krylov spaces for the largest eigenvalues.
        probes: random vectors for the Frobenius norm.
        step: root mean square change of a pixel in the steps along three directions.
        topk: share of the map's places whose overlap is reported after such a step.
        limit: number of images.
        batch_size: images at a time: each needs (lanczos + 3) vectors of its size.
        seed: of the start vectors, the probes and the random direction.
        walk: steps of a walk along the level set of the class's logit, on which the bound on the map's turning is
            checked; 0: none. A step costs about as much as the rest of the analysis without its probes.
        walk_step: root mean square change of a pixel in one of these steps.
        betas: β of a sweep: how far the gradient map of the network with softplus of each can be led to a target map,
            beside that network's accuracy, its classes and its curvature; empty: no sweep.
        trained: checkpoints of runs beside the network under test in that sweep, as paths or patterns such as
            runs/softplus_*/last.ckpt: those trained with softplus (model.softplus) are measured as they are, those of
            ReLU with every β.
        manipulation_eps: ε in L∞ of that attack.
        manipulation_steps: its steps, of ε/16 each.
        sigmas: σ of SmoothGrad's noise, as shares of the pixels' range, whose maps are compared with those of every β.
        samples: draws of each of these maps.
    """

    beta: float = 10.0
    lanczos: int = 20
    probes: int = 64
    step: float = 2 / 255
    topk: float = 0.02
    limit: int = 32
    batch_size: int = 8
    seed: int = 0
    walk: int = 0
    walk_step: float = 0.25 / 255
    betas: tuple[float, ...] = ()
    trained: tuple[str, ...] | str = ()
    manipulation_eps: float = 8 / 255
    manipulation_steps: int = 50
    sigmas: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4)
    samples: int = 20

    def __post_init__(self) -> None:
        require_least(self, {"lanczos": 1, "limit": 1, "batch_size": 1, "walk": 0})
        require_least(self, {"manipulation_steps": 1, "samples": 1})
        if self.probes < 2:
            raise ValueError(f"probes must be 2 or more, for there to be a standard error, got {self.probes}.")
        require_above_zero(self, {"beta": math.inf, "step": 1, "walk_step": 1, "topk": 1, "manipulation_eps": 1})
        if isinstance(self.trained, str):
            object.__setattr__(self, "trained", (self.trained,))
        if self.trained and not self.betas:
            raise ValueError("trained: the networks stand beside a sweep over betas; give betas, too.")
        for name in ("betas", "sigmas"):
            values = [float(value) for value in getattr(self, name)]
            if len(set(values)) < len(values) or not all(0 < value < math.inf for value in values):
                raise ValueError(f"{name} must be different numbers above 0, got {list(values)}.")
            object.__setattr__(self, name, tuple(values))
