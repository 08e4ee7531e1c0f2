"""Where architectures come from: torchvision, timm, this package's networks for CIFAR-10, or a class path."""

import importlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.error import URLError

from torch import Tensor, nn
from torchvision import models

from lightning_advinterp.networks.cifar_cnn import CifarCNN
from lightning_advinterp.networks.cifar_resnet import DEPTHS, CifarResNet
from lightning_advinterp.networks.downloads import missing, require_timm, require_url
from lightning_advinterp.networks.hub import HUB, HubSource
from lightning_advinterp.networks.names import nearest, plain_options, suggestion
from lightning_advinterp.networks.recipes import HALF, NONE, Recipe, from_timm, from_torchvision
from lightning_advinterp.networks.request import Request, Source
from lightning_advinterp.networks.zoo.robustbench import ARCHITECTURES, PREFIX, find_entry
from lightning_advinterp.networks.zoo.source import ZooSource

CNN = "cifar_cnn"
"""The name of the plain convolutional network for CIFAR-10."""

_WITH_AUXILIARY = ("inception_v3", "googlenet")


def find_source(name: str) -> Source:
    """Return the source of the architecture called ``name``.

    Raises:
        ValueError: if there is none, with the nearest names.
    """
    if name.startswith(PREFIX):
        entry = find_entry(name)
        library = None if entry.architecture in ARCHITECTURES else find_source(entry.architecture)
        return ZooSource(name, entry, library)
    if name.startswith(HUB):
        return HubSource(name)
    if name.startswith("timm/"):
        return TimmSource(name)
    if name in cifar_names():
        return CifarSource(name)
    if name in torchvision_names():
        return TorchvisionSource(name)
    if "." in name:
        return ClassSource(name)
    names = [*torchvision_names(), *cifar_names()]
    close = f" timm has it: timm/{name}." if name in _timm_names() else suggestion(name, names)
    raise ValueError(
        f"name must be a classifier of torchvision, timm/NAME, hf-hub:ORG/NAME, robustbench:NAME, one of "
        f"{', '.join(cifar_names())}, or a class path package.module.Class, got {name!r}.{close}"
    )


def is_class_path(name: str) -> bool:
    """Whether a network's name is the path of a class, ``package.module.Class``."""
    return "." in name and not name.startswith(("timm/", PREFIX, HUB)) and name not in torchvision_names()


def cifar_names() -> list[str]:
    """Return the names of this package's networks for CIFAR-10."""
    return [CNN, *(f"cifar_resnet{depth}" for depth in DEPTHS)]


def torchvision_names() -> list[str]:
    """Return the names of torchvision's image classifiers."""
    names: list[str] = models.list_models(module=models)  # type: ignore[attr-defined]
    return names


def _timm_names() -> list[str]:
    import timm  # takes a second, and only timm's networks need it

    names: list[str] = timm.list_models()
    return names


class TorchvisionSource:
    """A classifier of torchvision. Inception v3 and GoogLeNet come without auxiliary heads.

    These two were trained on images normalised by 0.5 and 0.5, into which torchvision's ``transform_input``
    turns the usual normalisation; here it stays off, and the network's own mean and std are 0.5.
    """

    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, name: str) -> None:
        self.name = name

    def recipe(self, weights: str | None) -> Recipe:
        """See :class:`Source`."""
        if weights is not None:
            recipe = from_torchvision(self._entry(weights).transforms())
        else:
            recipe = Recipe(input_size=299, resize=342) if self.name == "inception_v3" else Recipe()
        return replace(recipe, mean=HALF, std=HALF) if self.name in _WITH_AUXILIARY else recipe

    def arguments(self, request: Request) -> dict[str, Any]:
        """Return what the constructor is given beside its name and the number of classes."""
        arguments = plain_options(self.name, request.options)
        if self.name in _WITH_AUXILIARY:
            for option in ("transform_input", "aux_logits"):
                if arguments.pop(option, False):
                    raise ValueError(
                        f"{option} must be left out or False for {self.name}, got True: a network here has "
                        "one output, and is normalised by mean and std (0.5 and 0.5 for weights made with "
                        "transform_input)."
                    )
                arguments[option] = False
            arguments.setdefault("init_weights", request.init)
        if self.name.startswith("vit_") and request.input_size is not None:
            arguments.setdefault("image_size", request.input_size)
        return arguments

    def build(self, request: Request) -> nn.Module:
        """See :class:`Source`."""
        arguments = self.arguments(request)
        if request.num_classes is not None:
            arguments["num_classes"] = request.num_classes
        try:
            network: nn.Module = models.get_model(  # type: ignore[attr-defined]
                self.name, weights=None, **arguments
            )
        except TypeError as error:
            raise ValueError(f"options of {self.name}: {error}.") from error
        return network

    def download(self, weights: str) -> dict[str, Tensor]:
        """See :class:`Source`."""
        entry = self._entry(weights)
        owner = f"{entry.name} of {self.name}"
        require_url(owner, entry.url)
        try:
            tensors: dict[str, Tensor] = entry.get_state_dict(progress=False, check_hash=True)
        except URLError as error:
            raise missing(owner, f"{entry.url}: {error}", "try again") from error
        return tensors

    def _entry(self, weights: str) -> Any:
        available = models.get_model_weights(self.name)  # type: ignore[attr-defined]
        member = "DEFAULT" if weights == "pretrained" else weights.removeprefix(f"{available.__name__}.")
        if member not in available.__members__:
            raise ValueError(
                f"weights must be one of {', '.join(available.__members__)} or pretrained for {self.name}, "
                f"or an existing file, got {weights!r}."
            )
        return available[member]


