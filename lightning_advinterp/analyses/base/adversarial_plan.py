"""What a set of adversarial images is made of, settled before the first image is attacked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.attack_counts import settings_of
from lightning_advinterp.analyses.base.provenance import digest
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.prediction.stored import StoredAttack
from lightning_advinterp.attacks.prediction.transfer import TransferAttack
from lightning_advinterp.data.adversarial_parts import Pixels
from lightning_advinterp.data.adversarial_set import Manifest
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.labels import subset_indices
from lightning_advinterp.data.loaders import collate_batch
from lightning_advinterp.networks import Network, weights_hash
from lightning_advinterp.networks.formats import EvaluationNetworks

Targets = int | Literal["auto"] | None
"""How many least likely classes of an image are aimed at; ``auto``: one, unless the attack has a rule of its own (a
target, or away from the prediction) or takes no targets; None: the attack's own rule."""


@dataclass(frozen=True)
class SetPlan:
    """A set that is to be made.

    Attributes:
        formats: the network attacked, and how its passes are computed.
        images: the source images.
        attack: for these images.
        targets: how many least likely classes are aimed at; None: the attack's own rule.
        sources: int64, places of the source images that are attacked.
        batch_size: images at a time.
        device: where the network is.
        manifest: what the set is.
    """

    formats: EvaluationNetworks
    images: ImageSet
    attack: Attack
    targets: int | None
    sources: Tensor
    batch_size: int
    device: torch.device
    manifest: Manifest

    @property
    def per_image(self) -> int:
        """How many adversarial images are made of one."""
        return self.targets or 1

    def batch_of(self, items: Sequence[int]) -> Batch:
        """Return the source images of items of the set."""
        return collate_batch([self.images[int(self.sources[item // self.per_image])] for item in items])


def plan_set(
    network: Network,
    images: ImageSet,
    attack: Attack,
    targets: Targets,
    limit: int | None,
    batch_size: int,
    part: int,
    pixels: Pixels,
    device: torch.device | str,
    seed: int,
    formats: EvaluationNetworks | None,
) -> SetPlan:
    """Return what is to be made; the arguments are those of ``make_adversarial_set``.

    Raises:
        ValueError: if arguments are out of range, or the attack makes no images.
    """
    if isinstance(attack, StoredAttack):
        raise ValueError(f"attack: {attack.name} makes no images, it looks up those that are there already.")
    formats = EvaluationNetworks(network) if formats is None else formats
    resolved = _resolved(targets, attack, network.num_classes if attack.classes is None else len(attack.classes))
    if batch_size < 1 or part < 1:
        raise ValueError(f"batch_size and part must be 1 or more, got {batch_size} and {part}.")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more images, got {limit}.")
    sources = subset_indices(len(images), limit, seed)
    attack = attack.for_images(images.only(sources.tolist()))
    manifest = Manifest(
        attack=f"{attack!r}, {'its own classes' if resolved is None else f'{resolved} least likely classes'}",
        seed=seed,
        network={"weights_sha256": weights_hash(network), "spec": network.spec()}
        | ({"members": attack.sources} if isinstance(attack, TransferAttack) else {})
        | ({} if formats.plain else {"passes": formats.described}),
        data=digest(images.fingerprint, sources.tolist()),
        items=(resolved or 1) * len(sources),
        part=part,
        shape=tuple(images[int(sources[0])].image.shape),
        settings=settings_of(attack) | {"eps": attack.eps, "steps": attack.iterations},
        pixels=pixels,
    )
    return SetPlan(formats, images, attack, resolved, sources, batch_size, torch.device(device), manifest)


def _resolved(targets: Targets, attack: Attack, num_classes: int) -> int | None:
    """Return how many least likely classes are aimed at, None for the attack's own rule.

    Raises:
        ValueError: if the number is out of range, or the attack's own rule contradicts it.
    """
    has_rule = (
        attack.target not in (None, "least_likely") or attack.label == "predicted" or attack.target_list is not None
    )
    if targets == "auto":
        return None if has_rule or not attack.takes_target else 1
    if targets is None:
        return None
    if not isinstance(targets, int) or not 1 <= targets <= num_classes:
        raise ValueError(f"targets must be between 1 and the {num_classes} classes to choose among, got {targets}.")
    if not attack.takes_target:
        raise ValueError(f"targets must be null for {attack.name}, which takes no targets, got {targets}.")
    if has_rule:
        rule = "label: predicted" if attack.aims_at is None else f"target: {attack.aims_at}"
        raise ValueError(f"targets must be null for {attack.name}, which has its own {rule}, got {targets}.")
    return targets
