"""Evaluations from Python: what ``evaluate.py`` does, and its results by question."""

from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_advinterp.analyses.registry import QUESTIONS, SETTINGS, question_class
from lightning_advinterp.analyses.results import Results, results_of
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.in_python import (
    as_attacks,
    as_compared,
    as_images,
    as_memory,
    as_question,
    called,
    check_types,
    flags_explained,
)
from lightning_advinterp.cli.evaluation.run import run_evaluation
from lightning_advinterp.core.terminal import terminal


def evaluate(
    network: Any = None, data: Any = None, *, title: str | None = None, quiet: bool = False, **settings: Any
) -> Results:
    """Evaluate networks as ``evaluate.py`` does, with its flags as arguments, and return what was found.

    Tables, figures and the page are written into ``output`` too. Settings of a question are given under its name, as an
    instance or as a dictionary: ``dissection={"iou": 0.1}``. Networks and data sets stay as they are.

    Args:
        network: a name as on the command line, a checkpoint's path, or a module from images in [0, 1] to logits, of
            which a copy is taken. It is not normalised unless ``mean`` and ``std`` say so.
        data: a folder as on the command line, or images of any kind, see
            :func:`~lightning_advinterp.data.user_images.as_image_set`: a torchvision data set, a data set or list of
            pairs (image, label), a ``TensorDataset``, a ``DataLoader``; a ``LightningDataModule`` stands for its images
            of ``split``. Labels must be outputs of the network.
        title: what a module is called; its class by default.
        quiet: print nothing.
        **settings: flags, see :class:`~lightning_advinterp.cli.evaluation.config.Evaluation`. ``compare`` takes
            modules, modules by title (``{"robust": module}``) and earlier results too, or a list of all these;
            ``classes`` takes the names of the outputs as a list; ``attack`` takes attacks of ``create_attack`` too.

    Returns:
        Results by question; ``networks`` has those of all networks that were compared.

    Raises:
        ValueError: naming the argument, before any work is done.
        FileNotFoundError: if a file is missing.
        TypeError: if there is no such flag, or network or data are of another kind.

    Example::

        results = evaluate(module, CIFAR10("data", train=False, transform=ToTensor()), attack="fgsm", limit=500)
        results["accuracy"].frame()    # a table, as pandas has it
        results.figures()              # drawn in a notebook
        evaluate("resnet18", "data/imagenet", weights="IMAGENET1K_V1", analyses=["accuracy", "dissection"])
        evaluate(standard, images, title="standard", compare={"robust": robust})
    """
    if isinstance(network, str | Path) and Path(network).suffix == ".ckpt":
        network, settings["checkpoint"] = None, str(network)
    compare, beside = as_compared(settings.pop("compare", None))
    memory = as_memory(network, as_images(data, settings.get("split")), title, beside)
    settings |= {"network": called(network, title), "data": called(data), "compare": compare}
    if "attack" in settings:
        settings["attack"] = as_attacks(settings["attack"])
    if memory.network is not None and settings.get("rows"):
        raise ValueError("rows: a table's networks are its rows; leave network out, or give compare in rows' place.")
    questions = {**settings.pop("questions", {}), **_questions(settings)}
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    check_types(settings)
    with flags_explained():
        evaluation = Evaluation(**settings, questions=questions)
        run_evaluation(evaluation, Console(quiet=True) if quiet else terminal(), memory=memory)
    return Results({}) if evaluation.dry_run else results_of(Path(evaluation.output), evaluation.questions)


def _questions(settings: dict[str, Any]) -> dict[str, Any]:
    """Take the settings of questions out of the arguments, and return them by name."""
    flags = [field.name for field in fields(Evaluation)]
    analyses = settings.get("analyses", "accuracy")
    names = analyses.split(",") if isinstance(analyses, str) else analyses
    kinds: dict[str, Any] = {**QUESTIONS, **SETTINGS}
    kinds |= {kind.name: kind for kind in (question_class(name.strip()) for name in names if "." in name)}
    questions: dict[str, Any] = {}
    for name in [name for name in settings if name not in flags]:
        if name not in kinds:
            near = get_close_matches(name, [*flags, *kinds, "title", "quiet"], 1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise TypeError(f"evaluate() has no flag and no question {name!r}.{meant}")
        questions[name] = as_question(name, kinds[name], settings.pop(name))
    return questions
