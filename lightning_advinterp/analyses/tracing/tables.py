"""The tables of tracing.

- ``tracing``, a row per image, image kind, class, layer, form, baseline and unit, the strongest units of each class:
  ``image, images, class`` (``predicted``, ``true`` or a number), ``class_index, layer, unit, form, baseline,
  difference, rank`` (from 0), ``activation`` (the unit's mean over places), ``label, iou`` (a dissection's),
  ``lc, mode_class, cs1`` (of the first attack), ``floor`` (of LC), ``category, class_name``, ``eps`` of an attack.
- ``tracing_errors``, a row per image and kind, and ``tracing_summary``: see
  :mod:`~lightning_advinterp.analyses.tracing.errors`.
- ``tracing_pages`` and what pages show beside: see :mod:`~lightning_advinterp.analyses.tracing.shown`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_advinterp.analyses.tracing.config import TracingConfig
from lightning_advinterp.analyses.tracing.images import TracedImages
from lightning_advinterp.analyses.tracing.knowledge import SHOWN, Knowledge
from lightning_advinterp.analyses.tracing.names import Names
from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.units.spaces import UnitLayer


@dataclass(frozen=True)
class Traces:
    """What was traced, and what is known of it.

    Attributes:
        config: how.
        layers: whose units.
        kinds: ``real`` and names of attacks.
        knowledge: of the units.
        names: of classes and concepts.
        data: images of the data set.
        files: images that the user named beside a data set.
        matched: numbers of the data's images that stand beside errors.
        paged_files: numbers of the files that get a page.
    """

    config: TracingConfig
    layers: Sequence[UnitLayer]
    kinds: Sequence[str]
    knowledge: Knowledge
    names: Names
    data: TracedImages
    files: TracedImages
    matched: Collection[int]
    paged_files: Sequence[int]

    @property
    def main(self) -> Row:
        """What pages and summaries are about."""
        return {
            "layer": self.layers[-1].layer,
            "form": self.config.forms[0],
            "baseline": self.config.baselines[0],
        }

    def each(self) -> Iterator[tuple[TracedImages, int, Any]]:
        """Yield the images, in order: their set, their number there, and what tables call them."""
        for number in sorted(self.data.found):
            yield self.data, number, number
        for number in sorted(self.files.found):
            yield self.files, number, self.file_name(number)

    def file_name(self, number: int) -> str:
        """Return what tables call a file."""
        return self.names.files[number] if number < len(self.names.files) else f"file {number}"

    def shown(self, paged: Sequence[int]) -> Iterator[tuple[TracedImages, int, Any]]:
        """Yield the images that get a page: files first, then the data's, in the order of ``paged``."""
        for number in self.paged_files:
            yield self.files, number, self.file_name(number)
        for number in paged:
            if number in self.data.found:
                yield self.data, number, number

    def main_rows(self, images: TracedImages, number: int, kind: str) -> list[Row]:
        """Return the rows of an image that its page shows."""
        rows: list[Row] = images.found[number][kind]["rows"]
        return [row for row in rows if all(row[key] == value for key, value in self.main.items())]

    def units_on_pages(self, paged: Sequence[int]) -> list[int]:
        """Return the units whose images pages show."""
        units: set[int] = set()
        for images, number, _ in self.shown(paged):
            for kind in self.kinds:
                units |= {row["unit"] for row in self.main_rows(images, number, kind) if row["difference"] > 0}
                if kind != REAL:
                    units |= {unit for unit, _ in switched(images, number, kind)}
        return sorted(units)

    def described(self, layer: str, unit: int) -> Row:
        """Return what is known of a unit."""
        units = self.knowledge.units.get(layer)
        description = units[unit] if units else dict.fromkeys(SHOWN)
        return self.names.concept(layer, unit) | description

    def head(self, image: Any, kind: str) -> Row:
        """Return the first columns of every table."""
        return {"image": image, "images": kind}

    def eps(self, kind: str) -> float | None:
        """Return the radius of an attack."""
        return self.names.eps.get(kind)


def switched(images: TracedImages, number: int, kind: str, count: int = 5) -> list[tuple[int, float]]:
    """Return the units whose mean activation an attack raised or lowered most, with the change, both signs apart."""
    change = (images.features(number, kind) - images.features(number, REAL)).tolist()
    order = sorted(range(len(change)), key=lambda unit: (-change[unit], unit))
    raised = [(unit, change[unit]) for unit in order[:count] if change[unit] > 0]
    lowered = [(unit, change[unit]) for unit in order[::-1][:count] if change[unit] < 0]
    return raised + lowered


def tracing_rows(traces: Traces) -> list[Row]:
    """Return the table ``tracing``."""
    rows: list[Row] = []
    for images, number, image in traces.each():
        for kind in traces.kinds:
            for row in images.found[number][kind]["rows"]:
                description = traces.described(row["layer"], row["unit"])
                row = traces.head(image, kind) | row
                row |= {
                    name: description[name] for name in ("label", "iou", "lc", "mode_class", "cs1", "floor", "category")
                }
                rows.append(row | {"class_name": traces.names.of(row["class_index"]), "eps": traces.eps(kind)})
    return rows
