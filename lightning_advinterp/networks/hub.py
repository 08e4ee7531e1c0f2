"""``hf-hub:ORG/NAME``: a network of timm whose configuration and weights lie on the Hugging Face hub."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_advinterp.core.reading import read_json
from lightning_advinterp.networks.downloads import hub_obstacle
from lightning_advinterp.networks.recipes import Recipe, from_timm
from lightning_advinterp.networks.request import Request
from lightning_advinterp.networks.weights import load_state_dict_file

HUB = "hf-hub:"
_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")
_OPTION = int | float | str | bool | None


class HubSource:
    """A network of timm as the hub describes it.

    Only ``config.json`` and, for the weights, ``model.safetensors`` are downloaded, once; what the hub holds as a
    pickle is not read. What a checkpoint records is timm's own name with the options, so that nobody who reads it
    needs the hub.
    """

    def __init__(self, name: str) -> None:
        import timm  # takes a second, and only timm's networks need it

        repository = name.removeprefix(HUB)
        if not _NAME.fullmatch(repository):
            raise ValueError(f"name must be {HUB}ORG/NAME, got {name!r}.")
        self._hub_name, (self._repository, _, revision) = name, repository.partition("@")
        self._revision = revision or None
        config = read_json(self._fetch("config.json"))
        if not isinstance(config, Mapping):
            raise ValueError(f"name: the configuration of {name} is no timm network's.")
        self._config: Mapping[str, Any] = config.get("pretrained_cfg") or config
        architecture = config.get("architecture")
        if not isinstance(architecture, str) or not timm.is_model(architecture):
            raise ValueError(f"name: {name} is no network of this timm; its architecture is {architecture!r}.")
        arguments = config.get("model_args") or {}
        plain = isinstance(arguments, Mapping) and all(isinstance(value, _OPTION) for value in arguments.values())
        if not plain:
            raise ValueError(f"name: {name} has options that are no plain numbers or text; build it by timm/NAME.")
        self._classes = config.get("num_classes") or self._config.get("num_classes")
        self.name = f"timm/{architecture}"
        self.options: Mapping[str, Any] = dict(arguments)
        self._architecture = architecture

    def recipe(self, weights: str | None) -> Recipe:
        """See :class:`~lightning_advinterp.networks.request.Source`."""
        if weights not in (None, "pretrained"):
            raise ValueError(f"weights must be pretrained or an existing file for {self._hub_name}, got {weights!r}.")
        return from_timm(dict(self._config))

    def build(self, request: Request) -> nn.Module:
        """See :class:`~lightning_advinterp.networks.request.Source`."""
        import timm

        classes = self._classes if request.num_classes is None else request.num_classes
        options = {**self.options, **request.options}
        try:
            network: nn.Module = timm.create_model(self._architecture, num_classes=classes, **options)
        except TypeError as error:
            raise ValueError(f"options of {self._hub_name}: {error}.") from error
        return network

    def download(self, weights: str) -> dict[str, Tensor]:
        """See :class:`~lightning_advinterp.networks.request.Source`."""
        return load_state_dict_file(self._fetch("model.safetensors"))

    def _fetch(self, file: str) -> Path:
        """Return the path of one of the repository's files, downloaded where it is not there yet."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        obstacle = hub_obstacle(self._hub_name.removeprefix(HUB), (file,))
        if obstacle is not None:  # seen at once; the hub's own library tries for half a minute
            raise self._unreachable(file, obstacle)
        try:
            return Path(hf_hub_download(self._repository, file, revision=self._revision))
        except EntryNotFoundError as error:
            if not isinstance(error, LocalEntryNotFoundError):
                raise ValueError(
                    f"name: {self._hub_name} has no {file} on the hub; download its weights and give them as a file, "
                    "with timm/NAME."
                ) from error
            raise self._unreachable(file, str(error)) from error
        except Exception as error:  # no network, no such repository, no access: each has its own class
            raise self._unreachable(file, str(error) or type(error).__name__) from error

    def _unreachable(self, file: str, reason: str) -> FileNotFoundError:
        reason = reason.strip().splitlines()[0] if reason.strip() else "no reason given"
        return FileNotFoundError(
            f"name: {file} of {self._hub_name} cannot be had ({reason}); check the name, log in where it asks for it, "
            "or put it into the hub's cache where there is a connection (HF_HOME)."
        )