class TimmSource:
    """A network of timm: ``timm/NAME``, also with the tag of its weights, ``timm/resnet18.a1_in1k``."""

    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, name: str) -> None:
        import timm  # takes a second, and only timm's networks need it

        self.name, self.model = name, name.removeprefix("timm/")
        architecture = self.model.partition(".")[0]
        if not timm.is_model(architecture):
            raise ValueError(
                f"name must be timm/NAME with a name of timm.list_models(), got {name!r}."
                f"{suggestion(name, [f'timm/{timm_name}' for timm_name in _timm_names()])}"
            )
        tags = timm.list_models(f"{architecture}.*", pretrained=True)
        if "." in self.model and self.model not in tags:
            close = nearest(self.model, tags) or tags[:3]
            raise ValueError(
                f"name must end in a tag that timm has weights for, got {name!r}; near are "
                f"{', '.join(f'timm/{tag}' for tag in close) or f'none: take timm/{architecture}'}."
            )

    def recipe(self, weights: str | None) -> Recipe:
        """See :class:`Source`."""
        if weights not in (None, "pretrained"):
            raise ValueError(
                f"weights must be pretrained (the tag stands in the name) or an existing file for "
                f"{self.name}, got {weights!r}."
            )
        return from_timm(self._config())

    def arguments(self, request: Request) -> dict[str, Any]:
        """Return what the constructor is given beside its name and the number of classes."""
        arguments, config = plain_options(self.name, request.options), self._config()
        if request.input_size not in (None, int(config.input_size[-1])) and config.fixed_input_size:
            arguments.setdefault("img_size", request.input_size)
        return arguments

    def build(self, request: Request) -> nn.Module:
        """See :class:`Source`."""
        import timm

        if request.weights is not None:
            require_timm(f"the pretrained ones of {self.name}", self._config().to_dict())
        try:
            network: nn.Module = timm.create_model(
                self.model,
                pretrained=request.weights is not None,
                num_classes=request.num_classes,
                **self.arguments(request),
            )
        except TypeError as error:
            raise ValueError(f"options of {self.name}: {error}.") from error
        return network

    def download(self, weights: str) -> None:
        """See :class:`Source`; timm loads its weights while it builds."""

    def _config(self) -> Any:
        import timm

        return timm.get_pretrained_cfg(self.model)


class CifarSource:
    """A network for CIFAR-10 of this package; the plain one takes further options."""

    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, name: str) -> None:
        self.name = name

    def recipe(self, weights: str | None) -> Recipe:
        """See :class:`Source`."""
        if weights is not None:
            raise ValueError(f"weights must be an existing file for {self.name}, got {weights!r}.")
        return Recipe(input_size=32, resize=32)

    def build(self, request: Request) -> nn.Module:
        """See :class:`Source`."""
        classes = 10 if request.num_classes is None else request.num_classes
        if self.name == CNN:
            try:
                return CifarCNN(classes, **request.options)
            except TypeError as error:
                raise ValueError(f"options of {self.name}: {error}.") from error
        if request.options:
            raise ValueError(f"{self.name} takes no further options, got {sorted(request.options)}.")
        depth = int(self.name.removeprefix("cifar_resnet"))
        return CifarResNet(depth, classes)

    def download(self, weights: str) -> None:
        """See :class:`Source`; there is nothing to download."""


class ClassSource:
    """Any ``nn.Module`` by its class path.

    Its images are not normalised unless mean and std say so: a network from elsewhere may do it itself. The path may
    come from a checkpoint, so only subclasses of ``nn.Module`` are called, never functions.
    """

    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, name: str) -> None:
        self.name = name
        module, _, attribute = name.rpartition(".")
        try:
            kind = getattr(importlib.import_module(module), attribute, None)
        except (ImportError, ValueError) as error:
            raise ValueError(
                f"name must be a class path that can be imported, got {name!r} ({error}); is its folder on "
                f"PYTHONPATH?{suggestion(name, [*torchvision_names(), *cifar_names()])}"
            ) from error
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            close = suggestion(attribute, _module_classes(vars(importlib.import_module(module)).items()))
            raise ValueError(
                f"name must be the path of a subclass of torch.nn.Module, {name!r} is "
                f"{'missing' if kind is None else type(kind).__name__}.{close}"
            )
        self.network_class: type[nn.Module] = kind

    def recipe(self, weights: str | None) -> Recipe:
        """See :class:`Source`."""
        if weights is not None:
            raise ValueError(f"weights must be an existing file for {self.name}, got {weights!r}.")
        return Recipe(*NONE)

    def build(self, request: Request) -> nn.Module:
        """See :class:`Source`; ``num_classes`` is passed on where the constructor has such an argument."""
        arguments = dict(request.options)
        if request.num_classes is not None and "num_classes" in inspect.signature(self.network_class).parameters:
            arguments["num_classes"] = request.num_classes
        try:
            return self.network_class(**arguments)
        except TypeError as error:
            raise ValueError(f"options of {self.name}: {error}.") from error

    def download(self, weights: str) -> None:
        """See :class:`Source`; there is nothing to download."""


def _module_classes(items: Iterable[tuple[str, Any]]) -> list[str]:
    return [name for name, value in items if isinstance(value, type) and issubclass(value, nn.Module)]
