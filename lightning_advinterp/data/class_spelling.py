"""How names of classes are spelt: what two spellings of one name have in common, and the places that names say."""

import re
from collections.abc import Sequence

from lightning_advinterp.data.scan import shorten

_SEPARATORS = re.compile(r"[\s_\-./]+")
_WORD = r"(?:class|cls|label|category|cat|c|idx|index|id|output|digit|target|y)"
_PLACE = re.compile(rf"(?:{_WORD}[ _\-]*)?([0-9]+)", re.IGNORECASE)
_PLACE_AND_NAME = re.compile(r"([0-9]+)[ _\-.:]+(\D.*)")


def plain_spelling(name: str) -> str:
    """Return a name without what spellings differ in: case, separators, leading zeros.

    Example:
        >>> plain_spelling("Great_White-Shark"), plain_spelling("007")
        ('great white shark', '7')
    """
    words = _SEPARATORS.sub(" ", name).strip().casefold()
    return str(int(words)) if words.isascii() and words.isdigit() else words


def number_and_name(name: str) -> tuple[int, str] | None:
    """Return the number in front of a name and the name, None where there is none.

    Example:
        >>> number_and_name("007.golden finch"), number_and_name("finch 7")
        ((7, 'golden finch'), None)
    """
    numbered = _PLACE_AND_NAME.fullmatch(name.strip())
    return (int(numbered[1]), numbered[2]) if numbered else None


def said_numbers(names: Sequence[str]) -> list[int] | None:
    """Return the numbers that names consist of (``7``, ``007``, ``class_7``), or None where one of them has none.

    Names that go on after their number (``007.finch``, ``7_finch``) count where the numbers leave no gap: a number in
    front of a name may mean something else (``747 Boeing``).

    Raises:
        ValueError: if two names say the same number.
    """
    plain = [_PLACE.fullmatch(name.strip()) for name in names]
    if names and all(plain):
        numbers = [int(match[1]) for match in plain if match]
        if len(set(numbers)) < len(numbers):
            twice = [name for name, number in zip(names, numbers, strict=True) if numbers.count(number) > 1]
            raise ValueError(f"class folders {shorten(twice)} say the same number; rename or merge them")
        return numbers
    longer = [match or _PLACE_AND_NAME.fullmatch(name.strip()) for match, name in zip(plain, names, strict=True)]
    if names and all(longer):
        numbers = [int(match[1]) for match in longer if match]
        if sorted(numbers) in (list(range(len(names))), list(range(1, len(names) + 1))):
            return numbers
    return None


def said_places(names: Sequence[str], count: int | None) -> list[int] | None:
    """Return the places among ``count`` outputs that names say, from 0; None where they say none that is possible.

    Numbers from 1 to ``count`` without a gap count from 1; all others from 0, as frameworks number classes.

    Args:
        names: of the class folders.
        count: of the outputs; None: as many as names.

    Raises:
        ValueError: if two names say the same number, or if it cannot be told from where they count.
    """
    numbers = said_numbers(names)
    if numbers is None:
        return None
    outputs = len(names) if count is None else count
    if sorted(numbers) == list(range(1, len(numbers) + 1)) and outputs == len(numbers):
        return [number - 1 for number in numbers]
    if max(numbers) < outputs:
        if sorted(numbers) == list(range(1, len(numbers) + 1)):
            raise ValueError(
                f"class folders 1 to {len(numbers)} for {outputs} outputs: they may count from 0 or from 1; rename "
                "them so that folder k holds the class of output k, counted from 0"
            )
        return numbers
    return None
