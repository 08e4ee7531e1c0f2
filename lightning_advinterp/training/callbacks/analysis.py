"""Asks questions at the end of validation epochs: the same code that ``evaluate.py`` runs on a checkpoint."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
import torch

from lightning_advinterp.analyses.base.classes import aim_within
from lightning_advinterp.analyses.base.plans import Plans
from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.question import Earlier, Question, Scene
from lightning_advinterp.analyses.base.shared_images import shared_images
from lightning_advinterp.analyses.registry import complete_settings
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.prediction.grammar import Attacks
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.result import Result
from lightning_advinterp.data.broden import ConceptSet, check_concepts, open_concepts
from lightning_advinterp.data.broden.concept_set import CONCEPT_WORLD
from lightning_advinterp.data.class_labels import Outputs
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.labels import balanced_subset
from lightning_advinterp.data.loaders import Workers, worker_count
from lightning_advinterp.datamodules.described import Described, describe
from lightning_advinterp.training.callbacks.asking import Answer, ask_within
from lightning_advinterp.training.callbacks.budget import BudgetCallback
from lightning_advinterp.training.callbacks.presentation import Presentation
from lightning_advinterp.training.callbacks.showing import left_out_line, line_of, show
from lightning_advinterp.training.callbacks.watched import validation_set
from lightning_advinterp.training.module import RobustClassifier


class AnalysisCallback(Presentation):
    """When questions are asked, of which images, and how the answers are logged and drawn.

    The network is seen unwrapped and in evaluation mode, on a seeded subset of the validation images that is shared
    out among the processes. The training's weights, modes and random state are never touched. Callbacks that are due
    in one epoch and look at the same images, attacked alike, share one run over them.

    Logged are ``<question>/<scalar>``, and where the logger takes them ``<question>/<figure>`` and
    ``<question>/<table>``. Beside the log, ``<question>/epoch_<n>/`` holds figures, and the tables of ``evaluate.py``.

    Args:
        questions: the questions.
        attacks: whose images they want.
        every_n_epochs: how often.
        limit: number of images; ``null`` takes all (1,000 of the concept world).
        batch_size: images at a time.
        seed: draws the subset and all random numbers.
        concepts: for questions that use concepts: folder of a set in Broden's format, or ``concept_world``; ``null``:
            ``concept_world`` for questions about concepts, none for others.
        settings: of further questions, which those asked read.
        num_workers: processes that load its images; ``null``: as many as the training's loader has where the network
            is on an accelerator, and 0 on a CPU.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        attacks: Attacks = (),
        every_n_epochs: int = 1,
        limit: int | None = 500,
        batch_size: int = 100,
        seed: int = 0,
        concepts: str | None = None,
        settings: Mapping[str, Any] | None = None,
        num_workers: Workers | None = None,
    ) -> None:
        if num_workers is not None:
            worker_count(num_workers)
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be 1 or more, got {every_n_epochs}.")
        self.questions, self.every_n_epochs, self.limit = tuple(questions), every_n_epochs, limit
        self.batch_size, self.seed, self.concepts = batch_size, seed, concepts
        self.num_workers = num_workers
        self._attacks: dict[str, Attack] = create_attacks(attacks)
        questions_by_name = {question.name: question for question in self.questions}
        self._settings = complete_settings({**(settings or {}), **questions_by_name})
        self._concept_set: ConceptSet | None = None
        self._scene: Scene | None = None
        self._answer: Answer | None = None
        self.last: Answer | None = None
        """What it found last, in this process."""
        self._waits = False

    @property
    def name(self) -> str:
        """What messages and the log's time call it."""
        return type(self).__name__

    @property
    def about_concepts(self) -> bool:
        """Whether it looks at images with labels of concepts."""
        return self.questions[0].data == "concepts"

    @property
    def concepts_used(self) -> str | None:
        """The set with labels of concepts that is looked at, or used beside the images; None for none."""
        if self.about_concepts:
            return self.concepts or CONCEPT_WORLD
        return self.concepts if any("concepts" in question.uses for question in self.questions) else None

    def attacks(self) -> Mapping[str, Attack]:
        """Return the attacks by name."""
        return self._attacks

    def prepare(self, module: RobustClassifier, data: pl.LightningDataModule | None) -> None:
        """Open what the questions look at, and see that they suit the network, before the first step.

        Args:
            module: with the network.
            data: the data module, set up; None where there is none.

        Raises:
            ValueError, OSError: naming what is missing or unknown.
        """
        if self.concepts_used is not None and self._concept_set is None:
            self._concept_set = self._open_concepts(module, self.concepts_used)
        description = describe(data)
        images: ImageSet = self._shared(self._looked_at() or description.validation)
        if len(images):  # a data module may have no validation images
            kind = "concepts" if self.about_concepts else "data"
            self._attacks = {name: attack.for_images(images, kind) for name, attack in self._attacks.items()}
        self._scene = self._set_scene(module, description, images)
        plans = Plans(module.network)
        for analysis in self.analyses():
            for sweep in plans.of(analysis).sweeps:
                module.network.check(sweep.layers)

    def _looked_at(self) -> ConceptSet | None:
        """Return the concept set where the questions look at it, not only use it."""
        return self._concept_set if self.about_concepts else None

    def _open_concepts(self, module: RobustClassifier, concepts: str) -> ConceptSet:
        """Open the set, choose the images as ``evaluate.py`` does, and see that they can be read."""
        try:
            concept_set = open_concepts(concepts, module.network.input_size, n=self.limit or 1000)
            limit = len(concept_set) if self.limit is None else self.limit
            chosen = concept_set.only(balanced_subset([0] * len(concept_set), limit, self.seed))
            check_concepts(chosen)
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(f"{self.questions[0].name}.concepts: {error}") from None
        return chosen

    def _set_scene(self, module: RobustClassifier, description: Described, images: ImageSet) -> Scene:
        classes = module.classes if description.classes is None else description.classes
        names = module.class_names if description.class_names is None else description.class_names
        attacks, labels = self._attacks, images.labels
        if labels is not None and any(question.chooses_targets_among_images for question in self.questions):
            attacks = aim_within(attacks, labels, module.network.num_classes)
        together = tuple(question.name for question in self.questions)
        outputs = Outputs(classes, names)
        return Scene(
            module.network,
            outputs,
            attacks,
            images,
            self._settings,
            together,
            seed=self.seed,
            concepts=self._concept_set,
        )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Get ready, where the command line has not done so."""
        assert isinstance(pl_module, RobustClassifier)
        self.prepare(pl_module, getattr(trainer, "datamodule", None))

    def built(self, earlier_results: Mapping[str, Result] = MappingProxyType({})) -> dict[str, list[Analysis]]:
        """Return fresh analyses for one epoch, by question.

        Args:
            earlier_results: what had to run before them, by question.
        """
        assert self._scene is not None
        scene = replace(self._scene, found=earlier_results)
        return {question.name: question.build(scene) for question in self.questions}

    def earlier(self) -> dict[str, Earlier]:
        """Return what must run before the questions' own analyses, by question."""
        assert self._scene is not None
        earlier_runs = {question.name: question.earlier(self._scene) for question in self.questions}
        return {name: earlier for name, earlier in earlier_runs.items() if earlier is not None}

    def analyses(self) -> Sequence[Analysis]:
        """Return fresh analyses for one epoch."""
        return [analysis for analyses in self.built().values() for analysis in analyses]

    def due(self, trainer: pl.Trainer) -> bool:
        """Whether this validation epoch is one to ask at."""
        return not trainer.sanity_checking and (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def dataset(self, trainer: pl.Trainer | None, pl_module: RobustClassifier | None) -> ImageSet:
        """Return the images of which a choice is looked at: the validation images, or the concept set."""
        if self.about_concepts and self._concept_set is not None:
            return self._shared(self._concept_set)
        assert trainer is not None
        return self._shared(validation_set(trainer))

    def _shared(self, images: ImageSet) -> ImageSet:
        """Return the images that all attacks have."""
        return shared_images(self._attacks.values(), images, "concepts" if self.about_concepts else "data")

    def within(self, seconds: float) -> bool:
        """Take so many seconds at most, if it can keep a time by itself, and say whether it can."""
        return False

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask, beside the training's progress bar; log on all processes, draw and write on the first."""
        if not self.due(trainer):
            return
        assert isinstance(pl_module, RobustClassifier)
        started, budget = time.monotonic(), _budget(trainer) if self.budgeted else None
        runs = [] if self._waits else _runs(trainer)
        run = next((callbacks for callbacks in runs if self in callbacks), [])
        if run:
            # Lightning's own validation may be in inference mode, in which attacks would have no gradients.
            with torch.inference_mode(False), torch.no_grad():
                ask_within(budget, run, sum(callbacks[0].budgeted for callbacks in runs), trainer, pl_module)
            for callback in run:
                callback._waits = True
        answer, self._answer, self._waits = self._answer, None, False
        if answer is None:
            assert budget is not None
            trainer.print(left_out_line(self, budget))
        else:
            self._tell(answer, trainer, pl_module)
        if budget is not None and run:
            budget.took(self.name, 0 if answer is None else answer.count, time.monotonic() - started, trainer)
        elif budget is not None:
            budget.spend(time.monotonic() - started, trainer)

    def _tell(self, answer: Answer, trainer: pl.Trainer, pl_module: RobustClassifier) -> None:
        self.last = answer
        scalars = self.scalars(answer.results)
        if trainer.is_global_zero:
            show(self, trainer, answer)
        if self.announced:
            trainer.print(line_of(self, answer, scalars))
        scalars |= {f"time/{self.name}": answer.seconds}
        for key, value in scalars.items():
            shown = key.startswith("val/") and not key.endswith("5")
            # The values agree already; sync_dist keeps Lightning from warning that they might not.
            pl_module.log(key, value, prog_bar=shown, sync_dist=True)

    def shares_run_with(self, callback: "AnalysisCallback", trainer: pl.Trainer) -> bool:
        """Whether both look at the same images, attacked alike, with analyses of different names."""
        if callback is self:
            return True
        if self.budgeted != callback.budgeted and _budget(trainer) is not None:
            return False  # the one is left out where the other is not
        settings = ("about_concepts", "concepts_used", "limit", "batch_size", "seed", "num_workers")
        if any(getattr(self, key) != getattr(callback, key) for key in settings):
            return False
        names = {question.name for question in self.questions} & {question.name for question in callback.questions}
        attacks, other_attacks = self._shown_attacks(), callback._shown_attacks()
        alike = all(repr(attacks[name]) == repr(other_attacks[name]) for name in attacks.keys() & other_attacks.keys())
        return not names and alike

    def _shown_attacks(self) -> Mapping[str, Attack]:
        return self._attacks if self._scene is None else self._scene.attacks


def _runs(trainer: pl.Trainer) -> list[list[AnalysisCallback]]:
    """Return the callbacks that are due, those that share a run together."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    due = [callback for callback in callbacks if isinstance(callback, AnalysisCallback) and callback.due(trainer)]
    runs: list[list[AnalysisCallback]] = []
    while due:
        runs.append([callback for callback in due if due[0].shares_run_with(callback, trainer)])
        due = [callback for callback in due if callback not in runs[-1]]
    return runs


def _budget(trainer: pl.Trainer) -> BudgetCallback | None:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, BudgetCallback)), None)
