"""What the tables of detection are made of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_advinterp.analyses.detection.config import DetectionConfig
from lightning_advinterp.analyses.detection.evasion import Level
from lightning_advinterp.metrics.detection_scores import suspicion

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Kind:
    """What was seen of the reported images of one kind.

    Attributes:
        name: ``real``, or an attack's name.
        eps: of the attack.
        label: ``[N]``.
        predicted: ``[N]``.
        scores: by name ``[N]``, in their natural sense; NaN where missing.
    """

    name: str
    eps: float | None
    label: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: Mapping[str, Values]

    @property
    def wrong(self) -> Flags:
        """Whether the prediction is wrong, bool ``[N]``."""
        return np.asarray(self.predicted != self.label)

    def suspicion(self, name: str) -> Values:
        """Return a score as a suspicion."""
        return suspicion(name, torch.from_numpy(self.scores[name])).numpy()


@dataclass(frozen=True)
class Adaptive:
    """What the adaptive attack on one score found.

    Attributes:
        score: attacked together with the class.
        attack: whose ball it had.
        norm: of the ball.
        eps: its radius.
        at: places of the attacked images among the reported ones.
        wrong: whether any image of a wrong class was found.
        suspicion: the least of such an image.
        plain: the least of plain attacks' results in the ball; +∞ where none is wrong.
    """

    score: str
    attack: str
    norm: str
    eps: float
    at: NDArray[np.int64]
    wrong: Flags
    suspicion: Values
    plain: Values


@dataclass(frozen=True)
class Outcome:
    """All that the tables are made of.

    Attributes:
        config: the settings.
        numbers: of the reported images.
        kinds: real first.
        adaptive: one per norm and detector.
        levels: of every score on real images.
        calibration: suspicions of the calibration's images by score.
        seed: of the bootstrap.
    """

    config: DetectionConfig
    numbers: Sequence[int]
    kinds: Sequence[Kind]
    adaptive: Sequence[Adaptive]
    levels: Mapping[str, Level]
    calibration: Mapping[str, Values]
    seed: int


def number(value: float) -> float | None:
    """Return a number, None where there is none."""
    return None if math.isnan(value) else float(value)
