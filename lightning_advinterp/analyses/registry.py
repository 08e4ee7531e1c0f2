"""The questions by name, and those of a user's own file by class path."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from lightning_advinterp.analyses.accuracy.question import Accuracy, Predictions
from lightning_advinterp.analyses.base.question import Question
from lightning_advinterp.analyses.curvature.question import Curvature
from lightning_advinterp.analyses.detection.question import Detection
from lightning_advinterp.analyses.dissection.question import Dissection
from lightning_advinterp.analyses.distances.question import Distances
from lightning_advinterp.analyses.fragility.question import Fragility
from lightning_advinterp.analyses.influence.question import Influence
from lightning_advinterp.analyses.panels.patches import PatchesConfig
from lightning_advinterp.analyses.panels.question import Panels
from lightning_advinterp.analyses.promotion.question import Promotion
from lightning_advinterp.analyses.semantics.question import Semantics
from lightning_advinterp.analyses.sensitivity.question import Sensitivity
from lightning_advinterp.analyses.tracing.question import Tracing
from lightning_advinterp.core.registry import import_class

AnyQuestion = TypeVar("AnyQuestion", bound=Question)

QUESTIONS: dict[str, type[Question]] = {
    kind.name: kind
    for kind in (
        *(Accuracy, Predictions, Dissection, Semantics, Distances, Panels, Curvature, Fragility, Influence),
        Promotion,
        Sensitivity,
        Detection,
        Tracing,
    )
}
"""Every question of the package by its name on the command line."""

SETTINGS: dict[str, type[Any]] = {"patches": PatchesConfig}
"""Further groups of settings that questions read."""


def question_class(name: str) -> type[Question]:
    """Return the question of a name, or of a class path such as ``mine.Ece``.

    Raises:
        ValueError: if there is none, or the class is no question; says what is needed.
    """
    if name in QUESTIONS:
        return QUESTIONS[name]
    if "." not in name:
        near = get_close_matches(name, QUESTIONS, 1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(
            f"analyses must be the class path of a question of your own, such as mine.Ece, among "
            f"{', '.join(QUESTIONS)}, or all; got {name!r}{meant}."
        )
    kind: Any = import_class(name, "analyses")
    if not (issubclass(kind, Question) and is_dataclass(kind) and hasattr(kind, "name")):
        raise ValueError(
            f"analyses: {name} is no question: it must be a frozen dataclass that inherits from "
            "lightning_advinterp.analyses.base.question.Question, with a name."
        )
    if kind.name in QUESTIONS or kind.name in SETTINGS or not kind.name.isidentifier():
        raise ValueError(
            f"analyses: the name of {name} is {kind.name!r}; it must be an identifier, and none of "
            f"{', '.join([*QUESTIONS, *SETTINGS])}."
        )
    return cast(type[Question], kind)


def complete_settings(settings_by_name: Mapping[str, Any], analyses: Sequence[str] = ()) -> dict[str, Any]:
    """Return the settings of every question, with defaults where none are given.

    Args:
        settings_by_name: name to settings.
        analyses: names and class paths of questions that are asked.

    Raises:
        ValueError: if settings are of no question.
    """
    kinds = QUESTIONS | SETTINGS | {kind.name: kind for kind in map(question_class, analyses)}
    unknown = [
        name for name, settings in settings_by_name.items() if name not in kinds and not isinstance(settings, Question)
    ]
    if unknown:
        raise ValueError(f"questions: there are no settings of {', '.join(unknown)}; there are {', '.join(kinds)}.")
    return {name: kind() for name, kind in kinds.items() if name not in settings_by_name} | dict(settings_by_name)


def as_question(kind: type[AnyQuestion], settings: Any, **more: Any) -> AnyQuestion:
    """Return a question with the settings of a configuration that it inherits its fields from."""
    return kind(**{field.name: getattr(settings, field.name) for field in fields(settings)} | more)
