"""What every explanation is: images and classes in, one signed map per image out, and the network as it was."""

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.explanations.question import Question, asking
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.smoothing import smoothed_relu


@runtime_checkable
class Explanation(Protocol):
    """One call shape for every method.

    Attributes:
        name: what tables and log keys call it.
    """

    name: str

    def explain(
        self, network: nn.Module, x: Tensor, target: Tensor, *, keys: Tensor | None = None, create_graph: bool = False
    ) -> Tensor:
        """Return signed maps ``[B, C, H, W]``; see :meth:`Method.explain`."""
        ...

    def map(
        self, network: nn.Module, x: Tensor, target: Tensor, *, keys: Tensor | None = None, create_graph: bool = False
    ) -> Tensor:
        """Return maps ``[B, H, W]``; see :meth:`Method.map`."""
        ...

    def look(
        self, network: nn.Module, x: Tensor, target: Tensor, *, keys: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the network's logits ``[B, K]`` beside the maps; see :meth:`Method.look`."""
        ...

    def reduce(self, signed: Tensor) -> Tensor:
        """Return maps ``[B, H, W]`` of signed ones; see :meth:`Method.reduce`."""
        ...

    def passes(self, size: int = 224, *, derivative: bool = False) -> tuple[int, int]:
        """Return the passes of an image; see :meth:`Method.passes`."""
        ...

    def look_passes(self, size: int = 224) -> tuple[int, int]:
        """Return the passes of an image; see :meth:`Method.look_passes`."""
        ...


class Method(ABC):
    """An explanation method.

    The network is seen in eval mode and comes back as it was, also after an error: modes, hooks, BatchNorm statistics,
    ``requires_grad`` and ``grad`` of the parameters. Compiled networks run uncompiled. Images of a batch do not
    influence each other.

    Args:
        name: what tables and log keys call it.
        softplus: β of the softplus that stands for relu while the method computes (Dombrowski et al. 2019); None leaves
            relu, or what a :func:`~lightning_advinterp.networks.smoothing.smoothed_relu` block around the call says.

    Attributes:
        own_pass: whether the type's first forward pass is the network's own, of the images as they are.
    """

    own_pass = False

    def __init__(self, name: str, *, softplus: float | None = None) -> None:
        self.name, self.softplus = name, softplus

    def explain(
        self,
        network: nn.Module,
        x: Tensor,
        target: Tensor | int,
        *,
        keys: Tensor | None = None,
        create_graph: bool = False,
    ) -> Tensor:
        """Explain one class of every image.

        Args:
            network: a :class:`~lightning_advinterp.networks.network.Network`, or any module from images to logits
                ``[B, K]``, which is then taken as it is, without a normalisation.
            x: ``[B, C, H, W]`` in [0, 1].
            target: int64 ``[B]``, the class to be explained; an integer: of every image.
            keys: int64 ``[B]``, from which methods that draw at random draw; left out, a sample's place in the batch.
            create_graph: make the result differentiable with respect to ``x`` and to the parameters that ask for
                gradients. A network of relu has a useful derivative only if softplus stands for relu.

        Returns:
            ``[B, C, H, W]`` in the type of ``x``; without a graph unless asked for.

        Raises:
            ValueError: for wrong shapes, or if the method does not fit the network.
        """
        if keys is None:
            keys = sample_keys(torch.arange(len(x), device=x.device))
        with asking(network, x, target, keys, create_graph=create_graph) as question, smoothed_relu(self.softplus):
            signed = self.signed(question)
        signed = signed.to(x.dtype)
        return signed if create_graph else signed.detach()

    def map(
        self,
        network: nn.Module,
        x: Tensor,
        target: Tensor | int,
        *,
        keys: Tensor | None = None,
        create_graph: bool = False,
    ) -> Tensor:
        """Return ``reduce(explain(...))``, ``[B, H, W]``, not negative, with sum 1; arguments as for ``explain``."""
        return self.reduce(self.explain(network, x, target, keys=keys, create_graph=create_graph))

    def look(
        self, network: nn.Module, x: Tensor, target: Tensor | int, *, keys: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the network's logits ``[B, K]`` and the maps, both without a graph; arguments as for ``explain``.

        Where the map begins with a forward pass of the images, that serves for both.
        """
        if not self._shares:
            with frozen_eval(network), torch.no_grad():
                logits: Tensor = network(x)
            return logits, self.map(network, x, target, keys=keys)
        keys = sample_keys(torch.arange(len(x), device=x.device)) if keys is None else keys
        with asking(network, x, target, keys, create_graph=False) as question:
            signed = self.signed(question)
        return question.noted[0].detach(), self.reduce(signed.to(x.dtype).detach())

    @property
    def _shares(self) -> bool:
        return self.own_pass and self.softplus is None

    def reduce(self, signed: Tensor) -> Tensor:
        """Return h = Σ_channels |R| / Σ |R|, as the codes of both papers do, ``[B, C, H, W] -> [B, H, W]``.

        A map that is zero everywhere stays zero.
        """
        return unit_sum(signed.abs().sum(1))

    def passes(self, size: int = 224, *, derivative: bool = False) -> tuple[int, int]:
        """Return the forward and the backward passes that a map takes, of one image.

        Propagation through the layers counts as a backward pass, and through layers with other weights as one more of
        either kind. The derivative goes back through every pass of the map. The one forward pass with which a network's
        steps are verified before the first propagation is not counted.

        Args:
            size: the image's side in pixels, on which the number of occlusion's patches depends.
            derivative: count the derivative of the map by the image too.
        """
        forward, backward = self.map_passes(size)
        return (forward, forward + 2 * backward) if derivative else (forward, backward)

    def look_passes(self, size: int = 224) -> tuple[int, int]:
        """Return the forward and the backward passes of :meth:`look`, as :meth:`passes` counts them."""
        forward, backward = self.passes(size)
        return forward + (not self._shares), backward

    def map_passes(self, size: int) -> tuple[int, int]:
        """Return the forward and the backward passes of a map alone; one of each, if nothing else is said."""
        return 1, 1

    @abstractmethod
    def signed(self, question: Question) -> Tensor:
        """Return signed maps ``[B, C, H, W]``; gradients are on and the network is in eval mode."""

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in vars(self).items() if not key.startswith("_"))
        return f"{type(self).__name__}({settings})"


def unit_sum(maps: Tensor) -> Tensor:
    """Divide maps that are not negative by their sums, ``[B, H, W]``; a map of zeros stays one.

    What underflows becomes zeros: below the normal numbers so few digits are left that a ranking would be of rounding.
    """
    total = maps.sum((1, 2), keepdim=True)
    tiny = torch.finfo(maps.dtype).tiny
    return torch.where(total < tiny, torch.zeros_like(maps), maps / total.clamp(min=tiny))


def share(maps: Tensor, channels: int) -> Tensor:
    """Return maps over places as signed maps whose sum over channels they are, ``[B, H, W] -> [B, C, H, W]``."""
    return (maps / channels)[:, None].expand(-1, channels, -1, -1)


def check_count(argument: str, number: int) -> int:
    """Refuse a count below 1."""
    if number < 1:
        raise ValueError(f"{argument} must be 1 or more, got {number}.")
    return number
