"""A network as flags and configurations name it: the same settings for evaluations, sets, members and table rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from lightning_advinterp.networks.checkpoint import LoadedCheckpoint, load_checkpoint
from lightning_advinterp.networks.factory import create_network
from lightning_advinterp.networks.normalization import Channels, said_statistics
from lightning_advinterp.networks.origin import Origin

_PLACE = ("network", "weights", "checkpoint")


@dataclass(frozen=True)
class NetworkChoice:
    """Which network, with which weights, and how it sees its images.

    Attributes:
        network: a torchvision name, timm/NAME, hf-hub:ORG/NAME, robustbench:NAME, a CIFAR ResNet or a class path;
            beside a checkpoint, the class path that this names.
        weights: the network's weights: an enum name such as IMAGENET1K_V1, "pretrained", or a file.
        checkpoint: instead of a network, last.ckpt or best.ckpt of a run of this project; it says which network it
            holds, and none of the settings below.
        num_classes: outputs of the network, where the weights do not tell.
        stem: small or medium, for ResNets with a first layer for 32 or 64 px.
        mean: of the pixels in [0, 1], which the network's images are normalised by: a number for all channels, numbers
            separated by commas, or none, imagenet or half. By default what the weights or their file say, else what
            is usual for the architecture; nothing for a class path.
        std: likewise; not needed where mean is a name.
        temperature: what the logits are divided by; by default what the weights' file says.
        weights_set: which of several sets of tensors in the file, by its name or a part of it such as ema; the raw
            weights by default.
        input_size: side in pixels that the network is built for; by default what the weights say.
        network_options: further arguments of the architecture's constructor.
    """

    network: str | None = None
    weights: str | None = None
    checkpoint: str | None = None
    num_classes: int | None = None
    stem: str | None = None
    mean: Channels | None = None
    std: Channels | None = None
    temperature: float | None = None
    weights_set: str | None = None
    input_size: int | None = None
    network_options: dict[str, Any] | None = field(default=None)

    @property
    def settings(self) -> dict[str, Any]:
        """What is said of the network beside its name and its weights."""
        said = {entry.name: getattr(self, entry.name) for entry in fields(NetworkChoice) if entry.name not in _PLACE}
        return {name: value for name, value in said.items() if value is not None and value != {}}

    def check_network(self) -> None:
        """Refuse settings that contradict one another, before anything is loaded.

        Raises:
            ValueError: naming the setting.
        """
        said_statistics(self.mean, self.std)
        if self.input_size is not None and self.input_size < 1:
            raise ValueError(f"input_size must be 1 or more pixels, got {self.input_size}.")
        if self.weights is None and self.weights_set is not None:
            raise ValueError(f"weights_set={self.weights_set!r} chooses among the sets of a file: give weights, too.")
        contradicting = {"weights": self.weights} if self.weights is not None else {}
        for name, value in (contradicting | self.settings).items() if self.checkpoint is not None else ():
            raise ValueError(
                f"{name}={value!r} contradicts the checkpoint, which says which network it holds; leave it out, or "
                "give network and weights instead of checkpoint."
            )

    def load_network(self, input_size: int | None = None) -> LoadedCheckpoint:
        """Load the network, and what is recorded beside it.

        Args:
            input_size: side of its images, where the settings do not say.

        Raises:
            ValueError: if settings, file and architecture do not fit, or trained weights leave the last layer random.
            FileNotFoundError: if a file is missing.
        """
        self.check_network()
        if self.checkpoint is not None:
            return load_checkpoint(self.checkpoint)
        if self.network is None:
            raise ValueError("network: expected the name of a network, or a checkpoint instead of it; got neither.")
        settings = self.settings
        options = settings.pop("network_options", None)
        arguments = {"input_size": input_size} | with_options(settings, options)
        network = create_network(self.network, self.weights, **arguments)
        if self.weights is not None and network.untrained:
            raise ValueError(
                f"num_classes={self.num_classes}: the weights {self.weights} have another number of classes, so that "
                "the last layer would be random; leave num_classes out."
            )
        origin = network.origin
        return LoadedCheckpoint(network, list(origin.classes), list(origin.class_names), 0, 0, origin.resize)

    def laid_over(self, row: "NetworkChoice") -> dict[str, Any]:
        """Return the fields of one network of several: its own settings, and else these; a checkpoint has its own."""
        chosen = {name: getattr(row, name) for name in _PLACE}
        below = {} if row.checkpoint is not None else self.settings
        unsaid = {entry.name: None for entry in fields(NetworkChoice)}
        return unsaid | below | row.settings | chosen


def with_options(settings: Mapping[str, Any], options: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Return keyword arguments of ``create_network``: settings of a network, and further ones beside them.

    Args:
        settings: the ones that have a key of their own; None and False: not set.
        options: ``network_options``. It may hold what has a key of its own too, but say nothing else there.

    Raises:
        ValueError: naming the option that contradicts a setting, or that is none.
    """
    for key, value in (options or {}).items():
        if not isinstance(key, str):
            raise ValueError(f"network_options: expected names of arguments, got the key {key!r}.")
        if key in ("name", "weights"):
            raise ValueError(f"network_options names {key}={value!r}; say network and weights by their own keys.")
        said = settings.get(key)
        if said is not None and said is not False and said != value:
            raise ValueError(
                f"network_options names {key}={value!r}, but {key} is {said!r} already; leave it out there."
            )
    return {**settings, **(options or {})}


def with_outputs(origin: Origin, classes: Any, names: Any) -> Origin:
    """Return an origin that knows what the network's outputs are called."""
    return replace(origin, classes=tuple(classes), class_names=tuple(names))
