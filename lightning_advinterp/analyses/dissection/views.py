"""What dissection looks at beside the images themselves: the controls without which its ratios say little."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.protocol import Observation
from lightning_advinterp.analyses.base.remembered import RememberedPasses
from lightning_advinterp.analyses.dissection.config import NOISE, PAIRED, DissectionConfig
from lightning_advinterp.core.randomness import mix, mixed_seed, normal, sample_keys
from lightning_advinterp.core.result import REAL
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.rotation import rotation
from lightning_advinterp.units.spaces import UnitSpace

_NOISE_STREAM = 0x6E6F697365  # "noise"
_BAG, _PARTNER, _WEIGHTS = 1, 2, 4  # 3 draws rotations


def sign_noise(x: Tensor, x_adv: Tensor, keys: Tensor) -> Tensor:
    """Return images as far from ``x`` as ``x_adv`` in L∞, in a random direction: x + ‖x* − x‖∞·sign(N(0, 1)).

    Args:
        x: ``[B, 3, H, W]`` in [0, 1].
        x_adv: likewise.
        keys: int64 ``[B]``, from which the signs are drawn.
    """
    radius = (x_adv - x).flatten(1).abs().amax(1)[:, None, None, None]
    signs = normal(keys, x.shape[1:], stream=_NOISE_STREAM).sign().to(x.dtype)
    return (x + radius * signs).clamp_(0, 1)


def random_twin(network: Network, seed: int) -> Network:
    """Return a copy of a network with random weights, in evaluation mode; global random state stays as it was.

    Modules draw their weights as at their creation; parameters of modules that cannot are shuffled.
    """
    twin = copy.deepcopy(network).cpu()
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(mixed_seed(seed, _WEIGHTS))
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for parameter in module.parameters(recurse=False):
                shuffled = parameter.flatten()[torch.randperm(parameter.numel())]
                parameter.copy_(shuffled.view_as(parameter))
    return twin.to(device).eval().requires_grad_(False)


def partners(numbers: Sequence[int], seed: int) -> dict[int, int]:
    """Return for every image another one, whose labels it is given: all images in one random cycle."""
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(mixed_seed(seed, _PARTNER))).tolist()
    cycle = [numbers[place] for place in order]
    return dict(zip(cycle, cycle[1:] + cycle[:1], strict=True))


def bags(index: Tensor, groups: int, seed: int) -> Tensor:
    """Return each image's group, int64 ``[B]``: a random one that belongs to the image alone."""
    return mix(torch.zeros_like(index), seed, _BAG, index) % groups


@dataclass(frozen=True)
class View:
    """One way to look at the images: what is read, with which thresholds, against which labels.

    Attributes:
        name: ``real``, an attack, an attack's noise, the real images beside an attack, or a control.
        kind: the image kind that it depends on.
        own_thresholds: whether it has thresholds of its own; else those of the real images.
        shuffled: whether it is held against another image's labels.
        bags: into how many random groups its images are counted.
        split: whether images are counted apart where the attack fails and where it succeeds.
    """

    name: str
    kind: str = REAL
    own_thresholds: bool = False
    shuffled: bool = False
    bags: int = 1
    split: bool = False

    @property
    def groups(self) -> int:
        """Into how many groups images are counted."""
        return self.bags * (1 + self.split)

    def group(self, observation: Observation, seed: int) -> Tensor:
        """Return the group of every image, int64 ``[B]``: failures first, each by bags."""
        group = bags(observation.index, self.bags, seed)
        return group + self.bags * observation.success[self.kind].long() if self.split else group


def views_of(config: DissectionConfig, attacks: Sequence[str]) -> dict[str, View]:
    """Return all that a dissection looks at, by name."""
    recomputed = config.threshold_source == "recompute"
    views = [View(REAL, own_thresholds=True, bags=config.groups)]
    for name in attacks:
        views.append(View(name, name, recomputed, bags=config.groups, split=config.by_success))
        if config.noise:
            views.append(View(name + NOISE, name, recomputed, split=config.by_success))
        if config.by_success:
            views.append(View(name + PAIRED, name, split=True))
    for control in config.controls:
        views.append(View(control, own_thresholds=control != "shuffled", shuffled=control == "shuffled"))
    return {view.name: view for view in views}


class ViewReader:
    """Reads each view's activations.

    Args:
        network: the network looked at.
        space: the layers.
        seed: draws rotations, random weights and noise.
    """

    def __init__(self, network: Network, space: UnitSpace, seed: int) -> None:
        self.network, self.space, self.seed = network, space, seed
        self._twin: Network | None = None
        self._turns: dict[str, Tensor] = {}
        self.passes = RememberedPasses(0)
        """Of the network with random weights."""

    def maps(self, view: View, observation: Observation) -> dict[str, Tensor]:
        """Return activations by layer, ``[B, U, H, W]``."""
        values = self._activations(view, observation)
        maps = {unit.layer: unit.maps(values[unit.tap]) for unit in self.space}
        if view.name == "rotated":
            return {layer: self._rotated(layer, layer_maps) for layer, layer_maps in maps.items()}
        return maps

    def _activations(self, view: View, observation: Observation) -> Mapping[str, Tensor]:
        real = observation.images[REAL]
        if view.name == "random":
            if self._twin is None:
                self._twin = random_twin(self.network, self.seed)
            return self.passes.features(self._twin, real, self.space.taps, observation.index)[1]
        if view.name.endswith(NOISE):
            keys = sample_keys(observation.index, seed=self.seed)
            noisy = sign_noise(real, observation.images[view.kind], keys)
            with torch.no_grad():
                return self.network.forward_features(noisy, self.space.taps)[1]
        return observation.activations[REAL if view.name.endswith(PAIRED) else view.kind]

    def _rotated(self, layer: str, maps: Tensor) -> Tensor:
        if layer not in self._turns:
            place = [unit.layer for unit in self.space].index(layer)
            self._turns[layer] = rotation(maps.shape[1], self.seed, place, maps)
        return (self._turns[layer] @ maps.flatten(2)).reshape(maps.shape)
