"""Attacks on explanations: settings of the one loop whose objective is a function of the explanation's map."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.explanation.dissimilarity import Criterion, Dissimilarity, Undirected
from lightning_advinterp.attacks.loop.attack import AttackResult, distances
from lightning_advinterp.attacks.loop.goal import Goal
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.loop.gradient_log import GradientLog
from lightning_advinterp.attacks.loop.step import Step
from lightning_advinterp.attacks.loop.threat import ThreatModel
from lightning_advinterp.explanations import Explanation
from lightning_advinterp.networks.smoothing import smoothed_relu

Softplus = float | tuple[float, float] | None
"""β of the surrogate: one for all steps, (first, last) growing geometrically, or None for the ReLU network itself."""

Keep = Literal["selection", "constraint"]
"""How the class is kept: by the choice among iterates alone, or at every step."""

HALVINGS = 3
"""A step that would leave the class is taken by a half, a quarter and an eighth before it is not taken at all."""


class ExplanationGoal(Goal):
    """The class that is explained and must stay the prediction, and the best iterate so far.

    Attributes:
        step: how many points were seen.
        original: maps of the ReLU network at the images, ``[B, H, W]``.
        reference: what the dissimilarity knows of them.
        probabilities: ``[B, K]`` at the images.
        best: the best iterates with the prediction kept, ``[B, C, H, W]``; at first the images.
        score: theirs, ``[B]``.
        found: whether there is any besides the image, bool ``[B]``.
        skipped: images whose prediction is not the class to be explained, bool ``[B]``.
    """

    step: int
    original: Tensor
    reference: Tensor
    probabilities: Tensor
    best: Tensor
    score: Tensor
    found: Tensor
    skipped: Tensor
    keys: Tensor

    def reached(self, logits: Tensor) -> Tensor:
        """Whether the prediction is kept, bool ``[B]``."""
        return logits.argmax(dim=1) == self.resolve(logits)


class ExplanationAttack(GradientAttack):
    """Change the map of an explanation while the prediction stays (Ghorbani et al. 2019, Dombrowski et al. 2019).

    Every step climbs the dissimilarity of the map of a softplus surrogate, since relu has no second derivative; the
    explained class is fixed. Every checked iterate is judged by the map of the ReLU network, and the best one that
    keeps the prediction is the result: it is a selection. With ``keep="constraint"`` the way itself keeps it: a step
    after which the ReLU network predicts another class, or the explained class' probability has moved farther than
    ``most_delta_p``, is halved up to three times and then not taken, for each image by itself. Images with another
    prediction than the class to be explained, and images for which no iterate was better than themselves, come back
    unchanged without success. Images of a batch do not influence each other.

    Args:
        threat: the ball.
        step: how the gradient becomes a move.
        explanation: whose maps are attacked.
        dissimilarity: what is maximised.
        softplus: the surrogate's β; None for methods with a derivative of their own (LRP, DeepLIFT).
        penalty: γ of − γ ‖p(x*) − p(x)‖², the sum over classes, in the objective (Dombrowski).
        criterion: by what the best iterate is chosen; the dissimilarity's own when left out.
        most_delta_p: iterates of which the explained class' probability moves farther do not count.
        keep: ``selection`` or ``constraint``, which costs a forward pass per step, and up to three more where a step is
            halved.
        check_every: iterates between two checks of the ReLU network, each a forward pass and a map; the last one is
            always checked.
        **settings: as in :class:`~lightning_advinterp.attacks.loop.gradient.GradientAttack`; without restarts and early
            stopping. ``label`` is the class that is explained, ``true`` or ``predicted``.
    """

    def __init__(
        self,
        threat: ThreatModel,
        step: Step,
        *,
        explanation: Explanation,
        dissimilarity: Dissimilarity,
        softplus: Softplus = 10.0,
        penalty: float = 0.0,
        criterion: Criterion | None = None,
        most_delta_p: float = 1.0,
        keep: Keep = "selection",
        check_every: int = 1,
        **settings: Any,
    ) -> None:
        super().__init__(threat, step, **settings)
        if self.restarts > 1 or self.stop_after is not None or self.random_start:
            raise ValueError(
                "an attack on explanations keeps its best iterate: no restarts, stop_after or random_start."
            )
        if self.target is not None or self.label == "least_likely":
            raise ValueError(
                "label of an attack on explanations must be true or predicted, and it has no target class."
            )
        for argument, value, least in (("penalty", penalty, 0), ("most_delta_p", most_delta_p, 0)):
            if not least <= value < float("inf"):
                raise ValueError(f"{argument} must be {least} or more, got {value}.")
        if check_every < 1:
            raise ValueError(f"check_every must be 1 or more, got {check_every}.")
        if criterion is not None and criterion not in get_args(Criterion):
            raise ValueError(f"criterion must be one of {', '.join(get_args(Criterion))}, got {criterion!r}.")
        if keep not in get_args(Keep):
            raise ValueError(f"keep must be one of {', '.join(get_args(Keep))}, got {keep!r}.")
        self.keep: Keep = keep
        self.explanation, self.dissimilarity, self.softplus = explanation, dissimilarity, softplus
        self.penalty, self.most_delta_p, self.check_every = penalty, most_delta_p, check_every
        self.criterion: Criterion = criterion or dissimilarity.criterion

    @property
    def takes_target(self) -> bool:
        """No: the explained class stays."""
        return False

    @property
    def passes(self) -> tuple[int, int]:
        """See :meth:`passes_at`, for images of 224 pixels."""
        return self.passes_at(224)

    def passes_at(self, size: int) -> tuple[int, int]:
        """The original's logits and map; every step's map and its derivative; and the checks: logits and a map.

        These cost what :meth:`~lightning_advinterp.explanations.explanation.Method.passes` and ``look_passes`` say; the
        last point is looked at once more without a derivative. With a constraint they are the most that it can take.

        Args:
            size: the image's side in pixels.
        """
        undirected = isinstance(self.dissimilarity, Undirected)
        plain, climbing = self.explanation.passes(size), self.explanation.passes(size, derivative=True)
        checks = (self.steps - 1) // self.check_every + 1
        alone = self.softplus is not None or undirected  # what is climbed are not the network's own maps
        check = self.explanation.look_passes(size) if alone else (1, 0)
        maps = 1 if undirected else 2
        penalties = 0 if undirected or not self.penalty else self.steps
        climbs = 0 if undirected else self.steps
        constraint = (1 + HALVINGS) * self.steps if self.keep == "constraint" else 0
        forward = (
            1 + constraint + maps * plain[0] + climbs * climbing[0] + penalties + (penalties > 0) + checks * check[0]
        )
        return forward, maps * plain[1] + climbs * climbing[1] + penalties + checks * check[1]

    def goal(self, y: Tensor | None, target: Tensor | None, keys: Tensor) -> Goal:
        """Return the question of one batch."""
        if target is not None:
            raise ValueError("an attack on explanations has no target class; pass the explained classes as y.")
        goal = ExplanationGoal(y, None, label_rule=self.label, keys=keys)
        goal.keys = keys
        return goal

    def beta(self, step: int) -> float | None:
        """Return the surrogate's β at a step: β₀ (β₁/β₀)^{i/N} where it grows."""
        if self.softplus is None or isinstance(self.softplus, int | float):
            return self.softplus
        first, last = self.softplus
        return float(first * (last / first) ** (min(step, self.steps) / self.steps))

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Climb, and return the best iterates."""
        if not isinstance(goal, ExplanationGoal):
            raise TypeError("an attack on explanations takes the goal that it made.")
        with torch.no_grad():
            logits = network(x)
        label = goal.resolve(logits)
        goal.skipped = logits.argmax(1) != label
        goal.probabilities = logits.softmax(1)
        goal.original = self.explanation.map(network, x, label, keys=keys)
        goal.reference = self.dissimilarity.reference(goal.original)
        goal.best, goal.step = x.clone(), 0
        goal.score = self._score(goal.original, goal)
        goal.found = torch.zeros_like(goal.skipped)
        radius = self.threat.budget.radius(keys, x.dtype)
        log = GradientLog(len(x), x.device)
        climbed = self._climb(network, x, radius, goal, keys, log, finish=True)
        return AttackResult(
            goal.best,
            label,
            goal.found,
            *distances(goal.best, x),
            climbed.trace,
            log.zero,
            log.nonfinite,
            climbed.attacked,
        )

    def arrive(self, network: nn.Module, here: Tensor, there: Tensor, x: Tensor, radius: Tensor, goal: Goal) -> Tensor:
        """Shorten steps that leave the class, where that is a constraint."""
        if self.keep == "selection" or not isinstance(goal, ExplanationGoal):
            return there
        with torch.no_grad():
            left = ~(self._keeps(network(there), goal) | goal.skipped)
            for _ in range(HALVINGS):
                todo = left.nonzero().squeeze(1)
                if len(todo) == 0:
                    return there
                # the ball and the box are convex; projected again, since rounding is not
                half = self.threat.project((here[todo] + there[todo]) / 2, x[todo], radius[todo])
                there = there.index_copy(0, todo, half)
                left = left.index_copy(0, todo, ~self._keeps(network(half), goal, todo))
            return torch.where(left[:, None, None, None], here, there)

    def _keeps(self, logits: Tensor, goal: ExplanationGoal, at: Tensor | slice = slice(None)) -> Tensor:
        """Whether samples keep the explained class, and its probability as near as asked for, bool ``[b]``."""
        label = goal.label[at]
        delta = (logits.softmax(1) - goal.probabilities[at]).gather(1, label[:, None])[:, 0].abs()
        return (logits.argmax(1) == label) & (delta <= self.most_delta_p)

    def objective(self, network: nn.Module, x_adv: Tensor, x: Tensor, goal: Goal) -> tuple[Tensor, Tensor]:
        """Return the dissimilarity of the surrogate's maps, ``[B]``, and the ReLU network's logits where checked."""
        if not isinstance(goal, ExplanationGoal):
            raise TypeError("an attack on explanations takes the goal that it made.")
        step, goal.step = goal.step, goal.step + 1
        graph = torch.is_grad_enabled() and x_adv.requires_grad
        if isinstance(self.dissimilarity, Undirected):
            maps, gain = None, 0 * x_adv.flatten(1).sum(1)
        else:
            with smoothed_relu(self.beta(step)):
                maps = self.explanation.map(network, x_adv, goal.label, keys=goal.keys, create_graph=graph)
                gain = self.dissimilarity.gain(maps, goal.reference)
                if self.penalty:
                    moved = network(x_adv).softmax(1) - goal.probabilities
                    gain = gain - self.penalty * moved.square().sum(1)
        if step and (step % self.check_every == 0 or not graph):
            self._check(network, x_adv.detach(), goal, maps if self.softplus is None else None)
        return gain, goal.probabilities

    def _check(self, network: nn.Module, x_adv: Tensor, goal: ExplanationGoal, maps: Tensor | None) -> None:
        """Judge iterates by the ReLU network; ``maps`` are its maps where they are known."""
        with torch.no_grad():
            label = goal.label
            if maps is None:
                logits, maps = self.explanation.look(network, x_adv, label, keys=goal.keys)
            else:
                logits = network(x_adv)
            score = self._score(maps.detach(), goal)
            better = self._keeps(logits, goal) & (score > goal.score) & ~goal.skipped
            goal.score = torch.where(better, score, goal.score)
            goal.best = torch.where(better[:, None, None, None], x_adv, goal.best)
            goal.found = goal.found | better

    def _score(self, maps: Tensor, goal: ExplanationGoal) -> Tensor:
        return self.dissimilarity.score(maps, goal.original, goal.reference, self.criterion)
