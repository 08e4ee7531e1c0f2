"""Network dissection: how units' active regions overlap with concepts (Bau et al. 2017, as used by Dong et al. 2022).

A unit k is active at a pixel of the label map where its upsampled map exceeds its threshold T_k. Over a set of images,

    IoU(k, c) = Σ |M_k ∩ L_c| / Σ |M_k ∪ L_c|,   and |M ∪ L| = A + G − I,

with I the pixels that are active and labelled c, G those labelled c, and A the active ones. What A counts is the rule:

- ``original`` (NetDissect, the paper's code): in images that hold a label of c's category anywhere. A label in the maps
  of two categories, or in two layers, counts twice in G and I.
- ``lite`` (NetDissect-Lite): in images where the unit's active pixels touch a label of c's category.
- ``plain`` (the formula as printed): in all images; a pixel has a label once, however many layers say so.

A label belongs to its primary category. A label of the whole image labels all its pixels. Label 0 is none.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_advinterp.metrics.label_maps import BatchLabels, Rule, Vocabulary, check_rule
from lightning_advinterp.metrics.masks import Hits, exceeding_pixels

_LARGEST = 2**31 - 1
_FEW = 2
"""So many groups are counted in 64 bits: controls and noise have no more, whatever is asked for."""
_MOST = 1 << 23  # values interpolated at once
_CELLS = 1 << 24  # counts of sets of labels, 8 bytes each, held at once


class ConceptCounts:
    """Counts of one layer's units against all labels, summed over images, in groups of images.

    Integers, so that sums of parts are the whole to the last count. Groups let intervals and split halves be read
    afterwards: with G groups, U units and L labels the state takes 4·G·U·(L + 1) bytes and little more, twice that
    with one group or two.

    Args:
        units: U.
        vocabulary: the labels.
        rule: what A counts, see above.
        groups: G.
        device: where the counts lie.

    Attributes:
        intersection: int32 (int64 with one group or two) ``[G, U, L + 1]``, I; the last column takes what has no label,
            and is not read.
        area: int64 ``[G, U, C]``, A for labels of each category.
        truth: int64 ``[G, L + 1]``, G.
        images: int64 ``[G]``.
    """

    def __init__(
        self,
        units: int,
        vocabulary: Vocabulary,
        *,
        rule: Rule = "original",
        groups: int = 1,
        device: torch.device | None = None,
    ) -> None:
        check_rule(rule)
        self.rule: Rule = rule
        self.vocabulary = vocabulary
        labels, categories = len(vocabulary), len(vocabulary.categories)
        kind = torch.int64 if groups <= _FEW else torch.int32
        self.intersection = torch.zeros(groups, units, labels + 1, dtype=kind, device=device)
        self.area = torch.zeros(groups, units, categories, dtype=torch.int64, device=device)
        self.truth = torch.zeros(groups, labels + 1, dtype=torch.int64, device=device)
        self.images = torch.zeros(groups, dtype=torch.int64, device=device)
        # Row after the last: no label has no category.
        self._categories = torch.zeros(labels + 1, categories, dtype=torch.int64, device=device)
        self._categories[torch.arange(labels), torch.from_numpy(vocabulary.category)] = 1

    def update(
        self,
        maps: Tensor,
        thresholds: Tensor,
        labels: BatchLabels,
        size: tuple[int, int],
        group: Tensor,
        beside: Sequence["Tally"] = (),
    ) -> None:
        """Count a batch.

        Args:
            maps: the layer's activations, ``[B, U, H, W]``.
            thresholds: ``[U]``.
            labels: of the same images.
            size: height and width of the label maps.
            group: int64 ``[B]``, each image's group.
            beside: other counts of the same active pixels, against other labels or in other groups.

        Raises:
            OverflowError: if a group's label totals no longer fit its counts: take more groups.
        """
        tallies = (Tally(self, labels, group), *beside)
        for tally in tallies:
            tally.counts._count_labels(tally.labels, tally.group)
        # Tokens come as views with the units last; each pass over them in that order would cost more than one copy.
        self._count_units(maps.contiguous(), thresholds, size, tallies)

    def _count_units(self, maps: Tensor, thresholds: Tensor, size: tuple[int, int], tallies: Sequence["Tally"]) -> None:
        hits = exceeding_pixels(maps, thresholds, size, _MOST)
        # Rows that have hits, numbered through; a row's hits are counted by set of labels, and sets are few.
        active = torch.zeros(len(maps) * maps.shape[1], dtype=torch.int64, device=maps.device)
        if hits is not None:
            active[hits.row] = 1
        rows = active.nonzero().squeeze(1)
        most = max(tally.labels.most for tally in tallies)
        # Bounded memory, by halves: an attack can make units active nearly everywhere, and labels can be noise.
        if hits is None or (len(maps) > 1 and len(rows) * most > _CELLS):
            for part in (slice(0, len(maps) // 2), slice(len(maps) // 2, None)):
                parts = [tally._replace(labels=tally.labels.of(part), group=tally.group[part]) for tally in tallies]
                self._count_units(maps[part], thresholds, size, parts)
            return
        place = active.cumsum(0).sub_(1)[hits.row]
        for tally in tallies:
            tally.counts._count_hits(hits, rows, place, tally.labels, tally.group)

    def _count_hits(self, hits: Hits, rows: Tensor, place: Tensor, labels: BatchLabels, group: Tensor) -> None:
        """Count active pixels, of which ``place`` says in which of the ``rows`` each is."""
        units = self.area.shape[1]
        first_pixel = rows.div(units, rounding_mode="floor") * labels.signature.shape[1]
        signature = labels.signature.flatten()[first_pixel[place] + hits.pixel]
        counts = torch.bincount(place * labels.most + signature, minlength=len(rows) * labels.most)
        entry = counts.nonzero().squeeze(1)
        count, which = counts[entry], entry.div(labels.most, rounding_mode="floor")
        image, unit = rows.div(units, rounding_mode="floor"), rows % units
        sets = labels.labels[labels.first[image[which]] + entry % labels.most]
        line = group[image] * units + unit
        target = line[which, None] * self.intersection.shape[2] + sets
        inside = count.to(self.intersection.dtype).repeat_interleave(sets.shape[1])
        self.intersection.view(-1).index_add_(0, target.flatten(), inside)
        area = counts.view(len(rows), labels.most).sum(1)
        counted = self._counted_categories(labels, image, which, sets)
        self.area.view(-1, self.area.shape[2]).index_add_(0, line, area[:, None] * counted)

    def _counted_categories(self, labels: BatchLabels, image: Tensor, which: Tensor, sets: Tensor) -> Tensor:
        """Return for which categories a row's active pixels enter the union, 0 or 1, int64 ``[R, C]``."""
        if self.rule == "plain":
            return torch.ones(len(image), self.area.shape[2], dtype=torch.int64, device=image.device)
        if self.rule == "original":
            return labels.present[image].long()
        touched = self._categories[sets].sum(1)
        return (
            torch.zeros(len(image), self.area.shape[2], dtype=torch.int64, device=image.device)
            .index_add_(0, which, touched)
            .clamp_(max=1)
        )

    def _count_labels(self, labels: BatchLabels, group: Tensor) -> None:
        images = len(labels.signature)
        numbers = labels.signature + labels.first[:, None]
        pixels = torch.bincount(numbers.flatten(), minlength=len(labels.labels))
        image = torch.searchsorted(labels.first, torch.arange(len(labels.labels), device=group.device), right=True) - 1
        target = group[image][:, None] * self.truth.shape[1] + labels.labels
        self.truth.view(-1).index_add_(0, target.flatten(), pixels.repeat_interleave(labels.labels.shape[1]))
        self.images.index_add_(0, group, torch.ones(images, dtype=torch.int64, device=group.device))
        self._check_room()

    def _check_room(self) -> None:
        # No intersection is larger than its label's total. The last column may run over, as it does on all of Broden:
        # nobody reads it.
        if self.intersection.dtype == torch.int32 and bool((self.truth[:, :-1] > _LARGEST).any()):
            raise OverflowError(f"groups: {len(self.images)} groups hold too many pixels each; take more groups.")

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's :meth:`state_dict`.

        Raises:
            OverflowError: if a group's label totals no longer fit its counts: take more groups.
        """
        for name, value in state.items():
            counts: Tensor = getattr(self, name)
            counts += value.to(counts.device)
        self._check_room()

    def state_dict(self) -> dict[str, Any]:
        """Return the counts in main memory."""
        return {name: getattr(self, name).cpu() for name in ("intersection", "area", "truth", "images")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the counts."""
        for name, value in state.items():  # copies: what is loaded from stays as it is
            setattr(self, name, value.to(getattr(self, name), copy=True))

    def iou(self, weights: Tensor | None = None) -> Tensor:
        """Return the intersection over union of every unit and label, float64 ``[U, L]``; 0 where both are empty.

        Args:
            weights: int64 ``[G]``, how often each group counts; once if left out.
        """
        weights = torch.ones_like(self.images) if weights is None else weights.to(self.images)
        intersection = torch.zeros(self.intersection[0, :, :-1].shape, dtype=torch.int64, device=self.images.device)
        for counts, weight in zip(self.intersection, weights.tolist(), strict=True):
            intersection.add_(counts[:, :-1], alpha=weight)
        area, truth = (self.area * weights[:, None, None]).sum(0), (self.truth[:, :-1] * weights[:, None]).sum(0)
        category = torch.from_numpy(self.vocabulary.category).to(area.device)
        union = area[:, category] + truth - intersection
        return intersection.double() / union.clamp(min=1)


class Tally(NamedTuple):
    """Counts of active pixels against labels.

    Attributes:
        counts: what is added to.
        labels: of a batch of images.
        group: int64 ``[B]``, each image's group.
    """

    counts: ConceptCounts
    labels: BatchLabels
    group: Tensor
