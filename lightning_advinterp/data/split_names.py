"""What folders of splits are called: ``val``, ``valid``, ``Validation``, ``dev``, ``my_set_train``."""

import re
from collections.abc import Mapping

SPLITS = ("train", "val", "test")
_WORDS = {
    "train": ("train", "training", "trainset", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "devel", "development", "eval", "evaluation", "valset"),
    "test": ("test", "testing", "tests", "testset", "tst"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_NO_LETTERS = re.compile(r"[^a-z]+")
_BETWEEN = re.compile(r"[\s_\-]+|(?:19|20)\d\d$")  # train2017


def split_of(folder: str) -> str | None:
    """Return the split that a folder's whole name stands for, in any case; None where it is another name.

    Example:
        >>> split_of("Validation"), split_of("train2017"), split_of("cats")
        ('val', 'train', None)
    """
    return _SPLIT_OF.get(_BETWEEN.sub("", folder.lower()))


def split_inside(folder: str) -> str | None:
    """Return the one split that a word of a folder's name stands for; None where there is none, or several.

    Example:
        >>> split_inside("birds_train"), split_inside("train_test")
        ('train', None)
    """
    splits = {_SPLIT_OF[word] for word in _NO_LETTERS.split(folder.lower()) if word in _SPLIT_OF}
    return splits.pop() if len(splits) == 1 else None


def one_each(named: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the folder of each split, in the order train, val, test.

    Args:
        named: folder to split.
        where: the folder in which they lie, for messages.

    Raises:
        ValueError: if two folders stand for one split.
    """
    folders: dict[str, list[str]] = {split: [] for split in SPLITS}
    for folder, split in named.items():
        folders[split].append(folder)
    for split, names in folders.items():
        if len(names) > 1:
            raise ValueError(
                f"{' and '.join(f'{name}/' for name in sorted(names))} in {where} both stand for the split {split!r}; "
                "remove or rename one of them"
            )
    return {split: names[0] for split, names in folders.items() if names}
