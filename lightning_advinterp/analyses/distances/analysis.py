"""Where adversarial images lie among the real ones in a network's feature space."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.metrics.distance_ratio import RATIOS, ClassFeatures, distance_ratios, histogram, summarise
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.basis_words import split_word
from lightning_advinterp.units.spaces import UnitLayer, unit_space

Pool = Literal["none", "mean", "max"]


class DistancesAnalysis(Summed):
    """The distance ratios of every attack's images, see :mod:`lightning_advinterp.metrics.distance_ratio`.

    The first sweep gathers the real images' features, the second attacks them. The class that an attack without a
    target moves to is the one predicted afterwards; where that is the true class there is no second class, and only
    r_src and r_own count.

    Args:
        attacks: name to attack.
        classes: the classes; labels and targets outside do not count.
        layer: φ, another layer's path, or ``LAYER@FILE``: a layer in a basis.
        pool: ``none`` compares the whole feature map, ``mean`` or ``max`` its channels' values over all places
            (and takes that much less memory).
        references: at most so many images in all, but at least two per class, are kept to take mean distances to.
        seed: of their choice.

    The ratios of every image are kept for an exact median: some 250 bytes per image and attack.
    """

    name = "distances"
    summed = ("_real",)
    united = ("_found",)
    settled = ("_everyone",)

    def __init__(
        self,
        attacks: Mapping[str, Attack] | None = None,
        *,
        classes: ClassSpace,
        layer: str = "phi",
        pool: Pool = "none",
        references: int = 2000,
        seed: int = 0,
    ) -> None:
        if pool not in ("none", "mean", "max"):
            raise ValueError(f"pool must be none, mean or max, got {pool!r}.")
        self.attacks, self.classes, self.layer, self.pool = dict(attacks or {}), classes, layer, pool
        self._unit: UnitLayer | None = None
        self._tap = layer
        self._per_class, self._seed = max(2, references // classes.size), seed
        self._real, self._everyone = (ClassFeatures(self._per_class, seed) for _ in range(2))
        self._found: dict[str, dict[int, tuple[float, ...]]] = {kind: {} for kind in self.attacks}

    def bind(self, network: Network) -> Plan:
        """One sweep over real images, and one with every attack's.

        Raises:
            ValueError: if the network has no known φ, and that is the layer; or several layers are named.
        """
        if self.layer == "phi" and network.phi is None:
            raise ValueError(
                f"distances: {network.name} has no known last feature layer, in which distances are taken; "
                "give it one, create_network(..., phi=PATH)."
            )
        self._tap = self.layer
        if self.pool != "none" or split_word(self.layer)[1] is not None:
            (unit, *further_units) = unit_space(network, self.layer)
            if further_units:
                raise ValueError(f"distances.layer must name one layer, got {self.layer!r}.")
            self._unit, self._tap = unit, unit.tap
        return Plan((Sweep((self._tap,)), Sweep((self._tap,), (REAL, *self.attacks))))

    def update(self, sweep: int, observation: Observation) -> None:
        """Gather one batch's features, or compare them."""
        true = self.classes.local(observation.label)
        inside = true >= 0
        source = self._features(observation, REAL)
        if sweep == 0:
            self._real.update(source[inside], true[inside], observation.index[inside])
            return
        for kind, attack in self.attacks.items():
            target = self._target(attack, kind, observation)
            features = self._features(observation, kind)
            for place in inside.nonzero().squeeze(1).tolist():
                number = int(observation.index[place])
                ratios = distance_ratios(
                    features[place],
                    source[place],
                    int(true[place]),
                    int(target[place]),
                    number,
                    self._everyone,
                )
                self._found[kind][number] = tuple(ratios.get(ratio, torch.nan) for ratio in RATIOS)

    def _target(self, attack: Attack, kind: str, observation: Observation) -> Tensor:
        return (
            self.classes.local(observation.goal[kind])
            if attack.targeted
            else self.classes.predicted(observation.logits[kind])
        )

    def _features(self, observation: Observation, kind: str) -> Tensor:
        maps = observation.activations[kind][self._tap]
        if self._unit is not None:
            maps = self._unit.maps(maps) if self.pool == "none" else self._unit.reduced(maps, self.pool)
        return maps.flatten(1).float()

    def settle(self, sweep: int) -> None:
        """Compare with every process's real images from now on."""
        if sweep == 0:
            self._everyone, self._real = self._real, ClassFeatures(self._per_class, self._seed)

    def _ratios(self, kind: str) -> Tensor:
        """Return an attack's ratios in the order of the images, float64 ``[N, 3]``, NaN where one is not defined."""
        by_image = self._found[kind]
        ratios = [by_image[number] for number in sorted(by_image)]
        return torch.tensor(ratios, dtype=torch.float64).view(-1, len(RATIOS))

    def result(self) -> Result:
        """Return the tables ``distances`` and ``distances_histogram``, and the means as scalars."""
        rows: list[Row] = []
        bars: list[Row] = []
        scalars: dict[str, float] = {}
        for kind in self._found:
            for ratio, values in zip(RATIOS, self._ratios(kind).T, strict=True):
                values = values[~values.isnan()]
                summary = summarise(values)
                last = {"eps": self.attacks[kind].eps, "images_per_class": self._everyone.images_per_class}
                rows.append({"images": kind, "ratio": ratio} | summary._asdict() | last)
                scalars[f"distances/{kind}/{ratio}"] = summary.mean
                bars += [
                    {
                        "images": kind,
                        "ratio": ratio,
                        "low": low,
                        "high": high,
                        "n": count,
                        "eps": self.attacks[kind].eps,
                    }
                    for low, high, count in histogram(values)
                ]
        return Result(self.name, scalars=scalars, tables={"distances": rows, "distances_histogram": bars})
