"""What a dissection has counted so far: mergeable over processes, and saved where a run may be interrupted."""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.dissection.config import DissectionConfig
from lightning_advinterp.analyses.dissection.views import View
from lightning_advinterp.core.result import REAL
from lightning_advinterp.metrics.dissection import ConceptCounts
from lightning_advinterp.metrics.label_maps import Vocabulary
from lightning_advinterp.metrics.quantile import TopQuantile
from lightning_advinterp.metrics.refined_quantile import RefinedQuantile

logger = logging.getLogger(__name__)


class DissectionState(Summed):
    """Quantiles, then thresholds, then counts, by view and layer.

    Args:
        config: how is counted.
        vocabulary: the labels.
        images: how many images come at most.
        attacks: names.

    Attributes:
        quantiles: of the first sweep; empty once they are settled.
        refined: of the second, if thresholds are to be exact, or of the layers where the first left some unresolved.
        thresholds: float32 ``[U]``, settled: the same in all processes.
        counts: of the last sweep.
        reached: attack to number of images ``n``, of successes ``success``, and the sum of ``linf``.
    """

    summed = ("reached",)
    settled = ("thresholds",)
    grown: ClassVar[Mapping[str, int]] = {"quantiles": 2, "refined": 2, "counts": 2}

    def __init__(self, config: DissectionConfig, vocabulary: Vocabulary, images: int, attacks: tuple[str, ...]) -> None:
        self.config, self.vocabulary, self.images = config, vocabulary, images
        self.quantiles: dict[str, dict[str, TopQuantile]] = {}
        self.refined: dict[str, dict[str, RefinedQuantile]] = {}
        self.thresholds: dict[str, dict[str, Tensor]] = {}
        self.counts: dict[str, dict[str, ConceptCounts]] = {}
        self.reached: dict[str, dict[str, float]] = {name: {"n": 0, "success": 0, "linf": 0.0} for name in attacks}

    def quantile(self, view: str, layer: str) -> TopQuantile:
        """Return the quantile of a view's layer, a new one at first."""
        layers = self.quantiles.setdefault(view, {})
        if layer not in layers:
            layers[layer] = TopQuantile(self.config.quantile, self.images)
        return layers[layer]

    def refine(self, view: str, layer: str, maps: Tensor) -> None:
        """Count a batch for a threshold that is not known yet; others are passed over."""
        quantile = self.refined.get(view, {}).get(layer)
        if quantile is not None:
            quantile.update(maps)

    def count(self, view: View, layer: str, maps: Tensor) -> ConceptCounts:
        """Return the counts of a view's layer, zeros at first."""
        layers = self.counts.setdefault(view.name, {})
        earlier = layers.get(layer)
        if earlier is None or earlier.images.device != maps.device:  # a loaded state lies in the main memory
            layers[layer] = self._zeros(maps.shape[1], view.groups, maps)
            if earlier is not None:
                layers[layer].load_state_dict(earlier.state_dict())
        return layers[layer]

    def _zeros(self, units: int, groups: int, like: Tensor) -> ConceptCounts:
        return ConceptCounts(units, self.vocabulary, rule=self.config.rule, groups=groups, device=like.device)

    def reach(self, observation: Observation) -> dict[str, dict[str, float]]:
        """Count a batch's images and successes by attack, and how far they are from the real ones."""
        reached = {}
        for name in self.reached:
            delta = (observation.images[name] - observation.images[REAL]).flatten(1)
            linf = float(delta.abs().amax(1).double().sum())
            reached[name] = {"n": len(observation.index), "success": int(observation.success[name].sum()), "linf": linf}
        return reached

    def note(self, reached: Mapping[str, Mapping[str, float]]) -> None:
        """Add what :meth:`reach` says of a batch, or another process's sums."""
        for name, sums in reached.items():
            for key, value in sums.items():
                self.reached[name][key] += value

    def settle(self, sweep: int) -> bool:
        """Turn a sweep's merged quantiles into refinements or thresholds; return whether thresholds are known now."""
        if sweep == 0:
            self._refine_or_read()
            self.quantiles = {}
        elif self.refined:
            for view, layer, quantile in _entries(self.refined):
                self.thresholds.setdefault(view, {})[layer] = quantile.compute()
            self.refined = {}
        else:
            return False
        return bool(self.thresholds) and not self.refined

    def _refine_or_read(self) -> None:
        """Read the thresholds that are known; of the others note what a further sweep must count."""
        unresolved = 0
        for view, layer, quantile in _entries(self.quantiles):
            rough = int(quantile.unresolved().sum())
            if rough or self.config.exact:
                refined = quantile.refined(all_units=self.config.exact)
                self.refined.setdefault(view, {})[layer] = refined
            else:
                self.thresholds.setdefault(view, {})[layer] = quantile.compute()
            unresolved += rough
        if unresolved and not self.config.exact:
            logger.info("dissection: the thresholds of %d units need one more sweep over the images.", unresolved)

    def part(self, name: str, state: dict[str, Any]) -> TopQuantile | RefinedQuantile | ConceptCounts:
        """Return an empty part for a state."""
        if name == "quantiles":
            return TopQuantile(self.config.quantile, self.images)
        if name == "refined":
            return RefinedQuantile(state["low"], state["high"], state["above"], state["ranks"])
        groups, units, _ = state["intersection"].shape
        return self._zeros(units, groups, state["intersection"])


def _entries(by_view: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, Any]]:
    return [(view, layer, entry) for view, layers in by_view.items() for layer, entry in layers.items()]
