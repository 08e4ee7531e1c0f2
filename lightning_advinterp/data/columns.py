"""Which part of a sample is the image and which the label, where samples have several parts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SampleColumns:
    """Names of parts: columns of a table, endings of a shard's files (``jpg``, ``cls``, ``json.label``).

    Attributes:
        image: the image; None: the part that is one, where there is one alone.
        label: the label; None: the part that is one by its kind or its usual name.
    """

    image: str | None = None
    label: str | None = None


ALONE = SampleColumns()
"""Samples whose image and label need no names."""
