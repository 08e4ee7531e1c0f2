"""Detection of attacks and errors: what scores say of real and attacked images, and of images that know the score."""

from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.detection.adaptive import AdaptiveAttack, strongest_budgets
from lightning_advinterp.analyses.detection.config import DetectionConfig
from lightning_advinterp.analyses.detection.outcome import Adaptive, Kind, Outcome
from lightning_advinterp.analyses.detection.parts import Parts
from lightning_advinterp.analyses.detection.reference import Reference
from lightning_advinterp.analyses.detection.scorer import LAYER, LINEAR_HEAD, linear_head
from lightning_advinterp.analyses.detection.tables import build_tables
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import parse_budget
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.networks.network import Network


class DetectionAnalysis(Summed):
    """Detectors calibrated, measured and attacked; and whether their scores know errors.

    The first sweep reads the features of the images that are learned from and of those that calibrate; the second
    shows the reported images alone, attacked. Every score of every detector gets an adaptive attack.

    Args:
        config: scores, images, the adaptive attack's budget.
        parts: which images are for what.
        attacks: name to attack.
        similarity: C between the network's outputs, ``[K, K]``, where a score needs it.
        concepts: each unit's concept; None: every unit stands for itself.
        seed: of the bootstrap and the adaptive attack's starts.

    Attributes:
        budgets: norm to the attack whose ball the adaptive one has, and its radius.
        seen: kind to image number to label, prediction and scores, ``[2 + S]``.
        evaded: norm to image number to what the adaptive attack found, ``[detectors, 3]``: whether the class is wrong,
            the suspicion, and that of the plain attacks' results.
    """

    name = "detection"
    summed = ("reference",)
    united = ("seen", "evaded")

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
        self.config, self.parts, self.attacks, self._seed = config, parts, dict(attacks or {}), seed
        self.kinds = (REAL, *self.attacks)
        self.budgets = strongest_budgets(list(self.attacks.values()), parse_budget(config.eps).high)
        self.reference = Reference(config, parts, similarity, concepts)
        self.seen: dict[str, dict[int, Tensor]] = {kind: {} for kind in self.kinds}
        self.evaded: dict[str, dict[int, Tensor]] = {norm: {} for norm in self.budgets}

    def bind(self, network: Network) -> Plan:
        """One sweep over real images, one over the reported ones under every attack.

        Raises:
            ValueError: if a score cannot be had of this network.
        """
        network.check([LAYER])
        head_scores = [name for name in self.config.scores if name in LINEAR_HEAD]
        if head_scores and linear_head(network) is None:
            usable_scores = ",".join(name for name in self.config.scores if name not in LINEAR_HEAD)
            raise ValueError(
                f"detection.scores: {', '.join(head_scores)} needs a linear last layer, which {network.name} has not; "
                f"give the others alone, --detection.scores '[{usable_scores}]'."
            )
        self.reference.network = network
        squeezes = 2 * ("squeezing" in self.config.measured)
        closing = Sweep(
            (LAYER,),
            self.kinds,
            forwards=squeezes * len(self.kinds),
            batch=self.config.batch_size,
            chosen=len(self.parts.report),
        )
        return Plan((Sweep((LAYER,), forwards=squeezes), closing), passes=self._adaptive_passes())

    def _adaptive_passes(self) -> tuple[float, float]:
        """Return the most passes that the adaptive attacks can take, per image of the whole set."""
        config = self.config
        runs = config.restarts * len(config.weights) * len(self.budgets)
        several = sum(3 if name == "squeezing" else 1 for name in config.scores)
        images = len(self.parts.learn) + len(self.parts.calibrate) + len(self.parts.report)
        most = several * runs * len(self.parts.adaptive) / images
        return most * (config.steps + 1), most * config.steps

    def choose(self, results: Mapping[str, Result]) -> Collection[int]:
        """Return the reported images."""
        return self.parts.report

    def update(self, sweep: int, observation: Observation) -> None:
        """Learn and calibrate; then score, and attack."""
        if sweep == 0:
            self.reference.read(observation)
            return
        numbers = observation.index.tolist()
        at = [place for place, number in enumerate(numbers) if number in self.parts.report]
        if not at:
            return
        self._score(torch.tensor(at, device=observation.index.device), observation)
        right = observation.logits[REAL].argmax(dim=1) == observation.label
        chosen = [place for place in at if numbers[place] in self.parts.adaptive and bool(right[place])]
        if chosen:
            self._attack(torch.tensor(chosen, device=observation.index.device), observation)

    def _score(self, at: Tensor, observation: Observation) -> None:
        """Score some images of a batch, and what the attacks made of them."""
        scorer, _ = self.reference.prepared()
        names = self.reference.measured
        for kind in self.kinds:
            outputs = observation.logits[kind][at], observation.activations[kind][LAYER][at]
            with torch.no_grad():
                look = scorer.look(observation.images[kind][at], names, outputs)
                columns = [scorer.score(name, look) for name in names]
            rows = torch.stack([observation.label[at].double(), look.label.double(), *columns], dim=1).cpu()
            self.seen[kind].update(zip(observation.index[at].tolist(), rows, strict=True))

    def _attack(self, at: Tensor, observation: Observation) -> None:
        """Make the adaptive attacks on some images of a batch."""
        scorer, levels = self.reference.prepared()
        x, y, index = observation.images[REAL][at], observation.label[at], observation.index[at]
        results = [observation.images[kind][at] for kind in self.attacks]
        keys = sample_keys(index, seed=self._seed)
        for norm, (_, eps) in self.budgets.items():
            columns = []
            for name in self.config.scores:
                attack = AdaptiveAttack(scorer, name, levels[name], norm=norm, eps=eps, weights=self.config.weights)
                evasion = attack.evade(scorer.network, x, y, keys, results)
                columns.append(torch.stack([evasion.wrong.double(), evasion.suspicion, evasion.plain], dim=1))
            self.evaded[norm].update(zip(index.tolist(), torch.stack(columns, dim=1).cpu(), strict=True))

    def result(self) -> Result:
        """Return the tables of detection, of errors, and of risk and coverage."""
        numbers = sorted(self.seen[REAL])
        if not numbers:
            return Result(self.name)
        scorer, levels = self.reference.prepared()
        kinds = []
        for kind in self.kinds:
            rows = torch.stack([self.seen[kind][number] for number in numbers]).numpy()
            columns = {name: rows[:, 2 + place] for place, name in enumerate(self.reference.measured)}
            eps = None if kind == REAL else self.attacks[kind].eps
            kinds.append(Kind(kind, eps, rows[:, 0].astype(int), rows[:, 1].astype(int), columns))
        calibration = self.reference.calibration(scorer)
        outcome = Outcome(self.config, numbers, kinds, self._adaptive(numbers), levels, calibration, self._seed)
        return build_tables(outcome)

    def _adaptive(self, numbers: list[int]) -> list[Adaptive]:
        """Return what the adaptive attacks found, by norm and detector."""
        adaptive = []
        for norm, (attack, eps) in self.budgets.items():
            rows = self.evaded[norm]
            at = np.array([place for place, number in enumerate(numbers) if number in rows], dtype=int)
            stacked = np.zeros((0, len(self.config.scores), 3))
            if len(at):
                stacked = torch.stack([rows[numbers[place]] for place in at]).numpy()
            for place, name in enumerate(self.config.scores):
                wrong, suspicion, plain = stacked[:, place].T
                adaptive.append(Adaptive(name, attack, norm, eps, at, wrong > 0, suspicion, plain))
        return adaptive
