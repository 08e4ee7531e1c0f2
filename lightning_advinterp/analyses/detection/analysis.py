"""Detection of attacks and errors: what scores say of real and attacked images, and of images that know the score."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Needs, Observation, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.detection.adaptive import AdaptiveAttack, Level, strongest_budgets
from lightning_advinterp.analyses.detection.config import DetectionConfig
from lightning_advinterp.analyses.detection.parts import Parts
from lightning_advinterp.analyses.detection.scorer import LAYER, LINEAR_HEAD, Look, Scorer, linear_head, vectors
from lightning_advinterp.analyses.detection.tables import Adaptive, Kind, Outcome, build_tables
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import parse_budget
from lightning_advinterp.attacks.loop.goal import full_precision
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.metrics import detection_scores as scores
from lightning_advinterp.metrics.detection import false_alarm_threshold
from lightning_advinterp.networks.network import Network

logger = logging.getLogger(__name__)


class DetectionAnalysis(Summed):
    """Detectors calibrated, measured and attacked; and whether their scores know errors.

    The first sweep reads the features of the images that are learned from and of those that calibrate; the second
    shows the reported images alone, attacked. Every score of every detector gets an adaptive attack.

    Args:
        config: scores, images, the adaptive attack's budget.
        parts: which images are for what.
        attacks: name to attack.
        similarity: C between the network's outputs, ``[K, K]``, for semantic support; None: it is not measured.
        concepts: each unit's concept; None: every unit stands for itself.
        seed: of the bootstrap and the adaptive attack's starts.
    """

    name = "detection"
    summed = ("_learned", "_calibrated", "_seen", "_evaded")

    def __init__(
        self,
        config: DetectionConfig,
        parts: Parts,
        attacks: Mapping[str, Attack] | None = None,
        *,
        similarity: Tensor | None = None,
        concepts: tuple[int, ...] | None = None,
        seed: int = 0,
    ) -> None:
        self.config, self.parts, self.attacks = config, parts, dict(attacks or {})
        self.kinds = (REAL, *self.attacks)
        self._similarity, self._concepts, self._seed = similarity, concepts, seed
        budget = parse_budget(config.eps).high
        self.budgets = strongest_budgets(list(self.attacks.values()), budget)
        # By image number: features and label; logits, features and squeezed logits; label, prediction and scores; for
        # every detector whether the class is wrong, its suspicion and that of plain attacks.
        self._learned: dict[int, Tensor] = {}
        self._calibrated: dict[int, Tensor] = {}
        self._seen: dict[str, dict[int, Tensor]] = {kind: {} for kind in self.kinds}
        self._evaded: dict[str, dict[int, Tensor]] = {norm: {} for norm in self.budgets}
        self._network: Network | None = None
        self._made: tuple[Scorer, dict[str, Level]] | None = None

    def needs(self, network: Network) -> Needs:
        """One sweep over real images, one over the reported ones under every attack.

        Raises:
            ValueError: if a score cannot be had of this network.
        """
        network.check([LAYER])
        wanting = [name for name in self.config.scores if name in LINEAR_HEAD]
        if wanting and linear_head(network) is None:
            others = ",".join(name for name in self.config.scores if name not in LINEAR_HEAD)
            raise ValueError(
                f"detection.scores: {', '.join(wanting)} needs a linear last layer, which {network.name} has not; "
                f"give the others alone, --detection.scores '[{others}]'."
            )
        self._network = network
        squeezes = 2 * ("squeezing" in self.config.measured)
        count = len(self.parts.report)
        closing = Sweep((LAYER,), self.kinds, forwards=squeezes * len(self.kinds), chosen=count)
        if len(self.parts.adaptive):
            closing = Sweep((LAYER,), self.kinds, forwards=closing.forwards, chosen=count, batch=self.config.batch_size)
        return Needs((Sweep((LAYER,), forwards=squeezes), closing), passes=self._adaptive_passes())

    def _adaptive_passes(self) -> tuple[float, float]:
        """Return the most passes that the adaptive attacks can take, per image of the whole set."""
        config = self.config
        runs = config.restarts * len(config.weights) * len(self.budgets)
        several = sum(3 if name == "squeezing" else 1 for name in config.scores)
        share = len(self.parts.adaptive) / max(
            1, sum(map(len, (self.parts.learn, self.parts.calibrate, self.parts.report)))
        )
        return share * several * runs * (config.steps + 1), share * several * runs * config.steps

    @property
    def measured(self) -> tuple[str, ...]:
        """The scores that this network can give."""
        assert self._network is not None
        linear = linear_head(self._network) is not None
        return tuple(name for name in self.config.measured if linear or name not in LINEAR_HEAD)

    def choose(self, results: Mapping[str, Result]) -> Collection[int]:
        """Return the reported images."""
        return self.parts.report

    def update(self, sweep: int, seen: Observation) -> None:
        """Learn and calibrate; then score, and attack."""
        numbers = seen.index.tolist()
        if sweep == 0:
            self._read(numbers, seen)
            return
        at = [place for place, number in enumerate(numbers) if number in self.parts.report]
        if not at:
            return
        scorer, levels = self._prepared()
        places = torch.tensor(at, device=seen.index.device)
        for kind in self.kinds:
            known = seen.logits[kind][places], seen.activations[kind][LAYER][places]
            with torch.no_grad():
                look = scorer.look(seen.images[kind][places], self.measured, known)
                columns = [scorer.score(name, look) for name in self.measured]
            rows = torch.stack([seen.label[places].double(), look.label.double(), *columns], dim=1).cpu()
            self._seen[kind].update(zip((numbers[place] for place in at), rows, strict=True))
        right = seen.logits[REAL].argmax(dim=1) == seen.label
        chosen = [place for place in at if numbers[place] in self.parts.adaptive and bool(right[place])]
        if chosen:
            self._attack(torch.tensor(chosen, device=seen.index.device), seen, scorer, levels)

    def _read(self, numbers: Sequence[int], seen: Observation) -> None:
        """Keep what the images that are learned from, and those that calibrate, are to the network."""
        assert self._network is not None
        logits, features = full_precision(seen.logits[REAL]), full_precision(vectors(seen.activations[REAL][LAYER]))
        learn = [place for place, number in enumerate(numbers) if number in self.parts.learn]
        for place in learn:
            row = torch.cat([seen.label[place, None].to(features), features[place]])
            self._learned[numbers[place]] = row.cpu()
        calibrate = [place for place, number in enumerate(numbers) if number in self.parts.calibrate]
        if not calibrate:
            return
        at = torch.tensor(calibrate, device=seen.index.device)
        parts = [logits[at], features[at]]
        if "squeezing" in self.config.measured:
            with torch.no_grad():
                both = scores.squeezed(seen.images[REAL][at], self.config.bits, self.config.filter)
                parts += [full_precision(self._network(images)) for images in both]
        rows = torch.cat(parts, dim=1).cpu()
        self._calibrated.update(zip((numbers[place] for place in calibrate), rows, strict=True))

    def _attack(self, at: Tensor, seen: Observation, scorer: Scorer, levels: Mapping[str, Level]) -> None:
        """Make the adaptive attacks on some images of a batch."""
        assert self._network is not None
        x, y, index = seen.images[REAL][at], seen.label[at], seen.index[at]
        results = [seen.images[kind][at] for kind in self.attacks]
        keys = sample_keys(index, seed=self._seed)
        for norm, (_, eps) in self.budgets.items():
            found = []
            for name in self.config.scores:
                attack = AdaptiveAttack(scorer, name, levels[name], norm=norm, eps=eps, weights=self.config.weights)
                evasion = attack.evade(self._network, x, y, keys, results)
                found.append(torch.stack([evasion.wrong.double(), evasion.suspicion, evasion.plain], dim=1))
            rows = torch.stack(found, dim=1).cpu()
            self._evaded[norm].update(zip(index.tolist(), rows, strict=True))

    def _prepared(self) -> tuple[Scorer, dict[str, Level]]:
        """Return the scorer, and what its scores are on the calibration's images; both learned when first needed."""
        if self._made is not None:
            return self._made
        assert self._network is not None
        rows = torch.stack([self._learned[number] for number in sorted(self._learned)])
        scorer = Scorer(self._network, self.config, rows[:, 1:], rows[:, 0].long(), self._similarity, self._concepts)
        suspicions = self._calibration(scorer)
        levels = {}
        for name, values in suspicions.items():
            finite = values[np.isfinite(values)]
            spread = float(finite.std()) if len(finite) else 0.0
            threshold = false_alarm_threshold(values, self.config.rate)
            levels[name] = Level(threshold, float(np.median(values)), spread or 1.0)
            if not np.isfinite(threshold):
                logger.warning(
                    "detection: %s is missing for %d of %d images of the calibration, more than %g of them: it flags "
                    "nothing. Learn from more images (detection.learn), or leave it out of detection.scores.",
                    name,
                    len(values) - len(finite),
                    len(values),
                    self.config.rate,
                )
        self._made = scorer, levels
        return self._made

    def _calibration(self, scorer: Scorer) -> dict[str, np.ndarray]:
        """Return the suspicions of the images that calibrate, by score."""
        assert self._network is not None
        rows = torch.stack([self._calibrated[number] for number in sorted(self._calibrated)])
        outputs = self._network.num_classes
        width = rows.shape[1] - outputs * (3 if "squeezing" in self.config.measured else 1)
        logits, features, rest = torch.split(rows, [outputs, width, rows.shape[1] - outputs - width], dim=1)
        squeezed = tuple(torch.split(rest, outputs, dim=1)) if rest.shape[1] else ()
        look = Look(logits, features, logits.argmax(dim=1), squeezed)
        with torch.no_grad():
            return {name: scorer.suspicion(name, look).cpu().numpy() for name in self.measured}

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's images.

        Images are united by number, never added up: after the first sweep all processes have what it found.
        """
        self._learned |= state["_learned"]
        self._calibrated |= state["_calibrated"]
        for mine, other in ((self._seen, state["_seen"]), (self._evaded, state["_evaded"])):
            for name, rows in other.items():
                mine[name] |= rows
        self._made = None

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace what was found."""
        super().load_state_dict(state)
        self._made = None

    def result(self) -> Result:
        """Return the tables of detection, of errors, and of risk and coverage."""
        if not self._seen[REAL]:
            return Result(self.name)
        scorer, levels = self._prepared()
        numbers = sorted(self._seen[REAL])
        kinds = []
        for kind in self.kinds:
            rows = torch.stack([self._seen[kind][number] for number in numbers]).numpy()
            columns = {name: rows[:, 2 + place] for place, name in enumerate(self.measured)}
            eps = None if kind == REAL else self.attacks[kind].eps
            kinds.append(Kind(kind, eps, rows[:, 0].astype(int), rows[:, 1].astype(int), columns))
        adaptive = []
        for norm, (attack, eps) in self.budgets.items():
            found = self._evaded[norm]
            at = np.array([place for place, number in enumerate(numbers) if number in found], dtype=int)
            stacked = torch.stack([found[numbers[place]] for place in at]).numpy() if len(at) else None
            for place, name in enumerate(self.config.scores):
                values = np.zeros((0, 3)) if stacked is None else stacked[:, place]
                adaptive.append(Adaptive(name, attack, norm, eps, at, values[:, 0] > 0, values[:, 1], values[:, 2]))
        outcome = Outcome(self.config, numbers, kinds, adaptive, levels, self._calibration(scorer), self._seed)
        return build_tables(outcome)
