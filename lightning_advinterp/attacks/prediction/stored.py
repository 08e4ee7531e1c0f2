"""Adversarial images that are there already, as an attack: any analysis can use them as an image kind."""

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import Attack, AttackResult, distances, unnoted
from lightning_advinterp.attacks.loop.goal import Goal
from lightning_advinterp.attacks.prediction.transfer import origin_of
from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.data.stored_folder import open_stored
from lightning_advinterp.data.stored_images import StoredImages, as_pixels
from lightning_advinterp.data.stored_set import SetImages
from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.networks.network import Network

Missing = Literal["error", "drop"]
StoredPath = str | dict[str, str]


class StoredAttack(Attack):
    """Looks images up instead of making them.

    A set that ``python -m lightning_advinterp.adversarial`` wrote knows its targets, its radius and the network that it
    was made for. A plain folder knows none of these: success is then what ``label`` and ``target`` say, as of any
    attack.

    Args:
        path: the folder; or one for each kind of data, ``{data: DIR, concepts: DIR}``.
        missing: ``error`` refuses a data set some of whose images have no adversarial one; ``drop`` leaves these images
            out, of all kinds.
        rank: which of several adversarial images of one source; None: there is one of each.
        eps: the radius (L∞) that a plain folder's images are said to keep to; each is held against it when it is shown.
        **common: as in :class:`~lightning_advinterp.attacks.loop.attack.Attack`.
    """

    def __init__(
        self,
        path: StoredPath,
        *,
        missing: Missing = "error",
        rank: int | None = None,
        eps: float | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if not path:
            raise ValueError("path: give a stored attack the folder of its images.")
        if isinstance(path, Mapping) and not set(path) <= {"data", "concepts"}:
            raise ValueError(f"path must be a folder, or one each for data and concepts, got {path!r}.")
        if missing not in ("error", "drop"):
            raise ValueError(f"missing must be error or drop, got {missing!r}.")
        self.path, self.missing, self.rank, self._eps = path, missing, rank, eps
        self._images: StoredImages | None = None  # no part of its settings
        self._paths: dict[int, str | None] = {}
        self._index: Tensor | None = None

    def folder(self, data: str) -> Path:
        """Return where the images of a kind of data are.

        Raises:
            ValueError: if none is named for it.
        """
        if isinstance(self.path, str):
            return Path(self.path)
        if data not in self.path:
            raise ValueError(f"path of the attack {self.name} names no folder for {data}, got {self.path}.")
        return Path(self.path[data])

    def for_images(self, images: Any, data: str = "data") -> Self:
        """Open and check the stored images of a data set; those of ``missing: drop`` must be gone from it already."""
        images = as_image_set(images)
        paths = {number: images.path_of(number) for number in images.indices}
        if (
            self._images is not None and paths.items() <= self._paths.items()
        ):  # a part of those; other images may have the same numbers
            return self
        opened = copy(super().for_images(images, data))
        opened._images = open_stored(self.folder(data), images, self.rank)
        opened._check_settings()
        opened._images.require_all(
            images,
            "make them, or say missing: drop in the attack's settings, which leaves these images out altogether.",
        )
        opened._images.check(images)
        opened._paths = paths
        return opened

    def places(self, images: Any, data: str = "data") -> list[int] | None:
        """Return the places of the images that have an adversarial one, where others are to be left out."""
        if self.missing == "error":
            return None
        images = as_image_set(images)
        stored = self._images or open_stored(self.folder(data), images, self.rank)
        stored_places = [place for place, number in enumerate(images.indices) if stored.holds(number)]
        if not stored_places:
            stored.require_all(images, "give the data that they were made of.")
        return stored_places

    def on(self, index: Tensor) -> Self:
        """Return this attack for the images of these numbers."""
        shown = copy(super().on(index))
        shown._index = index
        return shown

    @property
    def set(self) -> SetImages | None:
        """The set, where the images are one."""
        return self._images if isinstance(self._images, SetImages) else None

    def _check_settings(self) -> None:
        if self.set is None:
            return
        stated = {"label": self.label != "true", "target": self.target is not None, "eps": self._eps is not None}
        stated["target_file"] = self.target_list is not None
        wrong = [name for name, is_stated in stated.items() if is_stated]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)}: the set {self.set.folder} says this of itself; leave it out of {self.name}."
            )

    @property
    def _recorded(self) -> Mapping[str, Any]:
        return {} if self.set is None else self.set.manifest.get("settings", {})

    @property
    def targeted(self) -> bool:
        """Whether the images were aimed at classes."""
        return super().targeted if self.set is None else self.set.targeted

    @property
    def aims_at(self) -> str | int | None:
        """``stored`` where a set has its own targets."""
        return super().aims_at if self.set is None else "stored" if self.targeted else None

    @property
    def chooses_target(self) -> bool:
        """Whether the network's answer decides what a plain folder's images are taken to aim at."""
        return super().chooses_target and self.set is None

    @property
    def takes_target(self) -> bool:
        """No: what is stored had its targets."""
        return False

    @property
    def takes_target_list(self) -> bool:
        """Yes: a list may say at what a plain folder's images were aimed."""
        return True

    @property
    def eps(self) -> float | None:
        """The radius that the set records, or that is stated; None where unknown."""
        eps: float | None = self._recorded.get("eps", self._eps)
        return eps

    @property
    def eps_low(self) -> float | None:
        """The smallest radius that the set records."""
        eps: float | None = self._recorded.get("eps_low", self.eps)
        return eps

    @property
    def eps_norm(self) -> str | None:
        """The norm of the radius."""
        norm: str | None = self._recorded.get("norm", super().eps_norm)
        return norm

    @property
    def passes(self) -> tuple[int, int]:
        """None."""
        return 0, 0

    @property
    def iterations(self) -> int:
        """The steps that the set records; 0 where unknown."""
        return int(self._recorded.get("steps", 0))

    @property
    def stamp(self) -> str | None:
        """Short hash that changes with the images."""
        return None if self._images is None else self._images.stamp

    def made_for(self, network: Network) -> dict[str, Any]:
        """Return for which network the images were made, by the hash of its weights that a set records."""
        if self.set is None:
            return {"made_for": "unknown", "path": str(self.path)}
        recorded = self.set.manifest["network"]
        set_fields = {"path": str(self.set.folder), "attack": self.set.manifest["attack"]}
        if "members" not in recorded and "ensemble_sha256" in recorded:  # of a set before format 3
            return {"made_for": "ensemble", **set_fields}
        source = {"network": (recorded.get("spec") or {}).get("name"), "weights_sha256": recorded.get("weights_sha256")}
        return origin_of(recorded.get("members", [source]), network) | set_fields

    def goal(self, y: Tensor | None, target: Tensor | None, keys: Tensor) -> Goal:
        """Return the set's class question; a plain folder's is that of ``label`` and ``target``."""
        recorded = None if self._images is None or target is not None else self._images.aim(self._numbers())
        if recorded is None:
            return super().goal(y, target, keys)
        classes = recorded.target.to(keys.device)
        return Goal(y, classes, keys=keys) if recorded.targeted else Goal(classes, None, keys=keys)

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Look up the images of the batch, and hold them against their sources."""
        numbers = self._numbers()
        assert self._images is not None
        if len(numbers) != len(x):
            raise ValueError(f"the attack {self.name} is told the numbers of {len(numbers)} images and shown {len(x)}.")
        stored = torch.stack([as_pixels(self._images.read(number)) for number in numbers]).to(x)
        self._images.compare(numbers, stored, x)
        linf, l2 = distances(stored, x)
        beyond = (linf > self._eps + 0.5 / 255 + 1e-6).nonzero().flatten().tolist() if self._eps is not None else []
        if beyond:
            raise RunStoppedError(
                f"{self.name}: image {numbers[beyond[0]]} is changed by {float(linf[beyond[0]]):.5g} (L∞), more than "
                f"the stated eps {self._eps:.5g}; state the radius that it was made with, or none"
            )
        success = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        target = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        if finish:
            with torch.no_grad():
                logits = network(stored)
                target = goal.resolve(logits if goal.resolved else network(x))
            success = goal.reached(logits)
        return AttackResult(stored, target, success, linf, l2, x.new_zeros(0, len(x)), *unnoted(success))

    def _numbers(self) -> list[int]:
        if self._index is None or self._images is None:
            raise ValueError(
                f"the attack {self.name} is stored: it must be told which images it is shown, "
                "attack.for_images(dataset).on(batch.index)(network, x, y); no training can use it."
            )
        return [int(number) for number in self._index]
