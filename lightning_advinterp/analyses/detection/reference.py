"""What the first look at real images leaves: features to learn from, and the images that calibrate."""

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.detection.config import DetectionConfig
from lightning_advinterp.analyses.detection.evasion import Level
from lightning_advinterp.analyses.detection.outcome import Values
from lightning_advinterp.analyses.detection.parts import Parts
from lightning_advinterp.analyses.detection.scorer import LAYER, LINEAR_HEAD, Look, Scorer, linear_head, vectors
from lightning_advinterp.attacks.loop.goal import full_precision
from lightning_advinterp.core.result import REAL
from lightning_advinterp.metrics import detection_scores as scores
from lightning_advinterp.metrics.detection import false_alarm_threshold
from lightning_advinterp.networks.network import Network

logger = logging.getLogger(__name__)


class Reference(Summed):
    """Real images by number, and what is learned of them once all processes have seen theirs.

    Args:
        config: settings of the scores.
        parts: which images are for what.
        similarity: C between the network's outputs; None where no score needs it.
        concepts: each unit's concept; None: every unit stands for itself.

    Attributes:
        learned: number to label and features, ``[1 + U]``.
        calibrated: number to logits, features and the logits of both squeezed versions, ``[K + U (+ 2 K)]``.
    """

    united = ("learned", "calibrated")

    def __init__(
        self, config: DetectionConfig, parts: Parts, similarity: Tensor | None, concepts: tuple[int, ...] | None
    ) -> None:
        self.config, self.parts = config, parts
        self._similarity, self._concepts = similarity, concepts
        self.learned: dict[int, Tensor] = {}
        self.calibrated: dict[int, Tensor] = {}
        self.network: Network | None = None
        self._made: tuple[Scorer, dict[str, Level]] | None = None

    @property
    def measured(self) -> tuple[str, ...]:
        """The scores that the network can give."""
        assert self.network is not None
        linear = linear_head(self.network) is not None
        return tuple(name for name in self.config.measured if linear or name not in LINEAR_HEAD)

    def read(self, observation: Observation) -> None:
        """Keep what the images that are learned from, and those that calibrate, are to the network."""
        assert self.network is not None
        logits = full_precision(observation.logits[REAL])
        features = full_precision(vectors(observation.activations[REAL][LAYER]))
        numbers = observation.index.tolist()
        for place, number in enumerate(numbers):
            if number in self.parts.learn:
                row = torch.cat([observation.label[place, None].to(features), features[place]])
                self.learned[number] = row.cpu()
        places = [place for place, number in enumerate(numbers) if number in self.parts.calibrate]
        if not places:
            return
        at = torch.tensor(places, device=observation.index.device)
        parts = [logits[at], features[at]]
        if "squeezing" in self.config.measured:
            with torch.no_grad():
                both = scores.squeezed(observation.images[REAL][at], self.config.bits, self.config.filter)
                parts += [full_precision(self.network(images)) for images in both]
        rows = torch.cat(parts, dim=1).cpu()
        self.calibrated.update(zip((numbers[place] for place in places), rows, strict=True))

    def prepared(self) -> tuple[Scorer, dict[str, Level]]:
        """Return the scorer, and what its scores are on the calibration's images; both learned when first needed."""
        if self._made is None:
            assert self.network is not None
            rows = torch.stack([self.learned[number] for number in sorted(self.learned)])
            features, labels = rows[:, 1:], rows[:, 0].long()
            scorer = Scorer(self.network, self.config, features, labels, self._similarity, self._concepts)
            suspicions = self.calibration(scorer)
            self._made = scorer, {name: self._level(name, values) for name, values in suspicions.items()}
        return self._made

    def _level(self, name: str, values: Values) -> Level:
        finite = values[np.isfinite(values)]
        threshold = false_alarm_threshold(values, self.config.rate)
        if not np.isfinite(threshold) and name in self.config.scores:
            logger.warning(
                "detection: %s is missing for %d of %d images of the calibration, more than a share of %g: it flags "
                "nothing. Learn from more images (detection.learn), or leave it out of detection.scores.",
                name,
                len(values) - len(finite),
                len(values),
                self.config.rate,
            )
        spread = float(finite.std()) if len(finite) else 0.0
        return Level(threshold, float(np.median(values)), spread or 1.0)

    def calibration(self, scorer: Scorer) -> dict[str, Values]:
        """Return the suspicions of the images that calibrate, by score."""
        rows = torch.stack([self.calibrated[number] for number in sorted(self.calibrated)])
        outputs = scorer.network.num_classes
        width = rows.shape[1] - outputs * (3 if "squeezing" in self.config.measured else 1)
        logits, features, squeezed_logits = torch.split(rows, [outputs, width, rows.shape[1] - outputs - width], dim=1)
        squeezed = tuple(torch.split(squeezed_logits, outputs, dim=1)) if squeezed_logits.shape[1] else ()
        look = Look(logits, features, logits.argmax(dim=1), squeezed)
        with torch.no_grad():
            return {name: scorer.suspicion(name, look).cpu().numpy() for name in self.measured}

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's images."""
        super().merge(state)
        self._made = None

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the images."""
        super().load_state_dict(state)
        self._made = None
