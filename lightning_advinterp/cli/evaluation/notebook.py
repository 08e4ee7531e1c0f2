"""Evaluations from Python: what ``evaluate.py`` does, and its results by question."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from lightning_advinterp.analyses.registry import QUESTIONS, SETTINGS, question_class
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.memory import InMemory
from lightning_advinterp.cli.evaluation.run import run_evaluation
from lightning_advinterp.core.result import Result
from lightning_advinterp.core.terminal import terminal
from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.report.load import load_results


def evaluate(
    network: str | nn.Module | None = None, data: Any = None, *, quiet: bool = False, **settings: Any
) -> dict[str, Result]:
    """Evaluate one network as ``evaluate.py`` does, with its flags as arguments, and return what was found.

    Tables, figures and the page are written into ``output`` too. Settings of a question are given under its name, as an
    instance or as a dictionary: ``dissection={"iou": 0.1}``.

    Args:
        network: a name as on the command line, or a module from images in [0, 1] to logits, of which a copy is taken.
            It is not normalised unless ``mean`` and ``std`` say so.
        data: a folder as on the command line, or images of any kind, see
            :func:`~lightning_advinterp.data.user_images.as_image_set`: a torchvision data set, a data set or list of
            pairs (image, label), a ``TensorDataset``. Labels must be outputs of the network.
        quiet: print nothing.
        **settings: flags, see :class:`~lightning_advinterp.cli.evaluation.config.Evaluation`.

    Returns:
        Results by question.

    Raises:
        ValueError: naming the argument, before any work is done.
        FileNotFoundError: if a file is missing.
        TypeError: if there is no such flag, or network or data are of another kind.

    Example::

        results = evaluate(network="resnet18", weights="IMAGENET1K_V1", data="data/imagenet", attack="fgsm", limit=500)
        results["accuracy"].tables["accuracy"]
        evaluate(my_module, torchvision.datasets.CIFAR10("data", train=False, transform=ToTensor()), attack="fgsm")
    """
    memory = InMemory(
        None if network is None or isinstance(network, str) else network,
        None if data is None or isinstance(data, str | Path) else as_image_set(data),
    )
    settings |= {"network": _called(network), "data": _called(data)}
    flags = {field.name for field in fields(Evaluation)}
    questions: dict[str, Any] = dict(settings.pop("questions", {}))
    analyses = settings.get("analyses", "accuracy")
    names = analyses.split(",") if isinstance(analyses, str) else analyses
    kinds: dict[str, Any] = {**QUESTIONS, **SETTINGS}
    kinds |= {kind.name: kind for kind in (question_class(name.strip()) for name in names if "." in name)}
    for name in [name for name in settings if name not in flags]:
        if name not in kinds:
            raise TypeError(f"evaluate() has no flag and no question {name!r}.")
        value = settings.pop(name)
        questions[name] = kinds[name](**value) if isinstance(value, Mapping) else value
    evaluation = Evaluation(**settings, questions=questions)
    if evaluation.rows or evaluation.compare:
        raise ValueError("evaluate() evaluates one network: leave rows and compare out, or call it for each.")
    run_evaluation(evaluation, Console(quiet=True) if quiet else terminal(), memory=memory)
    return {} if evaluation.dry_run else load_results(evaluation.output)


def _called(value: Any) -> str | None:
    """Return what the settings call a network or a data set."""
    if value is None or isinstance(value, str | Path):
        return None if value is None else str(value)
    return f"{type(value).__module__}.{type(value).__qualname__}"
