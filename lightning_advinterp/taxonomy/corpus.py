"""WordNet 3.0 as nltk reads it, loaded when a class is not in the shipped table."""

import warnings
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from lightning_advinterp.taxonomy.graph import Taxonomy

VERSION = "3.0"


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
        found = corpus().synset_from_pos_and_offset("n", int(wnid[1:]))
    if found is None:
        raise ValueError(f"wnid must be a noun of WordNet {VERSION} (n and the synset's offset), got {wnid!r}.")
    return found


def senses(name: str) -> list[Sense]:
    """Return the meanings of a noun, the most frequent first; underscores and spaces mean the same."""
    found = corpus().synsets(name.strip().replace(" ", "_"), pos="n")
    return [Sense(wnid_of(one), _name(one), one.definition()) for one in found]


def nouns_above(wnids: Iterable[str]) -> Taxonomy:
    """Return nouns and their hypernyms."""
    return _taxonomy(synset(wnid) for wnid in wnids)


@cache
def all_nouns() -> Taxonomy:
    """Return all 82,115 nouns (some seconds)."""
    return _taxonomy(corpus().all_synsets("n"))


def _taxonomy(synsets: Iterable[Any]) -> Taxonomy:
    parents: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    stack = list(synsets)
    while stack:
        one = stack.pop()
        wnid = wnid_of(one)
        if wnid not in parents:
            above = [*one.hypernyms(), *one.instance_hypernyms()]
            parents[wnid], names[wnid] = tuple(sorted(map(wnid_of, above))), _name(one)
            stack += above
    return Taxonomy(parents, names)


def _name(synset: Any) -> str:
    return str(synset.lemma_names()[0]).replace("_", " ")
