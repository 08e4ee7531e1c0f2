"""WordNet 3.0 as nltk reads it, loaded when a class is not in the shipped table."""

import re
import warnings
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from lightning_advinterp.taxonomy.graph import Taxonomy

VERSION = "3.0"
_NOUNS = "data.noun"
_HYPERNYMS = ("@", "@i")
"""Pointers of WordNet to a kind's hypernyms and to those of which an instance is one."""


class Sense(NamedTuple):
    """One meaning of a noun.

    Attributes:
        wnid: ``n`` and the synset's offset in WordNet 3.0.
        name: its first word.
        gloss: its definition.
    """

    wnid: str
    name: str
    gloss: str


@cache
def corpus() -> Any:
    """Return nltk's WordNet corpus.

    Raises:
        LookupError: if nltk has none, saying how to install it.
        ValueError: if it is not version 3.0, whose offsets ImageNet's wnids are.
    """
    from nltk.corpus import wordnet as reader

    wordnet: Any = reader  # a lazy loader without types
    try:
        wordnet.ensure_loaded()
    except LookupError:
        raise LookupError(
            "WordNet 3.0 is needed for classes outside the shipped table (ImageNet's 1,000, CIFAR-10's, the concept "
            "world's), and nltk finds none: run `python -m nltk.downloader wordnet`, or let NLTK_DATA name a folder "
            "that has corpora/wordnet.zip."
        ) from None
    version = str(wordnet.get_version())
    if version != VERSION:
        raise ValueError(f"wnids are offsets in WordNet {VERSION}, nltk has WordNet {version}; install `wordnet`.")
    return wordnet


def wnid_of(synset: Any) -> str:
    """Return ``n`` and eight digits."""
    return f"n{synset.offset():08d}"


def synset(wnid: str) -> Any:
    """Return the synset of a wnid.

    Raises:
        ValueError: if WordNet 3.0 has no such noun.
    """
    with warnings.catch_warnings():  # nltk warns and returns None
        warnings.simplefilter("ignore")
        synset_of_offset = corpus().synset_from_pos_and_offset("n", int(wnid[1:]))
    if synset_of_offset is None:
        raise ValueError(f"wnid must be a noun of WordNet {VERSION} (n and the synset's offset), got {wnid!r}.")
    return synset_of_offset


def senses(name: str) -> list[Sense]:
    """Return the meanings of a noun: first those that are kinds of things, the most frequent first, then names.

    A class is a kind: *crane*, *jay* and *swift* are first of all people in WordNet, each of whom is one instance.
    Separators do not matter, nor does a number in front (``017.Great_Crested-Grebe``).
    """
    for spelling in _spellings(name.strip()):
        if synsets := corpus().synsets(spelling, pos="n"):
            synsets = sorted(
                synsets, key=lambda synset: bool(synset.instance_hypernyms())
            )  # stable: by frequency within
            return [Sense(wnid_of(synset), _name(synset), synset.definition()) for synset in synsets]
    return []


def _spellings(name: str) -> list[str]:
    """Return the ways in which WordNet may spell a name, the nearest first."""
    bare = re.sub(r"^[0-9]+[\s._\-]+", "", name)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", bare)  # ApplePie
    spellings = [name.replace(" ", "_"), bare.replace(" ", "_"), *(re.sub(r"[\s._\-]+", "_", n) for n in (bare, words))]
    return list(dict.fromkeys(spelling for spelling in spellings if spelling))


def nouns_above(wnids: Iterable[str]) -> Taxonomy:
    """Return nouns and their hypernyms."""
    return _taxonomy(synset(wnid) for wnid in wnids)


@cache
def all_nouns() -> Taxonomy:
    """Return all 82,115 nouns, from the lines of WordNet's file: nltk takes ten times as long for its objects."""
    parents: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    with corpus().open(_NOUNS) as lines:
        for line in lines.read().splitlines():
            if line[:1].isdigit():  # the licence in front is indented
                wnid, names[wnid], parents[wnid] = _noun(line)
    return Taxonomy(parents, names)


def _noun(line: str) -> tuple[str, str, tuple[str, ...]]:
    """Return wnid, first word and hypernyms of a line, whose form is WordNet's wndb(5)."""
    fields = line.split(" | ", 1)[0].split()
    offset, words = fields[0], int(fields[3], 16)
    pointers = fields[5 + 2 * words :]  # after a word and its number each, and the number of pointers
    above = [f"n{to}" for symbol, to in zip(pointers[::4], pointers[1::4], strict=False) if symbol in _HYPERNYMS]
    return f"n{offset}", fields[4].replace("_", " "), tuple(sorted(above))


def _taxonomy(synsets: Iterable[Any]) -> Taxonomy:
    parents: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    stack = list(synsets)
    while stack:
        synset = stack.pop()
        wnid = wnid_of(synset)
        if wnid not in parents:
            above = [*synset.hypernyms(), *synset.instance_hypernyms()]
            parents[wnid], names[wnid] = tuple(sorted(map(wnid_of, above))), _name(synset)
            stack += above
    return Taxonomy(parents, names)


def _name(synset: Any) -> str:
    return str(synset.lemma_names()[0]).replace("_", " ")
