"""How an evaluation computes a network's passes: in the memory format that is fastest, and in which precision."""

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_advinterp.networks.folding import FoldablePair, fold, foldable_pairs
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.network import Features, Network

PassFormat = Literal["auto", "plain"]
Precision = Literal["32-true", "bf16-mixed", "bf16"]

logger = logging.getLogger(__name__)

_CLOSE = 1e-4
"""Logits in another format may differ by so much of the largest: a rounding, no other function."""

_MAPS = 4
"""Axes of a convolution's weight."""
_LEAST_CONVOLUTIONS = 2
"""A transformer has one, which cuts the patches: a memory format changes nothing there."""


@dataclass(frozen=True)
class PassChoice:
    """How passes are computed, as a user says it.

    Attributes:
        pass_format: auto computes the passes of attacks, and of the images that they make, in channels_last with
            BatchNorm folded into the convolutions before it, which is the same up to rounding; plain takes the network
            as it is. Explanations and other passes of an analysis' own are plain.
        precision: 32-true, or bf16-mixed (bf16), in which attacks search for adversarial images; every image that is
            reported is judged in float32.
    """

    pass_format: PassFormat = "auto"
    precision: Precision = "32-true"

    def __post_init__(self) -> None:
        if self.precision == "bf16":  # Lightning's short name, so that both count as the same setting
            object.__setattr__(self, "precision", "bf16-mixed")


@dataclass(frozen=True)
class _FormatPasses:
    """Passes whose layers come as analyses read them, contiguous, and whose logits are float32 or better.

    Attributes:
        network: which computes them.
        autocast: convolutions and matrix products in this type; None: in the weights' own.
    """

    network: Network
    autocast: torch.dtype | None = None

    @property
    def logits(self) -> Callable[[Tensor], Tensor]:
        """See :meth:`Network.forward`."""
        return self._logits

    @property
    def features(self) -> Callable[[Tensor, tuple[str, ...]], tuple[Tensor, Features]]:
        """See :meth:`Network.forward_features`."""
        return self._features

    def _logits(self, x: Tensor) -> Tensor:
        if self.autocast is None:
            return self.network.eager_logits(x)
        with torch.autocast(x.device.type, self.autocast):
            return self.network.eager_logits(x).float()

    def _features(self, x: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, Features]:
        with torch.autocast(x.device.type, self.autocast, enabled=self.autocast is not None):
            logits, features = self.network.eager_features(x, layers)
        if self.autocast is not None:
            logits, features = logits.float(), {layer: value.float() for layer, value in features.items()}
        return logits, {layer: value.contiguous() for layer, value in features.items()}


class EvaluationNetworks:
    """One network in the formats that an evaluation computes it in; each is the same function up to rounding.

    ``auto`` holds a copy of the convolutions in channels_last with BatchNorm folded into them. Where a layer is read
    that folding changes or removes, the pass takes a second copy, which is not folded. Where the copy does not give the
    network's own logits, or there are no convolutions to speak of, the network itself is used, and :attr:`described`
    says so. The weights must not change while this is used.

    Args:
        network: the network under test, on its device; unchanged.
        pass_format: ``auto`` or ``plain``, the network as it is.
        precision: in which attacks search; what is reported is computed in the weights' own type.
    """

    def __init__(self, network: Network, pass_format: PassFormat = "plain", precision: Precision = "32-true") -> None:
        self.network = network
        self._autocast = None if precision == "32-true" else torch.bfloat16
        self._pairs: list[FoldablePair] = []
        self._folded: Network | None = None
        self._reason = ""
        if pass_format == "auto":
            self._prepare()

    def _prepare(self) -> None:
        convolutions = [module for module in self.network.modules() if isinstance(module, nn.Conv2d)]
        if len(convolutions) < _LEAST_CONVOLUTIONS:
            self._reason = "the network has no convolutions to speak of"
            return
        try:
            pairs = foldable_pairs(self.network.backbone)
            folded = self._copy(pairs)
            difference = self._difference(folded)
        except Exception as error:  # a module that cannot be copied, or that looks at its neighbours, in many kinds
            self._fall_back(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
            return
        if not difference <= _CLOSE:
            self._fall_back(f"its logits differ by {difference:.2g} of the largest")
            return
        self._pairs, self._folded = pairs, folded

    def _fall_back(self, reason: str) -> None:
        self._reason = reason
        logger.warning("%s is evaluated in its plain format (%s).", self.network.name, reason)

    def _copy(self, pairs: Sequence[FoldablePair]) -> Network:
        """Return a copy in channels_last with some BatchNorms folded; what has another shape than maps is shared."""
        tensors = [*self.network.parameters(), *self.network.buffers()]
        shared = {id(tensor): tensor for tensor in tensors if tensor.dim() != _MAPS}
        twin = copy.deepcopy(self.network, shared)
        twin.eval()
        fold(twin.backbone, pairs)
        for parameter in twin.parameters():
            if id(parameter) not in shared:  # the network's own are not to be touched
                parameter.requires_grad_(False)
                if parameter.dim() == _MAPS:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        twin.passes = _FormatPasses(twin)
        return twin

    def _difference(self, twin: Network) -> float:
        """Return by how much logits of noise differ, as a share of the largest."""
        side = self.network.input_size
        noise = torch.rand(2, len(self.network.mean), side, side, generator=torch.Generator().manual_seed(0))
        parameter = next(self.network.parameters())
        x = noise.to(parameter.device, torch.float64 if parameter.dtype == torch.float64 else torch.float32)
        with torch.no_grad(), frozen_eval(self.network):
            logits = self.network.eager_logits(x).nan_to_num()
            difference = (twin(x).nan_to_num() - logits).abs().max()
        return float(difference / logits.abs().max().clamp(min=torch.finfo(logits.dtype).tiny))

    @cached_property
    def _unfolded(self) -> Network:
        return self._copy(())

    @cached_property
    def searching(self) -> Network:
        """The network that attacks look at."""
        network = self.network if self._folded is None else self._folded
        if self._autocast is None:
            return network
        searching = copy.copy(network)  # the same modules, other passes
        searching.passes = _FormatPasses(searching, self._autocast)
        return searching

    def showing(self, layers: Sequence[str]) -> Network:
        """Return the network whose logits and activations are reported.

        Args:
            layers: that will be read; each has the network's own value up to rounding.
        """
        if self._folded is None:
            return self.network
        changed = frozenset[str]().union(*(pair.changed for pair in self._pairs))
        paths = {self.network.place(layer).path for layer in layers if layer != "logits"}
        return self._unfolded if paths & changed else self._folded

    @property
    def plain(self) -> bool:
        """Whether every pass is the network's own."""
        return self._folded is None and self._autocast is None

    @property
    def described(self) -> dict[str, str | int]:
        """What is used: plain types, for the results."""
        used: dict[str, str | int] = {"format": "plain" if self._folded is None else "channels_last"}
        used["folded_batch_norms"] = len(self._pairs)
        if self._reason:
            used["reason"] = self._reason
        judged = str(next(self.network.parameters()).dtype).removeprefix("torch.")
        searched = judged if self._autocast is None else str(self._autocast).removeprefix("torch.")
        return used | {"attacks_search_in": searched, "images_are_judged_in": judged}

    @property
    def line(self) -> str:
        """The same in words."""
        used = self.described
        folded = f", {used['folded_batch_norms']} BatchNorms folded" if used["folded_batch_norms"] else ""
        why = f" ({used['reason']})" if "reason" in used else ""
        types = f"attacks search in {used['attacks_search_in']}, images are judged in {used['images_are_judged_in']}"
        return f"{used['format']}{folded}{why}; {types}"
