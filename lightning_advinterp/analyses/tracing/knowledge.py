"""What must be known of units before predictions are traced to them: means, samples, meanings, class centres."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.semantics.analysis import SemanticsAnalysis
from lightning_advinterp.core.result import REAL, Row
from lightning_advinterp.metrics.semantics import nearness
from lightning_advinterp.units.spaces import UnitLayer

SHOWN = ("lc", "cs1", "mode_class", "mode_index", "floor")
"""What is known of a unit; ``floor`` is the LC of a unit whose top images are all of different classes."""


@dataclass
class Knowledge:
    """What is known once all images of the data were seen; plain data.

    Attributes:
        notes: image's number to label, then class and confidence on real images, then class under each attack.
        means: layer to ``[U]``, mean activation over images and places.
        samples: layer to ``[S, U, ...]``, the output on a few images.
        centres: class to the sum of its images' features, and how many they are.
        units: layer to what semantics says of each unit; empty where nothing is known.
        near: layer to ``pᵀC``, ``[U, K]``.
        top: layer to the numbers of each unit's strongest images, int64 ``[U, n]``, −1 for none.
    """

    notes: dict[int, list[float]] = field(default_factory=dict)
    means: dict[str, Tensor] = field(default_factory=dict)
    samples: dict[str, Tensor] = field(default_factory=dict)
    centres: dict[int, tuple[Tensor, int]] = field(default_factory=dict)
    units: dict[str, list[Row]] = field(default_factory=dict)
    near: dict[str, Tensor] = field(default_factory=dict)
    top: dict[str, Tensor] = field(default_factory=dict)

    def baseline(self, kind: str, layer: str, width: int) -> Tensor:
        """Return what takes the place of a layer's units, ``[S, U]`` or ``[S, U, H, W]``."""
        if kind == "zero":
            return torch.zeros(1, width)
        return self.means[layer][None] if kind == "mean" else self.samples[layer]

    def nearest_centres(self, features: Tensor, label: int, *, inside: bool, count: int = 5) -> list[tuple[int, float]]:
        """Return the classes whose centres are nearest, with their distances.

        Args:
            features: ``[D]``, of one image.
            label: of the image; it is left out of this class's centre.
            inside: whether it is one of the images that the centres were made of.
            count: how many.
        """
        distances = []
        for number, (total, size) in self.centres.items():
            member = inside and number == label
            if size - member > 0:
                centre = (total - features.double() * member) / (size - member)
                distances.append((float((features.double() - centre).norm()), number))
        return [(number, distance) for distance, number in sorted(distances)[:count]]


class Learning(Summed):
    """Gathers what :class:`Knowledge` holds from the data's images.

    Args:
        layers: whose units are traced.
        kinds: ``real`` and names of attacks, as far as these are shown.
        sampled: numbers of the images that are sampled.
        meaning: measures the units' meanings beside; None where classes have no names.
    """

    summed: ClassVar[tuple[str, ...]] = ("notes", "sums", "samples", "class_sums", "class_counts", "seen")

    def __init__(
        self,
        layers: tuple[UnitLayer, ...],
        kinds: tuple[str, ...],
        sampled: frozenset[int],
        meaning: SemanticsAnalysis | None,
    ) -> None:
        self.layers, self.kinds, self.sampled, self.meaning = layers, kinds, sampled, meaning
        self.notes: dict[int, list[float]] = {}
        self.sums: dict[str, Tensor] = {}
        self.samples: dict[int, dict[str, Tensor]] = {}
        self.class_sums: dict[int, Tensor] = {}
        self.class_counts: dict[int, int] = {}
        self.seen = 0

    def update(self, observation: Observation) -> None:
        """Take in one batch."""
        if self.meaning is not None:
            self.meaning.update(0, observation)
        self.seen += len(observation.index)
        probabilities = observation.logits[REAL].double().softmax(1)
        columns = [observation.label.double(), probabilities.argmax(1).double(), probabilities.amax(1)]
        columns += [observation.logits[kind].argmax(1).double() for kind in self.kinds if kind != REAL]
        self.notes |= dict(zip(observation.index.tolist(), torch.stack(columns, 1).tolist(), strict=True))
        for layer in self.layers:
            maps = observation.activations[REAL][layer.tap]
            total = layer.reduced(maps, "mean").double().sum(0).cpu()
            self.sums[layer.layer] = self.sums.get(layer.layer, 0) + total
        self._add_features(layer.reduced(maps, "mean").double().cpu(), observation.label.tolist())
        for place, number in enumerate(observation.index.tolist()):
            if number in self.sampled:
                outputs = {
                    layer.layer: layer.values(observation.activations[REAL][layer.tap][place : place + 1])[0].cpu()
                    for layer in self.layers
                }
                self.samples[number] = {name: output.clone() for name, output in outputs.items()}

    def _add_features(self, features: Tensor, labels: list[int]) -> None:
        for feature, label in zip(features, labels, strict=True):
            if label >= 0:
                self.class_sums[label] = self.class_sums.get(label, 0) + feature
                self.class_counts[label] = self.class_counts.get(label, 0) + 1

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's images."""
        super().merge(state)
        if self.meaning is not None:
            self.meaning.merge(state["meaning"])

    def state_dict(self) -> dict[str, Any]:
        """Return everything so far."""
        meaning = {} if self.meaning is None else {"meaning": self.meaning.state_dict()}
        return super().state_dict() | meaning

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace everything."""
        super().load_state_dict(state)
        if self.meaning is not None:
            self.meaning.load_state_dict(state["meaning"])

    def conclude(self) -> Knowledge:
        """Return what is known."""
        if not self.seen:
            return Knowledge()
        means = {name: (total / self.seen).float() for name, total in self.sums.items()}
        order = sorted(self.samples)
        names = [layer.layer for layer in self.layers] if order else []
        samples = {name: torch.stack([self.samples[number][name] for number in order]) for name in names}
        centres = {label: (total, self.class_counts[label]) for label, total in self.class_sums.items()}
        knowledge = Knowledge(dict(self.notes), means, samples, centres)
        if self.meaning is not None:
            self._add_meaning(knowledge, self.meaning)
        return knowledge

    def _add_meaning(self, knowledge: Knowledge, meaning: SemanticsAnalysis) -> None:
        result = meaning.result()
        first_attack = next((kind for kind in self.kinds if kind != REAL), None)
        rows: dict[str, dict[int, Row]] = {}
        for row in result.tables["semantics"]:
            unit = rows.setdefault(row["layer"], {}).setdefault(row["unit"], {})
            if row["images"] == REAL:
                unit |= {name: row[name] for name in SHOWN}
            elif row["images"] == first_attack:
                unit["cs1"] = row["cs1"]
        near = nearness(meaning.shares(), meaning.classes.similarity).float()
        top = torch.from_numpy(result.arrays[f"semantics_top-{REAL}"])
        start = 0
        for layer in self.layers:
            units = rows[layer.layer]
            knowledge.units[layer.layer] = [units[number] for number in range(len(units))]
            knowledge.near[layer.layer] = near[start : start + len(units)]
            knowledge.top[layer.layer] = top[start : start + len(units)]
            start += len(units)
