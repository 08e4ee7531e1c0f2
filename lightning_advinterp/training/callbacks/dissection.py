"""Network dissection during training: Table 1 of Dong et al. 2022 as a live curve."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

from lightning_advinterp.analyses.dissection.config import CONTROLS, DissectionConfig
from lightning_advinterp.analyses.dissection.question import Dissection
from lightning_advinterp.analyses.registry import as_question
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import Attacks
from lightning_advinterp.core.names import markdown_cell
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.data.loaders import Workers
from lightning_advinterp.report.table import summary_of
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback

DEFAULT = AttackConfig("targeted_optimization", name="adversarial", weight=0.1, steps=10)
"""P4's targeted attack; λ = 0.1 reaches 97 % on ResNet-18 (docs/optimization_attacks.md)."""


@final
class DissectionCallback(AnalysisCallback):
    """Logs ``dissection/{images}/{category}``: shares of units that detect concepts, real and under attack.

    Beside them ``dissection/{control}/{category}``, the same of the controls on real images. Also
    ``dissection/{images}/unique`` (unique detectors), ``dissection/retention`` (detectors that keep their concept under
    the attack) beside ``dissection/retention_noise`` and ``dissection/retention_split_half``; and in TensorBoard the
    bars of Table 1, the best detectors' images, and the table as text.

    Paste into a configuration::

        dissection:
          concepts: data/broden1_224      # or concept_world, which needs no download
          every_n_epochs: 5
          limit: 500

    Args:
        concepts: folder or tar file of a set in Broden's format, or ``concept_world``.
        attacks: made on the network as it is; ``[]`` for real images alone. The first one's retention has the plain
            names.
        settings: how is counted, and of which layers.
        units: so many detectors are drawn.
        every_n_epochs: how often.
        limit: number of concept images, a seeded choice; ``null`` takes all (1,000 of the concept world).
        batch_size: images at a time.
        seed: draws the images, the attack's random numbers and the controls (``settings.seed`` is not looked at).
        num_workers: processes that load its images; ``null``: on an accelerator as many as the training has, else 0.
    """

    drawn: ClassVar[tuple[str, ...] | None] = ("dissection_units", "dissection")

    def __init__(
        self,
        concepts: str = "concept_world",
        attacks: Attacks = (DEFAULT,),
        settings: DissectionConfig = DissectionConfig(),  # noqa: B008  # frozen
        units: int = 6,
        every_n_epochs: int = 1,
        limit: int | None = 200,
        batch_size: int = 50,
        seed: int = 0,
        num_workers: Workers | None = None,
    ) -> None:
        question = as_question(Dissection, settings, units=units)
        super().__init__(
            [question], attacks, every_n_epochs, limit, batch_size, seed, concepts, num_workers=num_workers
        )

    def texts(self, results: Mapping[str, Result]) -> dict[str, str]:
        """Return Table 1 of the epoch."""
        return {"dissection/table": _as_text(summary_of(results["dissection"].tables["dissection_summary"]))}

    def headlines(self) -> list[str]:
        """Return the shares of detectors among all units, and how many keep their concept."""
        kinds = [REAL, *self.attacks()]
        retention = ["dissection/retention"] if len(kinds) > 1 else []
        return [*(f"dissection/{kind}/all" for kind in kinds), *retention]


def _as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the shares in % as a Markdown table: kinds of images and controls down, categories across."""
    kinds, categories = (list(dict.fromkeys(row[key] for row in rows)) for key in ("images", "category"))
    shares = {kind: {row["category"]: row["ratio"] for row in rows if row["images"] == kind} for kind in kinds}
    real = [row for row in rows if row["images"] == REAL]
    shares |= {f"control: {name}": {row["category"]: row[name] for row in real} for name in CONTROLS if name in real[0]}
    lines = [
        "| % of units | " + " | ".join(map(markdown_cell, categories)) + " |",
        "| --- " * (len(categories) + 1) + "|",
    ]
    for kind, share in shares.items():
        lines.append(
            "| "
            + " | ".join([markdown_cell(kind), *(f"{100 * share[category]:.1f}" for category in categories)])
            + " |"
        )
    return "\n".join(lines)
