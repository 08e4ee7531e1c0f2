"""The adaptive attack: a class that is wrong and a score that does not show it, at once."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lightning_advinterp.analyses.detection.evasion import Evasion, Level, StartingAt
from lightning_advinterp.analyses.detection.scorer import Look, Scorer
from lightning_advinterp.attacks.loop.attack import Attack, AttackResult, distances
from lightning_advinterp.attacks.loop.budget import Budget
from lightning_advinterp.attacks.loop.goal import Goal
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.loop.gradient_log import GradientLog
from lightning_advinterp.attacks.loop.step import NormalisedStep, SignStep
from lightning_advinterp.attacks.loop.threat import THREATS
from lightning_advinterp.core.randomness import mix
from lightning_advinterp.metrics import detection_scores as scores
from lightning_advinterp.networks.modes import attack_mode
from lightning_advinterp.networks.network import Network

_SURE = 1.0
"""By so much the wrong class' logit is to lead; beyond it, only the score is pushed."""
_ROUNDING = 1e-6


class AdaptiveAttack(GradientAttack):
    """Make the class wrong and the score inconspicuous: −(κ − m)₊ − w (s̃ − s̃₀)₊ is climbed by projected steps.

    m is the margin of the likeliest wrong class over the true one. s̃ is a smooth surrogate of the suspicion *of that
    class*, in spreads of real images' scores, and s̃₀ their median: below it, only the class counts, and beyond κ, only
    the score. Every iterate is judged by the score itself, and the least suspicious one with a wrong class is kept.

    All weights are tried from every start; an image leaves once it is no more suspicious than the median real one. The
    first start is the least suspicious result of the plain attacks that lies in the ball. These results are judged
    first, so that the attack is never weaker than any of them.

    Args:
        scorer: computes the score.
        score: its name.
        level: of the score on real images.
        norm: ``linf`` or ``l2``.
        eps: radius of the ball.
        weights: w of each run.
    """

    def __init__(
        self, scorer: Scorer, score: str, level: Level, *, norm: str, eps: float, weights: Sequence[float]
    ) -> None:
        config = scorer.config
        size = 2.5 / config.steps
        step = SignStep(size, relative=True) if norm == "linf" else NormalisedStep(size, relative=True)
        super().__init__(THREATS[norm](Budget(eps, eps)), step, steps=config.steps, random_start=True, name="adaptive")
        self.scorer, self.score, self.level, self.weights = scorer, score, level, tuple(weights)
        self.starts = config.restarts
        self.weight = self.weights[0]

    @property
    def passes(self) -> tuple[int, int]:
        """Passes of an image for which every run fails; the squeezing score takes three of each."""
        several = 3 if self.score == "squeezing" else 1
        runs = self.starts * len(self.weights)
        return several * runs * (self.steps + 1), several * runs * self.steps

    def evade(self, network: Network, x: Tensor, y: Tensor, keys: Tensor, results: Sequence[Tensor]) -> Evasion:
        """Attack images.

        Args:
            network: the network under test.
            x: ``[B, C, H, W]``.
            y: int64 ``[B]``, the true classes.
            keys: int64 ``[B]``.
            results: of plain attacks on these images, ``[B, C, H, W]`` each.
        """
        goal = Evasion(y, None, keys=keys)
        goal.begin(x)
        radius = self.threat.budget.radius(keys, x.dtype)
        with attack_mode(network, self.bn):
            for result in results:
                self._judge_plain(result, x, radius, goal)
            goal.plain = goal.suspicion.clone()
            with torch.enable_grad():
                self.search(network, x, goal, keys, finish=True)
        return goal

    def _judge_plain(self, result: Tensor, x: Tensor, radius: Tensor, goal: Evasion) -> None:
        """Note results of a plain attack that lie in the ball."""
        inside = (self.threat.project(result, x, radius) - result).flatten(1).abs().amax(1) <= _ROUNDING
        at = inside.nonzero().squeeze(1)
        if len(at):
            part = goal.take(at)
            self._note(result[at], part)
            goal.put(part, at)

    def _note(self, images: Tensor, goal: Evasion) -> None:
        with torch.no_grad():
            look = self.scorer.look(images, (self.score,))
            goal.note(images, look.logits, self.scorer.suspicion(self.score, look))

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Climb from every start with every weight, for the images that still need it."""
        if not isinstance(goal, Evasion):
            raise TypeError("an adaptive attack takes the goal that it made.")
        log = GradientLog(len(x), x.device)
        radius = self.threat.budget.radius(keys, x.dtype)
        for start in range(self.starts):
            for number, weight in enumerate(self.weights):
                todo = (goal.suspicion > self.level.middle).nonzero().squeeze(1)
                if len(todo) == 0:
                    break
                run, part = copy.copy(self), goal.take(todo)
                run.weight = weight
                if start == 0:
                    run.threat = StartingAt(self.threat.budget, self.threat, part.best)
                of = mix(keys[todo], start, number)
                run._climb(network, x[todo], radius[todo], part, of, log[todo], finish=True)
                goal.put(part, todo)
        empty = torch.zeros(0, len(x), device=x.device)
        success = goal.wrong & (goal.suspicion <= self.level.threshold)
        moved, attacked = distances(goal.best, x), torch.ones_like(success)
        return AttackResult(goal.best, goal.label, success, *moved, empty, log.zero, log.nonfinite, attacked)

    def objective(self, network: nn.Module, x_adv: Tensor, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """Return what is climbed, ``[B]``, and the logits; judge the point by the score itself on the way."""
        assert isinstance(goal, Evasion)
        look = self.scorer.look(x_adv, (self.score,))
        with torch.no_grad():
            still = Look(look.logits.detach(), look.features.detach(), look.label, look.squeezed)
            goal.note(x_adv.detach(), still.logits, self.scorer.suspicion(self.score, still))
        other_logits = look.logits.detach().scatter(1, goal.label[:, None], -torch.inf)
        wrong = other_logits.argmax(dim=1)
        lead = (look.logits.gather(1, wrong[:, None]) - look.logits.gather(1, goal.label[:, None])).squeeze(1)
        surrogate = scores.TRUST[self.score] * self.scorer.score(self.score, replace(look, label=wrong, attacked=True))
        # a score that is missing here has no gradient: the class alone is pushed
        excess = (-surrogate - self.level.middle) / self.level.scale
        excess = torch.where(excess.isfinite(), excess, torch.zeros_like(excess))
        gain = -(_SURE - lead).clamp(min=0).double() - self.weight * excess.clamp(min=0)
        return gain, look.logits


def strongest_budgets(attacks: Sequence[Attack], eps: float) -> dict[str, tuple[str, float]]:
    """Return the largest radius of every norm that the attacks have, and the attack's name.

    Args:
        attacks: the plain ones.
        eps: the radius in L∞, of ``adaptive``, where no attack has any.
    """
    strongest: dict[str, tuple[str, float]] = {}
    for attack in attacks:
        norm, radius = attack.eps_norm, attack.eps
        if norm in THREATS and radius is not None and radius > strongest.get(norm, ("", 0.0))[1]:
            strongest[norm] = attack.name, radius
    return strongest or {"linf": ("adaptive", eps)}
