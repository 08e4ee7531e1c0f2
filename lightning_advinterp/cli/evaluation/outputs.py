"""What the outputs of a network under test are called, where its checkpoint does not say."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.data.class_labels import (
    IMAGENET_OUTPUTS,
    LabelMap,
    Outputs,
    cifar10_outputs,
    imagenet_outputs,
)
from lightning_advinterp.data.scan import shorten
from lightning_advinterp.taxonomy.wnid import wnid_in

FOLDERS = "folders"
"""The value of ``classes`` that takes the sorted order of the class folders."""

_SETS: dict[str, Callable[[], Outputs]] = {"imagenet": imagenet_outputs, "cifar10": cifar10_outputs}
_MOST_BYTES = 10_000_000
_LARGE_IMAGENET = 10_000  # ImageNet-21k and its parts, which timm tells by their number of classes, have more


def name_outputs(evaluation: Evaluation, recorded: Outputs, num_classes: int) -> Outputs:
    """Return what the outputs are called: by the checkpoint, else by the flag ``classes``, else by known weights.

    Args:
        evaluation: its flags.
        recorded: by the checkpoint; empty where it says nothing.
        num_classes: outputs of the network.

    Returns:
        The names; empty where nothing says them.

    Raises:
        ValueError: if the flag contradicts the checkpoint or the number of outputs.
        FileNotFoundError: if the flag names no file.
    """
    classes_flag = evaluation.classes
    if classes_flag is not None and classes_flag != FOLDERS:
        source, stated = _stated(classes_flag)
        if len(stated.classes) != num_classes:
            raise ValueError(
                f"classes: {source} names {len(stated.classes)} classes, the network has {num_classes} outputs; "
                "give one name for every output, in their order."
            )
        if recorded.classes and list(recorded.classes) != list(stated.classes):
            raise ValueError(
                f"classes: the checkpoint says that its outputs are {shorten(recorded.classes)}, {source} says "
                f"{shorten(stated.classes)}; leave the flag out."
            )
        return stated
    if recorded.classes or classes_flag == FOLDERS:
        return recorded
    weights = evaluation.weights
    if num_classes == IMAGENET_OUTPUTS and weights is not None and not Path(weights).expanduser().is_file():
        return imagenet_outputs()  # weights with a name of torchvision's or timm's
    return _large_imagenet(num_classes) if num_classes > _LARGE_IMAGENET else recorded


def _stated(classes_flag: str | list[str]) -> tuple[str, Outputs]:
    """Return what the flag is called in messages, and the names that it says."""
    if not isinstance(classes_flag, str):
        return "the list", outputs_of([str(name).strip() for name in classes_flag], "the list")
    return classes_flag, _SETS[classes_flag]() if classes_flag in _SETS else read_outputs(Path(classes_flag))


def check_labels(mapping: LabelMap, folders: list[str], num_classes: int, classes_flag: str | list[str] | None) -> None:
    """Refuse labels that nothing but the folders' order speaks for, unless the user has said so.

    Raises:
        ValueError: saying how the names of the outputs can be told.
    """
    stated = mapping.order == "stated" and (len(folders) == num_classes or all(name.isdecimal() for name in folders))
    if stated or mapping.order not in ("sorted", "stated") or (classes_flag == FOLDERS and len(folders) == num_classes):
        return
    remedy = "or --classes FILE with one name for each output, in order"
    if len(folders) == num_classes:
        remedy += "; --classes folders if the sorted order of the folders is the order of the outputs"
    raise ValueError(
        f"data: {len(folders)} class folders ({shorten(folders)}) for a network of {num_classes} outputs whose names "
        f"are unknown; name the folders by ImageNet's wnids or by the numbers of the outputs, {remedy}."
    )


def read_outputs(path: Path) -> Outputs:
    """Read the names of outputs: a text file with one name a line, which may begin with a wnid.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such text, or a line is empty or stands twice.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"classes: no file {str(path)!r}; give a text file with one name for each output, "
            f"{', '.join(_SETS)}, or {FOLDERS} for the sorted order of the class folders."
        )
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"classes: {str(path)!r} is no list of names: it is larger than {_MOST_BYTES:,} bytes.")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"classes: {str(path)!r} is not UTF-8 ({error.reason}); save it as UTF-8.") from None
    while lines and not lines[-1]:
        lines.pop()
    return outputs_of(lines, repr(str(path)))


def outputs_of(lines: Sequence[str], source: str) -> Outputs:
    """Return outputs by their names, each of which may begin with a wnid.

    Args:
        lines: for each output its name.
        source: what holds them, for messages.

    Raises:
        ValueError: if a name is empty or stands twice.

    Example:
        >>> outputs_of(["n02123045 tabby", "dog"], "the list")
        Outputs(classes=['n02123045', 'dog'], names=['tabby', 'dog'])
    """
    if "" in lines:
        raise ValueError(f"classes: line {list(lines).index('') + 1} of {source} is empty; expected one name a line.")
    classes = [wnid_in(line) or line for line in lines]
    names = [line.partition(wnid_in(line) or "\n")[2].strip(" \t,:;-_") or line for line in lines]
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice or not lines:
        fault = f"{shorten(twice)} stand more than once" if twice else "it is empty"
        raise ValueError(f"classes: {source} must have a name of its own for every output, but {fault}.")
    return Outputs(classes, names)


def _large_imagenet(num_classes: int) -> Outputs:
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset  # takes a second

    subset = infer_imagenet_subset({"num_classes": num_classes})
    if subset is None:
        return Outputs((), ())
    table: Any = ImageNetInfo(subset)
    wnids: list[str] = table.label_names()
    return Outputs(wnids, [table.label_name_to_description(wnid) for wnid in wnids])
