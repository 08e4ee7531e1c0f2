"""The network of this framework: pixels in [0, 1] in, logits out, layers by name."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lightning_advinterp.networks.inplace import make_out_of_place
from lightning_advinterp.networks.logits import logits_of
from lightning_advinterp.networks.origin import Origin
from lightning_advinterp.networks.parts import Place, locate
from lightning_advinterp.networks.sites import (
    Reader,
    Record,
    SiteTable,
    check_layers,
    select,
    site_table_of,
)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Features = dict[str, Tensor]
"""Activations by the layers' names."""

ALIASES = ("phi", "penultimate", "logits")
"""Layers by role: the family's φ, the input of the classifier's last layer, and the network's output."""


class Passes(Protocol):
    """Other ways to compute what a network computes, see :mod:`~lightning_advinterp.networks.compiled`."""

    @property
    def logits(self) -> Callable[[Tensor], Tensor]:
        """Return what computes :meth:`Network.forward`."""

    @property
    def features(self) -> Callable[[Tensor, tuple[str, ...]], tuple[Tensor, Features]]:
        """Return what computes :meth:`Network.forward_features`."""


class Network(nn.Module):
    """A classifier from pixels to logits; its normalisation is its first layer.

    ``state_dict()`` holds the backbone's tensors alone, under ``backbone.``; mean and std belong to
    ``spec()``. Activations that worked in place are set to work out of place, except where the network reads their
    input again; see :func:`~lightning_advinterp.networks.inplace.make_out_of_place`.

    Args:
        backbone: from normalised images to logits, or to a tuple, dict or object that has them first or by
            name.
        name: what :func:`~lightning_advinterp.networks.factory.create_network` calls the architecture.
        num_classes: number of logits, K.
        mean: per channel, of pixels in [0, 1].
        std: likewise.
        input_size: the side in pixels that the network is meant for; others pass where the backbone takes
            them.
        phi: path of the default feature layer, or None where the family has none.
        head: path of the classifier's last layer, for the alias ``penultimate``.
        stem: ``small`` or ``medium``, if the stem was exchanged.
        options: further arguments of ``create_network``, of plain types.

    Attributes:
        backbone: as given; layers are named by its module paths, without a prefix.
        passes: None, or the compiled passes that calls take for a while.
        untrained: what still has its random first values after loading: ``everything``, ``head``, or empty.
        origin: where its weights and settings come from.
        softplus: β of the softplus layers that stand for ReLU, see
            :func:`~lightning_advinterp.networks.softplus_layers.exchange_relu`; None for ReLU.
    """

    backbone: nn.Module
    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        name: str,
        num_classes: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        input_size: int = 224,
        phi: str | None = None,
        head: str | None = None,
        stem: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = make_out_of_place(backbone, channels=len(mean), input_size=input_size)
        self.name, self.num_classes, self.input_size = name, num_classes, input_size
        self.mean, self.std = _channel_values("mean", mean), _channel_values("std", std)
        if len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ValueError(f"std must hold one value above 0 for each of {len(self.mean)} channels, got {list(std)}.")
        self.phi, self.head, self.stem, self.options = phi, head, stem, dict(options or {})
        check_layers(backbone, [layer for layer in (phi, head) if layer])
        self.register_buffer("_mean", torch.tensor(self.mean)[:, None, None], persistent=False)
        self.register_buffer("_std", torch.tensor(self.std)[:, None, None], persistent=False)
        self._record = Record()
        self._prepared: set[str] = set()
        self.passes: Passes | None = None
        self.untrained = ""
        self.origin = Origin()
        self.softplus: float | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[B, K]`` of float images ``[B, C, H, W]`` in [0, 1].

        Raises:
            ValueError: if ``x`` has another shape or type. Its range is not checked here, for speed.
        """
        return self.eager_logits(x) if self.passes is None else self.passes.logits(x)

    def eager_logits(self, x: Tensor) -> Tensor:
        """See :meth:`forward`; never compiled."""
        return logits_of(self.backbone(self.normalize(x)), self.name)

    def normalize(self, x: Tensor) -> Tensor:
        """Return ``(x - mean) / std``: computed in float32 or better, then in the type of the weights."""
        if x.dim() != 4 or x.shape[1] != len(self.mean) or not x.is_floating_point():
            raise ValueError(
                f"x must be float images [B, {len(self.mean)}, H, W] in [0, 1], got {x.dtype} of shape "
                f"{tuple(x.shape)}; divide uint8 images by 255, add a batch axis to a single one."
            )
        exact = x if x.dtype == torch.float64 else x.float()
        parameter = next(self.backbone.parameters(), None)
        normalized = (exact - self._mean) / self._std
        return normalized if parameter is None else normalized.to(parameter.dtype)

    def forward_features(self, x: Tensor, layers: Sequence[str]) -> tuple[Tensor, Features]:
        """Return logits and the activations of named layers, from one forward pass and part of its graph.

        A layer is read as it returns. One that is called several times in a pass gives its last call;
        ``path#0`` names the first. The aliases ``phi``, ``penultimate`` and ``logits`` are understood, and parts,
        see :mod:`~lightning_advinterp.networks.parts`.

        The hooks are set at the first request for a layer and stay.

        Args:
            x: images ``[B, C, H, W]`` in [0, 1].
            layers: module paths in the backbone.

        Returns:
            Logits ``[B, K]``, and a dict from each name as asked to its tensor, in the order asked.

        Raises:
            ValueError: if a layer is unknown, is not reached, or does not return one tensor.
        """
        layers = (layers,) if isinstance(layers, str) else tuple(layers)
        self.prepare(layers)
        return self.eager_features(x, layers) if self.passes is None else self.passes.features(x, layers)

    def eager_features(self, x: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, Features]:
        """See :meth:`forward_features`; never compiled, and the layers must be prepared."""
        record = self._record
        record.values, record.wanted = {}, frozenset(layers)
        try:
            logits = self.eager_logits(x)
            if "logits" in record.wanted:
                record.values["logits"] = logits
            return logits, select(record, layers)
        finally:
            record.values, record.wanted = None, frozenset()

    def prepare(self, layers: Sequence[str]) -> None:
        """Set the hooks that :meth:`forward_features` needs; called by hand only before compiling what reads them."""
        new = [layer for layer in layers if layer not in self._prepared]
        if not new:
            return
        places = {layer: self.place(layer) for layer in new if layer != "logits"}
        site_table: SiteTable = site_table_of(self.backbone)
        for layer, place in places.items():
            reader = Reader(layer, place.call, self._record, place.side, None if place.whole else place.take)
            site_table.site(self.backbone, place.path).readers.append(reader)
        self._prepared.update(new)

    def check(self, layers: Iterable[str]) -> None:
        """Refuse layers that :meth:`forward_features` does not know, without setting a hook.

        Raises:
            ValueError: naming the nearest ones.
        """
        for layer in layers:
            if layer != "logits":
                self.place(layer)

    def place(self, layer: str) -> Place:
        """Return where a layer's name or alias is read; not ``logits``, which no module need return.

        Raises:
            ValueError: if the network has no such layer or part.
        """
        alias, mark, part = layer.partition(":")
        if alias not in ALIASES:
            return locate(self.backbone, layer)
        path = self.phi if alias == "phi" else self.head
        if path is None:
            raise ValueError(
                f"layers: {self.name} has no known {alias!r}; name a module path of it "
                f"({'create_network(..., phi=PATH), or ' if alias == 'phi' else ''}see named_modules())."
            )
        return locate(self.backbone, f"{path}:input" if layer == "penultimate" else f"{path}{mark}{part}")

    def spec(self) -> dict[str, Any]:
        """Return plain types from which ``create_network(**spec)`` rebuilds the architecture.

        Raises:
            ValueError: if an option of the architecture is not of a plain type, as checkpoints need it.
        """
        for option, value in self.options.items():
            if not is_plain(value):
                raise ValueError(
                    f"options of {self.name}: to be saved, {option} must be a number, a string, or a list or "
                    f"dict of such, got {type(value).__name__}; set it in a class of your own and name that."
                )
        return {
            "name": self.name,
            "num_classes": self.num_classes,
            "mean": list(self.mean),
            "std": list(self.std),
            "input_size": self.input_size,
            "stem": self.stem,
            "phi": self.phi,
            **({} if self.softplus is None else {"softplus": self.softplus}),
            **self.options,
        }

    def extra_repr(self) -> str:
        """Describe what the backbone does not show."""
        return f"{self.name!r}, num_classes={self.num_classes}, input_size={self.input_size}, phi={self.phi!r}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Network":
        """Move or convert, but keep mean and std in float32 or better: a bfloat16 mean is off by 1/512."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        dtype = torch.float64 if self._mean.dtype == torch.float64 else torch.float32
        device = self._mean.device
        if device.type != "meta":
            self._mean = torch.tensor(self.mean, dtype=dtype, device=device)[:, None, None]
            self._std = torch.tensor(self.std, dtype=dtype, device=device)[:, None, None]
        return self


def is_plain(value: Any) -> bool:
    """Whether a value is a number, text, or a list or dictionary of such.

    Example:
        >>> is_plain({"a": [1, "b", None]}), is_plain({"a": object()})
        (True, False)
    """
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _channel_values(argument: str, values: Sequence[float]) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if not numbers or max(abs(number) for number in numbers) > 2:
        raise ValueError(
            f"{argument} must hold one value per channel in units of pixels in [0, 1], got {list(values)}; "
            "divide values of the 0–255 range by 255."
        )
    return numbers
