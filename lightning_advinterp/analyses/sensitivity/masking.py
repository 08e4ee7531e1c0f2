"""The masking defence: the most sensitive units set to zero, and the network without them attacked anew."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.analyses.sensitivity.analysis import SensitivityAnalysis, halves_of
from lightning_advinterp.analyses.sensitivity.config import SensitivityConfig
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.attacks.prediction.sweep import swept_attacks
from lightning_advinterp.core.randomness import mixed_seed, sample_keys
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.metrics.intervals import wilson_interval
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.taps import taps
from lightning_advinterp.units.spaces import UnitLayer, unit_layers

CLEAN = "clean"
RANKED, REPORTED = 0, 1
"""The halves of the images: units are ranked on one, and accuracy is reported on the other."""
_MASKS = 0x6D61736B  # "mask"

Mask = dict[str, list[int]]
"""What is read of a layer, to the units set to zero."""


def masking_attacks(config: SensitivityConfig) -> dict[str, Attack]:
    """Return the attacks that are made on masked networks, by name.

    Raises:
        ValueError: if there is none, or no such attack.
    """
    attacks = create_attacks(swept_attacks(config.mask_attack, config.mask_eps, config.mask_steps))
    if not attacks:
        raise ValueError("sensitivity.mask_attack must name an attack, such as pgd, got none.")
    return attacks


class MaskingAnalysis(Summed):
    """Accuracy without the units that the first attack moves most, clean and under attacks that see the mask.

    The attack is made on the network in which the units are zero: it needs no transfer, and gradients through masked
    units are zero. As a control, as many random units of the same layers are set to zero, several times. Units are
    ranked on one random half of the images, and accuracy is of the other. Dead units rank last.

    The table ``sensitivity_masking`` has a row per number of ``units`` (0: the network itself), ``mask``
    (``sensitive``, ``random``, or empty), ``draw`` of the control and ``attack`` (``clean`` for real images): ``top1``
    with its Wilson interval, ``eps, n``, and which attack ranked the units.

    Args:
        changes: ranks the units.
        attacks: made on the masked networks.
        units: numbers of units set to zero.
        draws: of the control.
        images: the data set, whose numbers choose the reported half.
    """

    name = "sensitivity_masking"
    summed = ("right", "seen")

    def __init__(
        self,
        changes: SensitivityAnalysis,
        attacks: Mapping[str, Attack],
        units: Sequence[int],
        draws: int,
        images: ImageSet,
    ) -> None:
        self.changes, self.attacks, self.units, self.draws = changes, dict(attacks), tuple(units), draws
        self._numbers = torch.tensor(list(images.indices), dtype=torch.int64)
        self._masks: dict[tuple[int, str, int], Mask] = {}
        self._network: Network | None = None
        self._layers: dict[str, UnitLayer] = {}
        self.right: dict[str, int] = {}
        self.seen: dict[str, int] = {}

    def bind(self, network: Network) -> Plan:
        """One sweep over the reported half, once the ranking is known."""
        self._network = network
        self._check_units(network)
        masks = len(self.cases())
        forwards = masks * (1 + sum(1 + attack.cost[0] for attack in self.attacks.values()))
        backwards = masks * sum(attack.cost[1] for attack in self.attacks.values())
        chosen = int((halves_of(self._numbers, self.changes.seed) == REPORTED).sum())
        share = chosen / max(1, len(self._numbers))
        return Plan((Sweep(chosen=chosen),), passes=(forwards * share, backwards * share))

    def _check_units(self, network: Network) -> None:
        """Refuse more units than there are, before any work: a grey image shows how many a layer has."""
        parameter = next(network.parameters())
        layers = unit_layers(network, self.changes.layers)
        shape = (1, len(network.mean), network.input_size, network.input_size)
        with torch.no_grad(), frozen_eval(network):
            outputs = network.forward_features(torch.full(shape, 0.5).to(parameter), [unit.tap for unit in layers])[1]
        unit_count = sum(unit.maps(outputs[unit.tap]).shape[1] for unit in layers)
        self._layers = {unit.reading: unit for unit in layers}
        if max(self.units) > unit_count:
            raise ValueError(
                f"sensitivity.mask_units must be at most the {unit_count} units of these layers, got {max(self.units)}."
            )

    def cases(self) -> list[tuple[int, str, int]]:
        """Return all masks as number of units, kind, and draw."""
        cases: list[tuple[int, str, int]] = []
        for count in self.units:
            if count == 0:
                cases.append((0, "", 0))
                continue
            cases += [(count, "sensitive", 0), *((count, "random", draw) for draw in range(self.draws))]
        return cases

    def choose(self, results: Mapping[str, Result]) -> Collection[int]:
        """Rank the units, and return the images of the reported half."""
        ranked = self.changes.ranking(RANKED)
        self._masks = {case: self._mask(ranked, *case) for case in self.cases()}
        reported = halves_of(self._numbers, self.changes.seed) == REPORTED
        return {int(number) for number in self._numbers[reported]}

    def _mask(self, ranked: Sequence[tuple[str, int]], count: int, kind: str, draw: int) -> Mask:
        """Return the most sensitive units, or as many random ones of the same layers."""
        mask: Mask = {}
        for reading, unit in ranked[:count]:
            mask.setdefault(reading, []).append(unit)
        if kind != "random":
            return mask
        generator = np.random.default_rng(mixed_seed(self.changes.seed, _MASKS, count, draw))
        for reading, units in mask.items():
            layer_units = sorted(unit for name, unit in ranked if name == reading)
            mask[reading] = generator.choice(layer_units, len(units), replace=False).tolist()
        return mask

    def update(self, sweep: int, observation: Observation) -> None:
        """Attack one batch on every masked network."""
        assert self._network is not None
        keys = sample_keys(observation.index, seed=self.changes.seed)
        x = observation.images[REAL]
        for case in self.cases():
            with taps(self._network, replace=masked_layers(self._layers, self._masks[case])):
                self._count(case, CLEAN, x, observation.label)
                for name, attack in self.attacks.items():
                    self._count(case, name, attack(self._network, x, observation.label, keys=keys), observation.label)

    def _count(self, case: tuple[int, str, int], attack: str, x: Tensor, label: Tensor) -> None:
        assert self._network is not None
        with torch.no_grad():
            right = self._network(x).argmax(1) == label
        key = _key(case, attack)
        self.right[key] = self.right.get(key, 0) + int(right.sum())
        self.seen[key] = self.seen.get(key, 0) + len(label)

    def result(self) -> Result:
        """Return the table ``sensitivity_masking``."""
        rows: list[Row] = []
        for case in self.cases():
            for attack in (CLEAN, *self.attacks):
                key, (count, mask, draw) = _key(case, attack), case
                n, right = self.seen.get(key, 0), self.right.get(key, 0)
                low, high = wilson_interval(right, n)
                row: Row = {"units": count, "mask": mask or None, "draw": draw if mask == "random" else None}
                row |= {"attack": attack, "top1": right / n if n else None, "top1_low": low, "top1_high": high}
                eps = None if attack == CLEAN else self.attacks[attack].eps
                rows.append(row | {"eps": eps, "n": n, "ranked_by": next(iter(self.changes.attacks))})
        return Result(self.name, tables={self.name: rows})


def masked_layers(layers: Mapping[str, UnitLayer], mask: Mask) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return for every tap what takes units from its output; of bases of one layer after the layer's own units.

    Args:
        layers: by reading.
        mask: reading to units.
    """
    steps: dict[str, list[Callable[[Tensor], Tensor]]] = {}
    for reading in sorted(mask, key=lambda name: layers[name].basis is not None):
        unit = layers[reading]
        steps.setdefault(unit.tap, []).append(partial(unit.without, units=mask[reading]))
    return {tap: partial(_in_turn, functions=functions) for tap, functions in steps.items()}


def _in_turn(output: Tensor, functions: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    for function in functions:
        output = function(output)
    return output


def _key(case: tuple[int, str, int], attack: str) -> str:
    return "/".join(map(str, (*case, attack)))
