"""Checks that an arm withstands an attack because it is robust, not because the attack's gradients fail.

A network that hides its gradients stops gradient attacks and no others (Athalye, Carlini & Wagner 2018; the checklist
of Carlini et al. 2019, Section 5). Each check compares two attacks of which one must be the stronger if gradients work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightning_advinterp.attacks.loop.budget import Eps, parse_pixels
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.core.names import markdown_cell
from lightning_advinterp.core.result import REAL, Row

_BROKEN = 0.01
"""At a huge ε the attack must leave no more right than this share."""


@dataclass(frozen=True)
class Masking:
    """What is checked, on the last epoch of every arm.

    Attributes:
        eps: ε of all checks but the growing one.
        source: the arm on which transferred attacks are made.
        seeds: of these seeds.
        limit: on so many test images.
        queries: of the square attack.
        growth: PGD also at so many times ε.
        autoattack: arms that AutoAttack is run on too.
        autoattack_seeds: of these seeds.
        autoattack_limit: on so many test images.
    """

    eps: Eps = "8/255"
    source: str = "standard"
    seeds: list[int] = field(default_factory=lambda: [0])
    limit: int = 200
    queries: int = 1000
    growth: list[int] = field(default_factory=lambda: [2, 4, 8])
    autoattack: list[str] = field(default_factory=list)
    autoattack_seeds: list[int] = field(default_factory=lambda: [0])
    autoattack_limit: int = 200

    def attacks(self, checkpoint: str | None) -> tuple[AttackConfig, ...]:
        """Return the attacks of the checks.

        Args:
            checkpoint: the source of transferred attacks; None for the source itself.
        """
        eps = parse_pixels(self.eps if not isinstance(self.eps, list | tuple) else self.eps[1], "eps")
        members = (Member(checkpoint=checkpoint),) if checkpoint else ()
        return (
            AttackConfig("fgsm", eps),
            AttackConfig("pgd", eps, name="pgd50", steps=50, restarts=2),
            AttackConfig("square", eps, queries=self.queries),
            *([AttackConfig("transfer", eps, steps=20, members=members)] if members else []),
            *(AttackConfig("pgd", min(1.0, n * eps), name=f"pgd_{n}eps", steps=20) for n in self.growth),
        )

    def verdicts(self, top1: Mapping[str, float]) -> Row:
        """Return which checks hold.

        Args:
            top1: accuracy by attack.

        Returns:
            ``many_steps`` (PGD-50 with restarts leaves no more right than FGSM), ``queries`` (Square leaves at least as
            many right as PGD-50), ``transferred`` (likewise; missing for the source itself), ``growth`` (at the
            largest ε next to nothing is left).
        """
        white = top1["pgd50"]
        verdicts: Row = {"many_steps": white <= top1["fgsm"], "queries": top1["square"] >= white}
        verdicts["transferred"] = top1["transfer"] >= white if "transfer" in top1 else None
        verdicts["growth"] = top1[f"pgd_{max(self.growth)}eps"] <= _BROKEN if self.growth else None
        return verdicts


def masking_markdown(rows: Sequence[Row]) -> str:
    """Return the checks as a Markdown table: a row per arm and seed, accuracies in %, then what does not hold."""
    if not rows:
        return ""
    checks = ("many_steps", "queries", "transferred", "growth")
    kinds = [key for key in rows[-1] if key not in ("arm", "seed", "n", *checks)]
    lines = [f"checks for masked gradients, last epoch, n = {rows[0]['n']} images\n"]
    lines += [
        "| arm | seed | "
        + " | ".join([*map(markdown_cell, kinds), "fails"])
        + " |\n"
        + "| --- " * (len(kinds) + 3)
        + "|"
    ]
    for row in rows:
        cells = [f"{100 * row[kind]:.1f}" if row.get(kind) is not None else "" for kind in kinds]
        failed = ", ".join(check for check in checks if row.get(check) is False) or "none"
        lines.append(f"| {markdown_cell(row['arm'])} | {row['seed']} | " + " | ".join([*cells, failed]) + " |")
    return "\n".join(lines) + "\n"


def masking_row(masking: Masking, arm: str, seed: int, accuracy: Sequence[Row]) -> Row:
    """Return one line of the checks from the rows of an arm's ``accuracy.csv``."""
    top1 = {row["images"]: float(row["top1"]) for row in accuracy}
    needed = (REAL, "fgsm", "pgd50", "square", *(f"pgd_{n}eps" for n in masking.growth))
    missing = [name for name in needed if name not in top1]
    if missing:
        raise DamagedFileError(
            f"the checks of arm {arm}, seed {seed}: accuracy.csv lacks {', '.join(missing)}; remove its folder to test "
            "anew."
        )
    names = [REAL, "fgsm", "pgd50", "square", "transfer", *(f"pgd_{n}eps" for n in masking.growth)]
    row: Row = {"arm": arm, "seed": seed, "n": int(accuracy[0]["n"])} | {name: top1.get(name) for name in names}
    return row | masking.verdicts(top1)
