"""Makes sets of adversarial images on disk, such as those of Dong et al. 2017 and 2022."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.attack_counts import AttackCounts, settings_of
from lightning_advinterp.analyses.base.progress import image_progress
from lightning_advinterp.analyses.base.provenance import digest
from lightning_advinterp.attacks.loop.attack import Attack, distances
from lightning_advinterp.attacks.loop.goal import without_class
from lightning_advinterp.attacks.prediction.ensemble import least_likely_targets
from lightning_advinterp.attacks.prediction.ensemble_attack import EnsembleAttack
from lightning_advinterp.attacks.prediction.stored import StoredAttack
from lightning_advinterp.attacks.prediction.transfer import TransferAttack
from lightning_advinterp.core.finite import FiniteOutputs
from lightning_advinterp.core.randomness import mix, sample_keys
from lightning_advinterp.data.adversarial_parts import Pixels
from lightning_advinterp.data.adversarial_set import (
    AdversarialRow,
    AdversarialSet,
    AdversarialSetWriter,
    Manifest,
    share_held,
)
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.labels import subset_indices
from lightning_advinterp.data.loaders import collate_batch
from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.networks import Network, weights_hash
from lightning_advinterp.networks.modes import frozen_eval

Targets = int | Literal["auto"] | None
"""How many least likely classes of an image are aimed at; ``auto``: one, unless the attack has a rule of its own, which
None means."""

logger = logging.getLogger(__name__)


def make_adversarial_set(
    network: Network,
    dataset: Any,
    attack: Attack,
    folder: str | Path,
    *,
    targets: Targets = "auto",
    limit: int | None = None,
    batch_size: int = 64,
    part: int = 512,
    pixels: Pixels = "uint8",
    device: torch.device | str = "cpu",
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    progress: bool = False,
    checking: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> AdversarialSet:
    """Attack every image towards its least likely classes, and write what comes out.

    With ``targets=10`` and the ensemble attack this is the set of Dong et al. 2017 (500,000 images of 50,000), with
    ``targets=1`` and ``targeted_optimization`` that of Dong et al. 2022. What is in the folder already is not made
    again. Memory is one part's; processes make different parts and need not wait for one another.

    Args:
        network: the network attacked, in evaluation mode; an attack on an ensemble asks its members for the least
            likely classes.
        dataset: images of any kind, all of one size, see
            :func:`~lightning_advinterp.data.user_images.as_image_set`.
        attack: how.
        folder: where to.
        targets: how many least likely classes are aimed at, one image each; None: the attack's own rule; ``auto``: one,
            or the attack's own rule where it has a target or moves away from the prediction, or takes no targets.
        limit: at most so many source images, a random choice by ``seed``.
        batch_size: images at a time.
        part: adversarial images per file.
        pixels: how images are kept: ``uint8`` rounds them as PNG does, ``float32`` keeps what the attack made, in four
            times the room or more.
        device: where the network is.
        seed: of the choice and of the attack's random draws.
        rank: this process's number.
        world_size: number of processes.
        progress: draw a progress bar, of this process's images.
        checking: around what looks at the arguments, the folder and the disk, before the first image is attacked.

    Returns:
        The set, as far as it is complete.

    Raises:
        ValueError: if the folder holds another set, or arguments are out of range.
        OSError: if the disk is too small.
    """
    whole = as_image_set(dataset)
    with ExitStack() as stack:
        with checking():
            stack.enter_context(share_held(folder, rank, world_size))
            if isinstance(attack, StoredAttack):
                raise ValueError(f"attack: {attack.name} makes no images, it looks up those that are there already.")
            targets = _resolved(targets, attack, network.num_classes if attack.classes is None else len(attack.classes))
            if batch_size < 1 or part < 1:
                raise ValueError(f"batch_size and part must be 1 or more, got {batch_size} and {part}.")
            if limit is not None and limit < 1:
                raise ValueError(f"limit must be 1 or more images, got {limit}.")
            sources = subset_indices(len(whole), limit, seed)
            attack = attack.for_images(whole.only(sources.tolist()))
            many = targets or 1
            manifest = Manifest(
                attack=f"{attack!r}, {'its own classes' if targets is None else f'{targets} least likely classes'}",
                seed=seed,
                network={"weights_sha256": weights_hash(network), "spec": network.spec()}
                | ({"members": attack.sources} if isinstance(attack, TransferAttack) else {}),
                data=digest(whole.fingerprint, sources.tolist()),
                items=many * len(sources),
                part=part,
                shape=tuple(whole[int(sources[0])].image.shape),
                settings=settings_of(attack) | {"eps": attack.eps, "steps": attack.iterations},
                pixels=pixels,
            )
            writer = AdversarialSetWriter(folder, manifest)
        due = [number for number in writer.missing() if number % world_size == rank]
        if rank == 0:
            logger.info(
                "%s: %d adversarial images in %d files, up to %.3g GiB; %d files are missing",
                folder,
                manifest.items,
                manifest.parts,
                manifest.bytes / 2**30,
                len(writer.missing()),
            )
        counts = AttackCounts({attack.name: attack})
        with frozen_eval(network), image_progress(progress) as bar:
            task = bar.add_task("adversarial images", total=sum(len(manifest.items_of(number)) for number in due))
            for number in due:
                items = manifest.items_of(number)
                images: list[Tensor] = []
                rows: list[AdversarialRow] = []
                for first in range(0, len(items), batch_size):
                    some = items[first : first + batch_size]
                    batch = collate_batch([whole[int(sources[item // many])] for item in some])
                    found, more = _attack(
                        network, counts, batch, torch.tensor(some), targets, torch.device(device), seed, pixels
                    )
                    images.append(found)
                    rows += more
                    bar.advance(task, len(some))
                writer.write(number, torch.cat(images), rows)
        counts.warn(least_success=0)  # the set's share of successes is of all parts, not of those made here
    return AdversarialSet(folder)


def _resolved(targets: Targets, attack: Attack, num_classes: int) -> int | None:
    """Return how many least likely classes are aimed at, None for the attack's own rule.

    Raises:
        ValueError: if the number is out of range, or the attack's own rule contradicts it.
    """
    own = attack.target not in (None, "least_likely") or attack.label == "predicted" or attack.target_list is not None
    if targets == "auto":
        return None if own or not attack.takes_target else 1
    if targets is None:
        return None
    if not isinstance(targets, int) or not 1 <= targets <= num_classes:
        raise ValueError(f"targets must be between 1 and the {num_classes} classes to choose among, got {targets}.")
    if not attack.takes_target:
        raise ValueError(f"targets must be null for {attack.name}, which takes no targets, got {targets}.")
    if own:
        rule = "label: predicted" if attack.aims_at is None else f"target: {attack.aims_at}"
        raise ValueError(f"targets must be null for {attack.name}, which has its own {rule}, got {targets}.")
    return targets


def _attack(
    network: Network,
    counts: AttackCounts,
    batch: Batch,
    items: Tensor,
    targets: int | None,
    device: torch.device,
    seed: int,
    pixels: Pixels,
) -> tuple[Tensor, list[AdversarialRow]]:
    """Return images as they are kept, and what the network makes of them."""
    (attack,) = counts.attacks.values()
    batch = Batch(*(field.to(device) for field in batch)).to_float()
    x, y = batch.image, batch.label
    turn = items.to(device) % (targets or 1)
    # The first target draws what an evaluation of this seed draws, further ones anew; no draw depends on the batch.
    keys = sample_keys(batch.index, seed=seed)
    keys = torch.where(turn == 0, keys, mix(keys, turn))
    with torch.no_grad():
        clean = network(x)
    target = None
    if targets is not None:
        target = _least_likely(attack, x, clean, y, targets).gather(1, turn[:, None]).squeeze(1)
    made = counts.make(attack.name, network, batch, clean, keys, target)
    stored = made.x_adv.mul(255).round().to(torch.uint8) if pixels == "uint8" else made.x_adv
    seen = stored.float().div(255) if pixels == "uint8" else stored
    with torch.no_grad():
        after = network(seen)
    logits = {"logits of real images": clean, "logits of adversarial images": after}
    FiniteOutputs().check({"pixels of adversarial images": made.x_adv}, batch.index, logits)
    success, predicted = counts.note(made, items, after), after.argmax(dim=1)
    linf, l2 = distances(seen, x.float())
    columns: list[list[Any]] = [
        values.tolist() for values in (items, batch.index, y, made.target, predicted, success, linf, l2)
    ]
    return stored.cpu(), [AdversarialRow(*row) for row in zip(*columns, strict=True)]


def _least_likely(attack: Attack, x: Tensor, clean: Tensor, y: Tensor, count: int) -> Tensor:
    """Return the ``count`` least likely other classes than ``y``, int64 ``[B, count]``, the least first."""
    if isinstance(attack, EnsembleAttack):
        with frozen_eval(attack.ensemble):
            return least_likely_targets(attack.ensemble.to(x.device), x, count, attack.classes, y=y)
    classes = torch.tensor(range(clean.shape[1]) if attack.classes is None else attack.classes, device=clean.device)
    scores = without_class(clean, y, torch.inf)[:, classes]
    return classes[scores.argsort(dim=1, stable=True)[:, :count]]
