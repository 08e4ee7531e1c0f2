"""What units mean, during training: LC, CS1, CS2 and distance ratios as live curves."""

from typing import ClassVar, final

from lightning_advinterp.analyses.base.question import Question
from lightning_advinterp.analyses.distances.question import Distances
from lightning_advinterp.analyses.panels.config import PanelsConfig
from lightning_advinterp.analyses.panels.question import Panels
from lightning_advinterp.analyses.registry import as_question
from lightning_advinterp.analyses.semantics.config import SemanticsConfig
from lightning_advinterp.analyses.semantics.question import Semantics
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import Attacks
from lightning_advinterp.data.loaders import Workers
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback


@final
class SemanticsCallback(AnalysisCallback):
    """Logs ``semantics/{layer}/{lc,cs1,cs2}`` and ``semantics/all/…``, ``distances/{images}/{ratio}``, and draws.

    In TensorBoard: the curve of CS1 and CS2 against LC, the profile over depth, and the images of the last layer's
    most and least consistent units.

    Paste into a configuration::

        semantics:
          limit: 1000
          settings: {layers: all_conv, share: 0.02}

    Args:
        attacks: whose images are compared with the real ones; the first one's scalars have the plain names.
        settings: layers, share of top images, classes.
        panels: which units are drawn; ``null`` for none.
        every_n_epochs: how often.
        limit: number of validation images, a seeded choice; ``null`` takes all.
        batch_size: images at a time.
        seed: draws the images, the attacks' random numbers, halves and bootstraps.
        num_workers: processes that load its images; ``null``: on an accelerator as many as the training has, else 0.
    """

    drawn: ClassVar[tuple[str, ...] | None] = ("semantics_depth", "semantics_curve", "semantics_success", "panels_*")

    def __init__(
        self,
        attacks: Attacks = (AttackConfig("fgsm", "4/255"),),
        settings: SemanticsConfig = SemanticsConfig(share=0.02),  # noqa: B008  # frozen
        panels: PanelsConfig | None = PanelsConfig(count=3, layers=1),  # noqa: B008
        every_n_epochs: int = 1,
        limit: int | None = 1000,
        batch_size: int = 100,
        seed: int = 0,
        num_workers: Workers | None = None,
    ) -> None:
        if panels is not None and panels.highlight == "discrepancy":
            raise ValueError(
                "panels.highlight must be activation, gradient, gradcam or lrp during training, got 'discrepancy': its "
                "maps take thousands of passes an image; draw them with evaluate.py."
            )
        questions: list[Question] = [as_question(Semantics, settings), Distances()]
        if panels is not None:
            questions.append(as_question(Panels, panels, patches=False))
        super().__init__(questions, attacks, every_n_epochs, limit, batch_size, seed, num_workers=num_workers)

    def tag(self, question: Question, figure: str) -> str:
        """Return what TensorBoard calls a figure: all of them stand under ``semantics/``."""
        name = super().tag(question, figure)
        return name if isinstance(question, Semantics) else f"semantics/{name}"

    def headlines(self) -> list[str]:
        """Return LC, CS1 and CS2 of all layers together."""
        return [f"semantics/all/{measure}" for measure in ("lc", "cs1", "cs2")]
