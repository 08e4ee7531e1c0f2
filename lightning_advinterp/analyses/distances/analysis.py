"""Where adversarial images lie among the real ones in a network's feature space."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Needs, Observation, Sweep
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.metrics.distance_ratio import RATIOS, ClassFeatures, distance_ratios, histogram, summarise
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.networks.network import Network

Pool = Literal["none", "mean", "max"]


class DistancesAnalysis:
    """The distance ratios of every attack's images, see :mod:`lightning_advinterp.metrics.distance_ratio`.

    The first sweep gathers the real images' features, the second attacks them. The class that an attack without a
    target moves to is the one predicted afterwards; where that is the true class there is no second class, and only
    r_src counts.

    Args:
        attacks: name to attack.
        classes: the classes; labels and targets outside do not count.
        layer: φ, or another layer's path.
        pool: ``none`` compares the whole feature map, ``mean`` or ``max`` its channels' values over all places
            (and takes that much less memory).
        references: at most so many images in all, but at least two per class, are kept to take mean distances to.
        seed: of their choice.

    The ratios of every image are kept for an exact median: 32 bytes per image and attack.
    """

    name = "distances"

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
        self._per_class, self._seed = max(2, references // classes.size), seed
        self._real, self._everyone = (ClassFeatures(self._per_class, seed) for _ in range(2))
        self._found: dict[str, list[tuple[Tensor, Tensor]]] = {kind: [] for kind in self.attacks}

    def needs(self, network: Network) -> Needs:
        """One sweep over real images, and one with every attack's.

        Raises:
            ValueError: if the network has no known φ, and that is the layer.
        """
        if self.layer == "phi" and network.phi is None:
            raise ValueError(
                f"distances: {network.name} has no known last feature layer, in which distances are taken; "
                "give it one, create_network(..., phi=PATH)."
            )
        return Needs((Sweep((self.layer,)), Sweep((self.layer,), (REAL, *self.attacks))))

    def update(self, sweep: int, seen: Observation) -> None:
        """Gather one batch's features, or compare them."""
        true = self.classes.local(seen.label)
        inside = true >= 0
        source = self._features(seen, REAL)
        if sweep == 0:
            self._real.update(source[inside], true[inside], seen.index[inside])
            return
        for kind, attack in self.attacks.items():
            target = self._target(attack, kind, seen)
            features = self._features(seen, kind)
            places = inside.nonzero().squeeze(1).tolist()
            found = torch.full((len(places), len(RATIOS)), torch.nan, dtype=torch.float64)
            for row, place in zip(found, places, strict=True):
                known = distance_ratios(
                    features[place],
                    source[place],
                    int(true[place]),
                    int(target[place]),
                    int(seen.index[place]),
                    self._everyone,
                )
                row.copy_(torch.tensor([known.get(ratio, torch.nan) for ratio in RATIOS]))
            self._found[kind].append((seen.index[places].cpu(), found))

    def _target(self, attack: Attack, kind: str, seen: Observation) -> Tensor:
        if attack.target is None and attack.label != "least_likely":
            return self.classes.predicted(seen.logits[kind])
        return self.classes.local(seen.goal[kind])

    def _features(self, seen: Observation, kind: str) -> Tensor:
        maps = seen.activations[kind][self.layer]
        if self.pool != "none" and maps.dim() == 4:
            maps = maps.mean(dim=(2, 3)) if self.pool == "mean" else maps.amax(dim=(2, 3))
        return maps.flatten(1).float()

    def settle(self, sweep: int) -> None:
        """Compare with every process's real images from now on."""
        if sweep == 0:
            self._everyone, self._real = self._real, ClassFeatures(self._per_class, self._seed)

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's features and ratios."""
        self._real.merge(state["real"])
        for kind, found in state["found"].items():
            self._found[kind].append(found)

    def state_dict(self) -> dict[str, Any]:
        """Return features and ratios."""
        found = {kind: self._ratios(kind) for kind in self._found}
        return {"real": self._real.state_dict(), "everyone": self._everyone.state_dict(), "found": found}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace features and ratios."""
        self._real.load_state_dict(state["real"])
        self._everyone.load_state_dict(state["everyone"])
        self._found = {kind: [found] for kind, found in state["found"].items()}

    def _ratios(self, kind: str) -> tuple[Tensor, Tensor]:
        """Image numbers, rising, int64 ``[N]``, and their ratios, float64 ``[N, 3]``, NaN where one is not defined."""
        found = self._found[kind]
        index = torch.cat([torch.empty(0, dtype=torch.int64), *(numbers for numbers, _ in found)])
        ratios = torch.cat([torch.empty(0, len(RATIOS), dtype=torch.float64), *(values for _, values in found)])
        order = index.argsort()
        self._found[kind] = [(index[order], ratios[order])]
        return self._found[kind][0]

    def result(self) -> Result:
        """Return the tables ``distances`` and ``distances_histogram``, and the means as scalars."""
        rows: list[Row] = []
        bars: list[Row] = []
        scalars: dict[str, float] = {}
        for kind in self._found:
            for ratio, values in zip(RATIOS, self._ratios(kind)[1].T, strict=True):
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
