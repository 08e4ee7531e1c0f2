"""What an analysis found, as data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

REAL = "real"
"""The image kind of unattacked images; every other kind is an attack's name."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What an analysis found: data that can be saved, merged into a page and redrawn.

    Attributes:
        name: the analysis.
        scalars: for the log, under the names of the log.
        tables: file stem to rows; the first row's keys are the columns.
        arrays: uint8 images or float maps, by name.
        provenance: settings, seed, hashes and versions.
    """

    name: str
    scalars: dict[str, float] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def joined(name: str, results: Sequence[Result]) -> Result:
    """Return the tables, arrays and scalars of several analyses as one result."""
    whole = Result(name)
    for result in results:
        whole.scalars.update(result.scalars)
        whole.tables.update(result.tables)
        whole.arrays.update(result.arrays)
        whole.provenance.update(result.provenance)
    return whole
