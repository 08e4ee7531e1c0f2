"""What is measured of detectors, on which images, and what the adaptive attack may spend."""

from dataclasses import dataclass, field

from lightning_advinterp.attacks.loop.budget import Eps, parse_budget
from lightning_advinterp.core.settings import require_above_zero, require_least
from lightning_advinterp.metrics.detection import least_calibration
from lightning_advinterp.metrics.detection_scores import TRUST

DETECTORS = (
    "semantic_support",
    "concept_disagreement",
    "max_softmax",
    "margin",
    "energy",
    "mahalanobis",
    "knn",
    "squeezing",
)
"""Scores that are tried as detectors; each costs an adaptive attack."""

ACTED_ON = ("pd_concentration", "centre_distance")
"""Scores that are only asked whether they know errors."""


@dataclass(frozen=True)
class DetectionConfig:
    """Which scores, which images, which attack.

    Attributes:
        scores: the detectors, and the scores of the risk–coverage curves beside pd_concentration and centre_distance:
            semantic_support, concept_disagreement, max_softmax, margin, energy, mahalanobis, knn, squeezing.
        learn: at most so many images that centres, neighbours and the meaning of units are learned from.
        calibrate: at most so many images that the thresholds are taken from.
        report: at most so many images that are reported; where there are too few images for all three, each part gets
            its proportion.
        rate: of false alarms at which a detector is calibrated.
        share: of the learning images that count as a unit's top images, 1 % in the paper; at least 10 images.
        strongest: m, so many units that speak most for the prediction.
        neighbours: the knn score is the distance to this neighbour.
        shrinkage: of the covariance behind mahalanobis towards a multiple of the identity.
        bits: to which the squeezing score reduces pixels.
        filter: side of its median filter in pixels.
        adaptive_images: the adaptive attack is made on so many of the reported images at most.
        eps: its radius in L∞ where no attack has one; else it is that of the strongest attack in each norm.
        steps: of every run of the adaptive attack.
        restarts: its starts: the first is the best that the plain attacks found, the others are random.
        weights: of the score beside the class; every start is tried with each.
        temperature: of the smooth choice of the strongest units in its surrogate.
        batch_size: images at a time while it runs.
        dissection: an evaluation's folder with a dissection of this network, whose concepts concept_disagreement
            takes; without, those of a dissection in the same evaluation, or every unit as its own concept.
    """

    scores: tuple[str, ...] = DETECTORS
    learn: int = 2000
    calibrate: int = 500
    report: int = 500
    rate: float = 0.05
    share: float = 0.01
    strongest: int = 10
    neighbours: int = 5
    shrinkage: float = 0.1
    bits: int = 5
    filter: int = 2
    adaptive_images: int = 32
    eps: Eps = "8/255"
    steps: int = 20
    restarts: int = 5
    weights: tuple[float, ...] = field(default=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0))
    temperature: float = 0.1
    batch_size: int = 16
    dissection: str | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.scores if name not in DETECTORS]
        if unknown or not self.scores:
            raise ValueError(f"detection.scores must be of {', '.join(DETECTORS)}; got {', '.join(unknown) or 'none'}.")
        counts = ("learn", "calibrate", "report", "strongest", "neighbours", "filter", "steps", "restarts")
        require_least(self, dict.fromkeys((*counts, "adaptive_images", "batch_size"), 1), "detection.")
        require_above_zero(self, {"rate": 1, "share": 1, "shrinkage": 1}, "detection.")
        if not 1 <= self.bits <= 8:
            raise ValueError(f"detection.bits must be from 1 to 8, got {self.bits}.")
        if not self.weights or min(self.weights) < 0:
            raise ValueError(f"detection.weights must hold numbers, 0 or more, got {list(self.weights)}.")
        if not self.temperature > 0:
            raise ValueError(f"detection.temperature must be above 0, got {self.temperature}.")
        if self.calibrate < least_calibration(self.rate):
            raise ValueError(
                f"detection.calibrate must be {least_calibration(self.rate)} or more for a rate of {self.rate:g}, got "
                f"{self.calibrate}."
            )
        parse_budget(self.eps)

    @property
    def measured(self) -> tuple[str, ...]:
        """Every score that is computed, in the order of the tables."""
        chosen = (*self.scores, *ACTED_ON)
        return tuple(name for name in TRUST if name in chosen)
