"""Evaluations from Python: what ``evaluate.py`` does, and its results by question."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from rich.console import Console

from lightning_advinterp.analyses.registry import QUESTIONS, SETTINGS, question_class
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.run import run_evaluation
from lightning_advinterp.core.result import Result
from lightning_advinterp.core.terminal import terminal
from lightning_advinterp.report.load import load_results


def evaluate(*, quiet: bool = False, **settings: Any) -> dict[str, Result]:
    """Evaluate one network as ``evaluate.py`` does, with its flags as arguments, and return what was found.

    Tables, figures and the page are written into ``output`` too. Settings of a question are given under its name, as an
    instance or as a dictionary: ``dissection={"iou": 0.1}``.

    Args:
        quiet: print nothing.
        **settings: flags, see :class:`~lightning_advinterp.cli.evaluation.config.Evaluation`.

    Returns:
        Results by question.

    Raises:
        ValueError: naming the argument, before any work is done.
        FileNotFoundError: if a file is missing.
        TypeError: if there is no such flag.

    Example::

        results = evaluate(network="resnet18", weights="IMAGENET1K_V1", data="data/imagenet", attack="fgsm", limit=500)
        results["accuracy"].tables["accuracy"]
    """
    known = {field.name for field in fields(Evaluation)}
    questions: dict[str, Any] = dict(settings.pop("questions", {}))
    analyses = settings.get("analyses", "accuracy")
    names = analyses.split(",") if isinstance(analyses, str) else analyses
    kinds: dict[str, Any] = {**QUESTIONS, **SETTINGS}
    kinds |= {kind.name: kind for kind in (question_class(name.strip()) for name in names if "." in name)}
    for name in [name for name in settings if name not in known]:
        if name not in kinds:
            raise TypeError(f"evaluate() has no flag and no question {name!r}.")
        value = settings.pop(name)
        questions[name] = kinds[name](**value) if isinstance(value, Mapping) else value
    evaluation = Evaluation(**settings, questions=questions)
    if evaluation.rows or evaluation.compare:
        raise ValueError("evaluate() evaluates one network: leave rows and compare out, or call it for each.")
    run_evaluation(evaluation, Console(quiet=True) if quiet else terminal())
    return {} if evaluation.dry_run else load_results(evaluation.output)
