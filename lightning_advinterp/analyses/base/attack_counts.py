"""What became of every attack on the images of a run: it stands beside every use of adversarial images."""

import logging
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.goal import Goal
from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.data.batch import Batch

logger = logging.getLogger(__name__)

NOTES = ("success", "zero_gradient", "nonfinite", "not_attacked")
"""What is noted of an image, in the order of its bits."""


class Made(NamedTuple):
    """One batch, attacked.

    Attributes:
        kind: the attack's name.
        x_adv: its images.
        goal: the class question, answered.
        target: int64 ``[B]``, the classes aimed at, or moved away from.
        attacked: bool ``[B]``, false where the target is the true class.
        notes: bool ``[3, B]``, the last three of :data:`NOTES`.
    """

    kind: str
    x_adv: Tensor
    goal: Goal
    target: Tensor
    attacked: Tensor
    notes: Tensor


class AttackCounts(Summed):
    """Notes of every attacked image, by its number: an image that is attacked again counts once.

    Args:
        attacks: name to attack.
    """

    name = "attack_counts"
    united = ("_seen",)

    def __init__(self, attacks: Mapping[str, Attack]) -> None:
        self.attacks = attacks
        self._seen: dict[str, dict[int, int]] = {}

    def make(
        self, kind: str, network: nn.Module, batch: Batch, logits: Tensor, keys: Tensor, target: Tensor | None = None
    ) -> Made:
        """Attack a batch; an image without a label is attacked away from the network's own prediction.

        Args:
            kind: the attack's name.
            network: whom it attacks.
            batch: images in [0, 1], and their labels, below 0 where there is none.
            logits: of the real images.
            keys: of the random draws.
            target: int64 ``[B]``, classes to aim at; None: the attack's own rule.
        """
        attack, x = self.attacks[kind].on(batch.index), batch.image
        y = torch.where(batch.label < 0, logits.argmax(dim=1), batch.label)
        goal = attack.aim(x, logits, y, keys) if target is None else attack.goal(y, target, keys)
        target_class = goal.resolve(logits)
        result = attack.perturb(network, x, y, target=target_class if goal.targeted else None, keys=keys)
        notes = torch.stack([result.zero_gradient, result.nonfinite, ~result.attacked])
        return Made(kind, result.x_adv, goal, target_class, result.attacked, notes)

    def note(self, adversarials: Made, index: Tensor, logits: Tensor) -> Tensor:
        """Note a batch, int64 ``[B]`` numbers and the logits of its adversarial images; return who succeeded."""
        success = adversarials.goal.reached(logits) & adversarials.attacked
        bits = torch.stack([success, *adversarials.notes]).long()
        codes = (bits << torch.arange(len(NOTES), device=bits.device)[:, None]).sum(0)
        self._seen.setdefault(adversarials.kind, {}).update(zip(index.tolist(), codes.tolist(), strict=True))
        return success

    def rows(self) -> list[Row]:
        """Return a row per attack: ``images, n`` (those attacked), ``success`` (their share), counts, settings."""
        rows: list[Row] = []
        for kind, notes in self._seen.items():
            counts = {name: sum(code >> bit & 1 for code in notes.values()) for bit, name in enumerate(NOTES)}
            n = len(notes) - counts["not_attacked"]
            row: Row = {"images": kind, "n": n, "success": counts["success"] / n if n else None}
            row |= {name: counts[name] for name in NOTES[1:]}
            rows.append(row | settings_of(self.attacks[kind]))
        return rows

    def stand_beside(self, results: Mapping[str, Result]) -> None:
        """Add norm and success to the rows of tables that depend on an attack, where they do not say so already."""
        counts_by_kind = {row["images"]: row for row in self.rows()}
        for result in results.values():
            for table in result.tables.values():
                for row in table:
                    counts = counts_by_kind.get(row.get("images", ""))
                    if counts is None or "eps" not in row or "unit" in row or "cell" in row:
                        continue
                    if "top1" in row:  # how often the network is right: there all is said of the attack
                        row |= {key: counts[key] for key in ("eps_low", "norm", "restarts", "target", *NOTES[1:])}
                        continue
                    row.setdefault("norm", counts["norm"])
                    if "change" not in row:
                        row.setdefault("success", counts["success"])
                    if counts["eps_low"] != row["eps"]:
                        row["eps_low"] = counts["eps_low"]

    def told(self) -> Iterator[str]:
        """Yield a line per attack."""
        for row in self.rows():
            share = "–" if row["success"] is None else f"{100 * row['success']:.1f} %"
            yield f"{row['images']}: {share} of {row['n']:,} images reach their goal"

    def warn(self, least_success: float) -> None:
        """Say which attacks did not work, or on which images they could not.

        Args:
            least_success: a share of successes below which an attack is named.
        """
        for row in self.rows():
            kind, n = row["images"], row["n"]
            if row["success"] is not None:
                warn_of_few(kind, row["success"], n, least_success)
            if row["zero_gradient"]:
                logger.warning(
                    "%s: the gradient of %d of %d images (%.1f %%) was exactly zero, so it attacked nothing there: "
                    "saturated outputs, a quantised or detached input. Accuracy under it says nothing of these.",
                    kind,
                    row["zero_gradient"],
                    n,
                    100 * row["zero_gradient"] / max(n, 1),
                )
            if row["nonfinite"]:
                logger.warning("%s: NaN or infinite loss or gradient on %d of %d images.", kind, row["nonfinite"], n)
            if row["not_attacked"]:
                logger.warning("%s: %d images of the target class are not attacked.", kind, row["not_attacked"])


def warn_of_few(name: str, share: float, count: int, least_success: float) -> None:
    """Say that an attack reaches its goal on few images.

    Args:
        name: the attack.
        share: of its images that reach the goal.
        count: how many images there are.
        least_success: the share from which on nothing is said.
    """
    if share < least_success:
        logger.warning(
            "%s: %.1f %% of %d images reach their goal, less than least_success (%.1f %%): most images that are called "
            "adversarial are not. A larger eps, more steps or another target may reach it.",
            name,
            100 * share,
            count,
            100 * least_success,
        )


def settings_of(attack: Attack) -> Row:
    """Return what tables say of an attack beside its largest radius: the smallest drawn, norm, restarts and target."""
    return {"eps_low": attack.eps_low, "norm": attack.eps_norm, "restarts": attack.restarts, "target": attack.aims_at}
