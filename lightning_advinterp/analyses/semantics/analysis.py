"""What units mean on real and on adversarial images: LC, CS1 and CS2 of every unit of the chosen layers."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.semantics.result import Setting, build_result
from lightning_advinterp.analyses.semantics.success import LEAST, SuccessSplit
from lightning_advinterp.analyses.semantics.units import TRUE, KindSeen, Layers, LayerUnits
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.metrics.sample import ImageSample
from lightning_advinterp.metrics.semantics import ClassSpace, class_shares
from lightning_advinterp.metrics.semantics_curve import Binning
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.maps import Reduce, reduced
from lightning_advinterp.units.spaces import UnitSpace, unit_space
from lightning_advinterp.units.strongest import Finder
from lightning_advinterp.units.top_images import Ranking, TopImages, kept_count

logger = logging.getLogger(__name__)

_HALVES = (0, 1)
_HALF_SEED = 0x68616C66  # "half"


class SemanticsAnalysis(Summed):
    """LC, CS1 and CS2 per unit, their curve, and what they are to be measured against.

    The images are divided at random into two halves, and the top images are kept of each: together they give the
    measures, apart the ceiling (CS between two halves of the real images) and the measures that do not share their
    noise (LC from one half, CS from the other).

    Args:
        attacks: name to attack; every name is an image kind beside ``real``. The first one's scalars have the plain
            names, the others' their name in front.
        classes: the classes over which distributions are taken, with their similarity C. Labels, targets and
            predictions outside it do not count; the share of targets inside is reported. An attack that chooses its
            own targets should choose them inside it (:attr:`~lightning_advinterp.attacks.loop.attack.Attack.classes`).
        layers: see :func:`~lightning_advinterp.units.spaces.unit_space`.
        share: of the images that count as a unit's top images.
        reduce: an image's activation of a unit is the ``max`` or ``mean`` over all places.
        show: of so many top images per unit and kind the positions are kept, for panels.
        sample: at most so many images decide whether units follow content or prediction; memory is images × units.
        images: number of images; None: the runner says it (without either, all are kept).
        by_success: measure the images on which an attack succeeds apart from those on which it fails too.
        seed: of halves, sample, chance level and bootstrap.

    Reference:
        Dong, Su, Zhu 2022, Eq. 10–13 and Fig. 10.
    """

    name = "semantics"
    summed = ("_true", "_targets", "_inside", "_top", "_split", "_sample")
    settled = ("_widths", "_lowest")

    def __init__(
        self,
        attacks: Mapping[str, Attack] | None = None,
        *,
        classes: ClassSpace,
        layers: str | Sequence[str] = "all_conv",
        share: float = 0.01,
        reduce: Reduce = "max",
        show: int = 8,
        sample: int = 2000,
        images: int | None = None,
        by_success: bool = False,
        bins: int = 20,
        binning: Binning = "equal",
        seed: int = 0,
    ) -> None:
        if reduce not in ("max", "mean"):
            raise ValueError(f"reduce must be max or mean, got {reduce!r}.")
        kept_count(share, 1)
        self.attacks, self.classes, self.layers = dict(attacks or {}), classes, layers
        self.share, self.reduce, self.seed = share, reduce, seed
        self.kinds = (REAL, *self.attacks)
        self._units = UnitSpace(())
        self._show, self._by_success, self._bins = show, by_success, (bins, binning)
        self._widths: list[int] = []
        self._lowest: list[float] = []
        self._reserve(None)
        if images is not None:
            self.expect(images)
        self._sample = ImageSample(sample, seed)
        self._true = torch.zeros(classes.size, dtype=torch.int64)
        self._targets = {kind: torch.zeros(classes.size, dtype=torch.int64) for kind in self.attacks}
        self._inside = dict.fromkeys(self.attacks, 0)

    def expect(self, images: int) -> None:
        """Keep as many top images as the share of so many images is."""
        self._reserve(max(kept_count(self.share, images), self._show, LEAST))

    def _reserve(self, keep: int | None) -> None:
        self._top = {kind: [TopImages(keep, self._show) for _ in _HALVES] for kind in self.kinds}
        split = self.attacks if self._by_success else ()
        self._split = {kind: SuccessSplit(self.classes.size, self.share, keep, self._aims(kind)) for kind in split}

    def bind(self, network: Network) -> Plan:
        """One sweep over all kinds of images, with all layers."""
        self._units = unit_space(network, self.layers)
        return Plan((Sweep(self._units.taps, self.kinds),))

    def update(self, sweep: int, observation: Observation) -> None:
        """Rank one batch among the images so far."""
        true = self.classes.local(observation.label)
        self._true += _counts(true, self.classes.size)
        half = sample_keys(observation.index, seed=_HALF_SEED + self.seed) & 1
        fields = {"true": true}
        noted: dict[str, tuple[Tensor, Tensor]] = {}
        for kind in self.kinds:
            maps = [unit.maps(observation.activations[kind][unit.tap]) for unit in self._units]
            parts = [reduced(layer_maps, self.reduce) for layer_maps in maps]
            self._look_at(parts, maps)
            values = torch.cat(parts, dim=1)
            predicted = self.classes.predicted(observation.logits[kind])
            target = self._target(kind, observation, predicted)
            if kind != REAL:
                self._targets[kind] += _counts(target, self.classes.size)
                # What the network says among all its outputs: among the members it cannot lie outside.
                shown_class = target if self._aims(kind) else self.classes.local(observation.logits[kind].argmax(dim=1))
                self._inside[kind] += int((shown_class >= 0).sum())
                fields[f"target/{kind}"] = target
            fields[kind] = values.float()
            notes = torch.stack([true, target, predicted], dim=1)
            noted[kind] = values, notes
            for number in _HALVES:
                members = (half == number).nonzero().squeeze(1)
                if len(members):
                    find = Finder(maps, self._widths, members)
                    self._top[kind][number].update(values[members], observation.index[members], notes[members], find)
        for kind, split in self._split.items():
            split.update(half, observation.index, noted[REAL], noted[kind])
        self._sample.update(observation.index, fields)

    def _target(self, kind: str, observation: Observation, predicted: Tensor) -> Tensor:
        """Classes aimed at; what an image without a target is taken for by the network stands for it."""
        if kind == REAL:
            return torch.full_like(predicted, -1)
        return self.classes.local(observation.goal[kind]) if self._aims(kind) else predicted

    def _aims(self, kind: str) -> bool:
        """Whether an attack moves images towards classes, not away from theirs."""
        return self.attacks[kind].targeted

    def _look_at(self, parts: Sequence[Tensor], maps: Sequence[Tensor]) -> None:
        """Learn the layers' widths, and whether layers of unknown sign have activations below zero."""
        if not self._widths:
            self._widths = [part.shape[1] for part in parts]
            self._lowest = [0.0] * len(parts)
        for place, unit in enumerate(self._units):
            if unit.signed is None and self._lowest[place] == 0:
                self._lowest[place] = min(0.0, float(maps[place].min()))

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's top images, and the lowest activations."""
        super().merge(state)
        if state["_lowest"]:  # else it saw no image
            self._lowest = [min(pair) for pair in zip(self._lowest, state["_lowest"], strict=True)]

    def top(self, kind: str, count: int) -> tuple[Ranking, Tensor]:
        """Return the first images of every unit, and the positions of their strongest activations.

        Args:
            kind: ``real`` or an attack's name.
            count: at most ``show``.

        Returns:
            The ranking of all layers' units, and row and column, int64 ``[U, count, 2]``.
        """
        merged = self._whole(kind)
        return merged.ranking(count), merged.places()[:, :count]

    def _whole(self, kind: str) -> TopImages:
        first, second = self._top[kind]
        merged = TopImages(first.keep, self._show)
        for half in (first, second):
            merged.merge(half.state_dict())
        return merged

    def result(self) -> Result:
        """Return the tables and scalars."""
        images = sum(half.seen for half in self._top[REAL])
        if not images:
            return Result(self.name)
        by_kind = {}
        for kind, lists in self._top.items():
            halves = [self._first(half) if half.seen else None for half in lists]
            top = self._first(self._whole(kind))
            if kind == REAL:
                by_kind[kind] = KindSeen(top, halves)
            else:
                mass = self._inside[kind] / sum(half.seen for half in lists)
                by_kind[kind] = KindSeen(top, halves, self._targets[kind], mass, self.attacks[kind].eps)
        layers = self._seen_layers()
        setting = Setting(self.classes, self.share, self.seed, layers, self._true, images, *self._bins)
        result = build_result(self.name, setting, by_kind, self._sample)
        result.arrays.update({f"{self.name}_top-{kind}": self._driving(kind, layers) for kind in self.kinds})
        for number, (kind, split) in enumerate(self._split.items()):
            rows = split.rows(setting, kind, self.attacks[kind].eps)
            result.tables["semantics_success"] += rows
            if not rows:
                logger.warning("semantics: the network gets no image right, so there are none to split by %s.", kind)
            result.scalars.update(split.scalars(rows, self.name if number == 0 else f"{self.name}/{kind}"))
        return result

    def shares(self) -> Tensor:
        """Return p of every unit: the distribution of classes among its top real images, ``[U, K]``, NaN if dead."""
        top = self._first(self._whole(REAL))
        return class_shares(top.notes[..., TRUE], self._seen_layers().counted(top), self.classes.size)

    def _seen_layers(self) -> Layers:
        signs = [
            low < 0 if unit.signed is None else unit.signed for unit, low in zip(self._units, self._lowest, strict=True)
        ]
        return Layers(
            tuple(
                LayerUnits(unit.layer, unit.reading, width, signed)
                for unit, width, signed in zip(self._units, self._widths, signs, strict=True)
            )
        )

    def _driving(self, kind: str, layers: Layers) -> NDArray[np.int64]:
        """Return the numbers of the images that drive every unit most, ``[U, show]``; −1 where none does.

        After a ReLU only images that make the unit fire drive it.
        """
        ranking, _ = self.top(kind, self._show)
        return ranking.index.where(layers.counted(ranking), torch.tensor(-1)).numpy()

    def _first(self, top: TopImages) -> Ranking:
        return top.ranking(kept_count(self.share, top.seen))


def _counts(classes: Tensor, size: int) -> Tensor:
    """Count classes ``[B]`` but those outside (−1)."""
    return torch.bincount(classes[classes >= 0], minlength=size).cpu()
