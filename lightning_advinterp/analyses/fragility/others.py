"""Other images' maps: the level at which two maps have nothing to do with each other, and targets to aim at."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_advinterp.core.randomness import mixed_seed, sample_keys
from lightning_advinterp.explanations import Method
from lightning_advinterp.metrics.heatmaps import compare_maps
from lightning_advinterp.networks.network import Network

_PARTNER = 0x6F74686572  # "other"


class OtherImages:
    """A few images whose maps others are compared with, the same on every process.

    Args:
        network: whose maps.
        pool: number to (rank, label, pixels ``[C, H, W]``).
        methods: by name.
        seed: decides which of them an image is compared with.
    """

    def __init__(
        self, network: Network, pool: Mapping[int, tuple[int, int, Tensor]], methods: Mapping[str, Method], seed: int
    ) -> None:
        self._network, self._pool, self._methods, self._seed = network, pool, methods, seed
        self._numbers = sorted(pool)
        self._maps: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def maps(self, method: str) -> Tensor:
        """Return their maps, ``[R, H, W]``, in the order of their numbers."""
        if method not in self._maps:
            device, maps = next(self._network.parameters()).device, []
            for number in self._numbers:  # one at a time: the same maps whatever else is in a batch
                _, label, image = self._pool[number]
                index, target = (torch.tensor([value], device=device) for value in (number, label))
                keys = sample_keys(index, seed=self._seed)
                maps.append(self._methods[method].map(self._network, image[None].to(device), target, keys=keys))
            self._maps[method] = torch.cat(maps)
        return self._maps[method]

    def similarity(self, method: str, number: int, heatmap: Tensor, k: int | None) -> dict[str, float] | None:
        """Compare the map ``[H, W]`` of an image with that of one other image; None where there is no other."""
        places = [place for place, other_place in enumerate(self._numbers) if other_place != number]
        if not places:
            return None
        place = places[mixed_seed(self._seed, number, _PARTNER) % len(places)]
        similarities = compare_maps(heatmap[None], self.maps(method)[place][None], k=k)
        return {name: float(value) for name, value in similarities.items()}
