"""Makes sets of adversarial images on disk, such as those of Dong et al. 2017 and 2022."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.adversarial_plan import SetPlan, Targets, plan_set
from lightning_advinterp.analyses.base.attack_counts import AttackCounts
from lightning_advinterp.analyses.base.merging import merge_states
from lightning_advinterp.analyses.base.progress import image_progress
from lightning_advinterp.attacks.loop.attack import Attack, distances
from lightning_advinterp.attacks.loop.goal import without_class
from lightning_advinterp.attacks.prediction.ensemble import least_likely_targets
from lightning_advinterp.attacks.prediction.ensemble_attack import EnsembleAttack
from lightning_advinterp.core.finite import FiniteOutputs
from lightning_advinterp.core.processes import ALONE, Processes
from lightning_advinterp.core.randomness import mix, sample_keys
from lightning_advinterp.data.adversarial_parts import Pixels
from lightning_advinterp.data.adversarial_set import AdversarialRow, AdversarialSet, AdversarialSetWriter, share_held
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.formats import EvaluationNetworks
from lightning_advinterp.networks.modes import frozen_eval

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
    processes: Processes = ALONE,
    formats: EvaluationNetworks | None = None,
) -> AdversarialSet:
    """Attack every image towards its least likely classes, and write what comes out.

    ``targets=10`` and the ensemble attack make the set of Dong et al. 2017, ``targets=1`` and ``targeted_optimization``
    that of Dong et al. 2022. What is there already is not made again. Memory is one part's; processes make other parts.

    Args:
        network: the network attacked; an attack on an ensemble asks its members for the least likely classes.
        dataset: images of one size, see :func:`~lightning_advinterp.data.user_images.as_image_set`.
        attack: how.
        folder: of the set.
        targets: how many least likely classes are aimed at, one image each; None, ``auto``: see :data:`Targets`.
        limit: at most so many source images, a random choice by ``seed``.
        batch_size: images at a time.
        part: adversarial images per file.
        pixels: how images are kept: ``uint8`` rounds them as PNG does, ``float32`` takes four times the room or more.
        device: where the network is.
        seed: of the choice and of the attack's random draws.
        rank: this process's number, of ``world_size``.
        world_size: number of processes, where they were started one by one.
        progress: draw a progress bar, of this process's images.
        checking: around what looks at the arguments, the folder and the disk, before the first image is attacked.
        processes: this process among those that were started together.
        formats: in which the passes are computed; None: the network as it is.

    Returns:
        The set, as far as it is complete.

    Raises:
        ValueError, OSError: if the folder holds another set, arguments are out of range, or the disk is too small.
    """
    share = (rank, world_size) if processes.size == 1 else (processes.rank, processes.size)
    with ExitStack() as stack:
        with checking(), processes.first_ahead():  # it writes the manifest
            stack.enter_context(share_held(folder, *share))
            images = as_image_set(dataset)
            plan = plan_set(network, images, attack, targets, limit, batch_size, part, pixels, device, seed, formats)
            writer = AdversarialSetWriter(folder, plan.manifest)
        _make_parts(plan, writer, share, progress, processes)
    return AdversarialSet(folder)


def _make_parts(
    plan: SetPlan, writer: AdversarialSetWriter, share: tuple[int, int], progress: bool, processes: Processes
) -> None:
    """Attack the images of this process's parts, and write each part as soon as it is made."""
    (rank, world_size), manifest = share, plan.manifest
    missing = processes.of_first(writer.missing())
    due = [number for number in missing if number % world_size == rank]
    if processes.size > 1:
        due = missing[rank::world_size]
    if rank == 0:
        logger.info(
            "%s: %d adversarial images in %d files, up to %.3g GiB; %d files are missing",
            writer.folder,
            manifest.items,
            manifest.parts,
            manifest.bytes / 2**30,
            len(missing),
        )
    counts = AttackCounts({plan.attack.name: plan.attack})
    with frozen_eval(plan.formats.network), image_progress(progress and rank == 0) as bar:
        task = bar.add_task("adversarial images", total=sum(len(manifest.items_of(number)) for number in due))
        for number in due:
            items = manifest.items_of(number)
            images: list[Tensor] = []
            rows: list[AdversarialRow] = []
            for first in range(0, len(items), plan.batch_size):
                batch_items = items[first : first + plan.batch_size]
                batch_images, batch_rows = attack_items(plan, counts, batch_items)
                images.append(batch_images)
                rows += batch_rows
                bar.advance(task, len(batch_items))
                processes.look()
            writer.write(number, torch.cat(images), rows)
    merge_states(processes, [counts])
    counts.warn(least_success=0)  # the set's share of successes is of all parts, not of those made here


def attack_items(plan: SetPlan, counts: AttackCounts, items: Sequence[int]) -> tuple[Tensor, list[AdversarialRow]]:
    """Return images as they are kept, and what the network makes of them.

    Args:
        plan: of the set.
        counts: of the attack, which take note.
        items: numbers of adversarial images, all of one batch.
    """
    network, attack, targets = plan.formats.showing(()), plan.attack, plan.targets
    batch = Batch(*(field.to(plan.device) for field in plan.batch_of(items))).to_float()
    x, y = batch.image, batch.label
    number = torch.tensor(items)
    turn = number.to(plan.device) % plan.per_image
    # The first target draws what an evaluation of this seed draws, further ones anew; no draw depends on the batch.
    keys = sample_keys(batch.index, seed=plan.manifest.seed)
    keys = torch.where(turn == 0, keys, mix(keys, turn))
    with torch.no_grad():
        clean = network(x)
    target = None
    if targets is not None:
        target = _least_likely(attack, x, clean, y, targets).gather(1, turn[:, None]).squeeze(1)
    adversarials = counts.make(attack.name, plan.formats.searching, batch, clean, keys, target)
    rounded = plan.manifest.pixels == "uint8"
    stored = adversarials.x_adv.mul(255).round().to(torch.uint8) if rounded else adversarials.x_adv
    shown = stored.float().div(255) if rounded else stored
    with torch.no_grad():
        after = network(shown)
    logits = {"logits of real images": clean, "logits of adversarial images": after}
    FiniteOutputs().check({"pixels of adversarial images": adversarials.x_adv}, batch.index, logits)
    success, predicted = counts.note(adversarials, number, after), after.argmax(dim=1)
    linf, l2 = distances(shown, x.float())
    columns: list[list[Any]] = [
        values.tolist() for values in (number, batch.index, y, adversarials.target, predicted, success, linf, l2)
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
