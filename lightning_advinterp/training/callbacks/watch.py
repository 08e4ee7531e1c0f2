"""Any question during training, by its name or by a class path from a user's own file."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, final

import pytorch_lightning as pl
from jsonargparse import ArgumentError, ArgumentParser

from lightning_advinterp.analyses.base.question import Question
from lightning_advinterp.analyses.registry import question_class
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import Attacks
from lightning_advinterp.data.loaders import Workers
from lightning_advinterp.training.callbacks.accuracy import AccuracyCallback
from lightning_advinterp.training.callbacks.analysis import AnalysisCallback
from lightning_advinterp.training.callbacks.dissection import DissectionCallback
from lightning_advinterp.training.callbacks.fragility import FragilityCallback
from lightning_advinterp.training.callbacks.semantics import SemanticsCallback

SHORTHANDS: dict[str, type[AnalysisCallback]] = {
    "accuracy": AccuracyCallback,
    "dissection": DissectionCallback,
    "semantics": SemanticsCallback,
    "fragility": FragilityCallback,
}
"""Questions that are watched by callbacks with settings of their own, and are top-level keys too."""


@final
class QuestionCallback(AnalysisCallback):
    """Logs the scalars of a question, ``<question>/<scalar>``, and draws its figures.

    Args:
        question: with its settings.
        attacks: whose images it wants.
        every_n_epochs: how often.
        limit: number of images, a seeded choice; ``null`` takes all.
        batch_size: images at a time.
        seed: draws the images and all random numbers.
        concepts: for questions that use concepts: folder of a set in Broden's format, or ``concept_world``; ``null``:
            ``concept_world`` for questions about concepts, none for others.
        num_workers: processes that load its images; ``null``: on an accelerator as many as the training has, else 0.
    """

    def __init__(
        self,
        question: Question,
        attacks: Attacks = (AttackConfig("fgsm", "4/255"),),
        every_n_epochs: int = 1,
        limit: int | None = 500,
        batch_size: int = 100,
        seed: int = 0,
        concepts: str | None = None,
        num_workers: Workers | None = None,
    ) -> None:
        super().__init__(
            [question], attacks, every_n_epochs, limit, batch_size, seed, concepts, num_workers=num_workers
        )

    @property
    def name(self) -> str:
        """The question's name."""
        return self.questions[0].name

    @property
    def state_key(self) -> str:
        """Several questions may be watched; Lightning tells their callbacks apart by this."""
        return f"{type(self).__name__}({self.name})"


def watchers(watch: Mapping[str, Any] | None) -> list[pl.Callback]:
    """Return the callbacks of a configuration's mapping from questions to how they are watched.

    Args:
        watch: name or class path to settings; ``null`` for a question turns it off.

    Raises:
        ValueError: naming the question and the setting that is wrong.
    """
    return [_watcher(name, settings or {}) for name, settings in (watch or {}).items() if settings is not None]


def _watcher(name: str, settings: Mapping[str, Any]) -> pl.Callback:
    parser = ArgumentParser(exit_on_error=False)
    if name in SHORTHANDS:
        parser.add_class_arguments(SHORTHANDS[name])
        return SHORTHANDS[name](**_read(parser, name, settings))
    kind = question_class(name)
    parser.add_class_arguments(QuestionCallback, skip={"question"})
    if fields(kind):  # type: ignore[arg-type]
        parser.add_class_arguments(kind, "settings")
    arguments = _read(parser, name, settings)
    return QuestionCallback(arguments.pop("settings", None) or kind(), **arguments)


def _read(parser: ArgumentParser, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(settings, Mapping):
        raise ValueError(f"watch.{name}: expected settings such as {{every_n_epochs: 5}}, got {settings!r}.")
    try:
        return dict(vars(parser.instantiate(parser.parse_object(dict(settings)))))
    except ArgumentError as error:
        raise ValueError(f"watch.{name}: {error}") from None
