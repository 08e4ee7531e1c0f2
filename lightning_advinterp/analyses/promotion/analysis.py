"""What the parts of a perturbation do to the scores of the true class and of the target (Xu et al. 2019)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.fragility.state import as_image
from lightning_advinterp.analyses.promotion.config import PromotionConfig
from lightning_advinterp.analyses.promotion.correlation import cell_correlations
from lightning_advinterp.analyses.promotion.maps import PAIRS, Looked, Maps, map_scores
from lightning_advinterp.analyses.promotion.pictures import pictures_of
from lightning_advinterp.analyses.promotion.state import Entry, Measured, cell_entry, kind_cells, lowest
from lightning_advinterp.analyses.promotion.tables import scalars_of, tables_of
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.randomness import mixed_seed
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.core.states import Summed
from lightning_advinterp.explanations.promotion import cell_scores, screened_sensitivity
from lightning_advinterp.metrics.cells import Grid
from lightning_advinterp.metrics.promotion import Effects, cell_effects
from lightning_advinterp.networks.network import Network

logger = logging.getLogger(__name__)

_POOL = 0x6F74686572  # "other"
_OTHERS = 2
"""Images of which one is another one than any image."""


class PromotionAnalysis(Summed):
    """Effects of every cell of every attack's perturbation, and where the perturbation lies in the classes' maps.

    The target is the class that an attack aims at, or, for one that only moves away, the class predicted afterwards.
    Images whose attack fails have no cells and are counted; their interpretability scores are kept, and left out of
    summaries. Tables and columns are described in ``docs/promotion.md``.

    The first run over the data chooses two other images, whose maps are a control; the second one measures. All
    numbers belong to an image and do not depend on batches or processes.

    Args:
        config: what is measured.
        attacks: name to attack.
        names: of the classes, for pictures.
    """

    name = "promotion"
    united = ("cells", "scores", "correlations", "screened", "failed", "pictures", "pool")

    def __init__(
        self,
        config: PromotionConfig | None = None,
        attacks: Mapping[str, Attack] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.config, self.attacks, self.names = config or PromotionConfig(), dict(attacks or {}), list(names)
        self.cells: dict[str, dict[int, Entry]] = {kind: {} for kind in self.attacks}
        self.scores: dict[str, dict[int, Tensor]] = {kind: {} for kind in self.attacks}
        self.correlations: dict[str, dict[int, Tensor]] = {kind: {} for kind in self.attacks}
        self.screened: dict[str, dict[int, Tensor]] = {kind: {} for kind in self.attacks}
        self.failed: dict[str, set[int]] = {kind: set() for kind in self.attacks}
        self.pictures: dict[str, dict[int, Entry]] = {kind: {} for kind in self.attacks}
        self.pool: dict[int, Entry] = {}
        self._maps: Maps | None = None

    def bind(self, network: Network) -> Plan:
        """Two sweeps, over real images and over every attack's; the cells' passes are its own.

        Raises:
            ValueError: if a cell is larger than the image.
        """
        self._maps = Maps(network)
        cells = len(self.config.grid(network.input_size, network.input_size))
        forwards, backwards = self._maps.passes
        kinds = len(self.attacks)
        passes = (kinds * (2 * cells + 3 * forwards), kinds * 3 * backwards)
        return Plan((Sweep(), Sweep(kinds=(REAL, *self.attacks), batch=self.config.batch_size)), passes=passes)

    def update(self, sweep: int, observation: Observation) -> None:
        """Choose other images, or measure."""
        if sweep == 0:
            for number, image in zip(observation.index.tolist(), observation.images[REAL], strict=True):
                rank = mixed_seed(self.config.seed, number, _POOL)
                self.pool[number] = {"rank": rank, "image": image.cpu().clone()}
            self._trim()
            return
        for kind, attack in self.attacks.items():
            target = observation.goal[kind] if attack.targeted else observation.logits[kind].argmax(1)
            self._measure(kind, observation, target)
        self._trim()

    def _measure(self, kind: str, observation: Observation, target: Tensor) -> None:
        """Measure a batch under one attack."""
        x, x_adv, true, maps = observation.images[REAL], observation.images[kind], observation.label, self._maps
        assert maps is not None
        distinct, success = target != true, observation.success[kind] & (target != true)
        looked = {"real": maps.look(x, target, true), "adversarial": maps.look(x_adv, target, true)}
        other_images = self._others(observation.index, x)
        control = None if other_images is None else maps.look(other_images, target, true)
        scores = map_scores(maps.names, x_adv - x, looked, control, distinct).cpu()
        numbers = observation.index.tolist()
        self.scores[kind] |= {number: row.clone() for number, row in zip(numbers, scores, strict=True)}
        self.failed[kind] |= {number for number, hit in zip(numbers, success.tolist(), strict=True) if not hit}
        if not bool(success.any()):
            return
        grid = self.config.grid(*x.shape[2:])
        chosen = success.nonzero().squeeze(1)
        pair = (x[chosen], x_adv[chosen])
        logits = (observation.logits[REAL][chosen], observation.logits[kind][chosen])
        classes, chunk = (target[chosen], true[chosen]), self.config.chunk
        cells = cell_scores(maps.network, *pair, *classes, grid, chunk=chunk, logits=logits)
        effects = cell_effects(cells)
        if self.config.screening:
            at_adversarial, at_real = (
                [gradient[chosen] for gradient in looked[of].gradients] for of in ("adversarial", "real")
            )
            screened = screened_sensitivity(pair[1] - pair[0], at_adversarial, at_real, grid).cpu()
            self.screened[kind] |= {numbers[at]: row.clone() for at, row in zip(chosen.tolist(), screened, strict=True)}
        for place, at in enumerate(chosen.tolist()):
            pair_of_classes = (int(target[at]), int(true[at]))
            self.cells[kind][numbers[at]] = cell_entry(cells, place, pair_of_classes, x.shape[2:])
            of_image = Effects(effects.promotion[place], effects.suppression[place])
            self.correlations[kind][numbers[at]] = self._correlations(
                looked, at, of_image, cells.norms[place] > 0, grid
            )
            self._picture(kind, numbers[at], at, x, x_adv, looked)

    def _correlations(
        self, looked: Mapping[str, Looked], at: int, effects: Effects, active: Tensor, grid: Grid
    ) -> Tensor:
        assert self._maps is not None
        maps = [looked[of].maps[name, which][at].sum(0) for name in self._maps.names for of, which in PAIRS]
        return cell_correlations(effects, active, torch.stack(maps), grid, self.config.xi).cpu()

    def _others(self, index: Tensor, like: Tensor) -> Tensor | None:
        """Return another image for each of a batch, of the two that were chosen; None where there is no other."""
        numbers = sorted(self.pool, key=lambda number: (self.pool[number]["rank"], number))
        if len(numbers) < _OTHERS:
            return None
        chosen = [numbers[0] if number != numbers[0] else numbers[1] for number in index.tolist()]
        return torch.stack([self.pool[number]["image"] for number in chosen]).to(like)

    def _picture(self, kind: str, number: int, at: int, x: Tensor, x_adv: Tensor, looked: Mapping[str, Looked]) -> None:
        """Keep an image for the figures, if it is one of the first."""
        assert self._maps is not None
        if self.config.show == 0:
            return
        name = self._maps.names[0]
        entry: Entry = {"image": as_image(x[at]), "adversarial": as_image(x_adv[at]), "map": name}
        for which in ("true", "target"):
            entry[which] = _scaled(looked["real"].maps[name, which][at].sum(0))
        self.pictures[kind][number] = entry

    def _trim(self) -> None:
        """Forget what exceeds the other images' and the pictures' numbers."""
        ranked = sorted(self.pool, key=lambda number: (self.pool[number]["rank"], number))
        self.pool = {number: self.pool[number] for number in ranked[:_OTHERS]}
        self.pictures = {kind: lowest(entries, self.config.show) for kind, entries in self.pictures.items()}

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's images."""
        super().merge(state)
        self._trim()

    def result(self) -> Result:
        """Return the tables, the pictures and the scalars."""
        assert self._maps is not None, "bind comes first"
        cells = {kind: kind_cells(entries) for kind, entries in self.cells.items()}
        measured = Measured(self.scores, self.correlations, self.screened, self.failed)
        radii = {kind: attack.eps for kind, attack in self.attacks.items()}
        tables = tables_of(self.config, radii, cells, measured, self._maps.names)
        pictures, arrays = pictures_of(self.pictures, cells, self.cells, self.config, self.names)
        self._warn()
        scalars = scalars_of(tables, self.failed, self.config.xi, self.config.threshold)
        return Result(self.name, scalars, tables | {"promotion_pictures": pictures}, arrays)

    def _warn(self) -> None:
        """Name attacks that failed on images, whose cells are not measured."""
        for kind, numbers in self.failed.items():
            count = len(numbers) + len(self.cells[kind])
            if numbers:
                logger.warning(
                    "promotion: %s fails on %d of %d images, whose cells are left out: they have no effect to explain.",
                    kind,
                    len(numbers),
                    count,
                )


def _scaled(heatmap: Tensor) -> Tensor:
    """Return a signed map ``[H, W]`` as uint8 from its lowest value to its highest, on the CPU."""
    heatmap = heatmap - heatmap.min()
    return (255 * heatmap / heatmap.max().clamp(min=torch.finfo(heatmap.dtype).tiny)).round().byte().cpu()
