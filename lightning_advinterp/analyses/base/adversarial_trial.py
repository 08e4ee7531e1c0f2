"""What a set of adversarial images will take, from a few of them."""

import time
from collections.abc import Sequence

from lightning_advinterp.analyses.base.adversarial_plan import SetPlan
from lightning_advinterp.analyses.base.attack_counts import AttackCounts
from lightning_advinterp.analyses.base.make_adversarial import attack_items
from lightning_advinterp.analyses.base.pass_seconds import PassSeconds, time_passes
from lightning_advinterp.analyses.base.trial import Estimate, extended
from lightning_advinterp.core.memory import forget_peak, memory_now, memory_peak, return_freed_memory
from lightning_advinterp.data.adversarial_pixels import pixel_bytes
from lightning_advinterp.networks.modes import frozen_eval

BATCHES = 3
"""Of a trial; the first one is not what the others are."""
MOST = 16
"""Images of its batches on a CPU, which is as busy with few images as with many."""
_ROW = 150
"""Bytes of an image's row, roughly."""


def estimate_set(plan: SetPlan, missing: int, seconds: float) -> tuple[Estimate, bool]:
    """Attack a few images, keep them in memory, and return what all that are missing will take.

    Args:
        plan: of the set; the network is on its device.
        missing: adversarial images that are to be made.
        seconds: about how long this may take.

    Returns:
        The estimate, and whether images were attacked: where two would take too long, the announced passes count.
    """
    if not missing:
        return Estimate(), True
    x = plan.batch_of([0]).to_float().image.to(plan.device)
    passes = time_passes(plan.formats.searching, x.expand(min(MOST, plan.batch_size), -1, -1, -1).clone())
    return_freed_memory()
    each = _seconds_of_passes(plan, passes)
    count = min(plan.manifest.items, BATCHES * plan.batch_size)
    if plan.device.type != "cuda":
        count = min(count, BATCHES * MOST)
    count = min(count, max(BATCHES, int(seconds / each)))
    if BATCHES * each > seconds:
        files = missing * (_most_bytes(plan) + _ROW)
        return Estimate(missing * each, memory=memory_now(plan.device), files=files), False
    stride = max(1, plan.manifest.items // count)
    return _extended(plan, missing, [place * stride for place in range(count)]), True


def _extended(plan: SetPlan, missing: int, items: Sequence[int]) -> Estimate:
    """Attack these items in a few batches, and return what so many more take."""
    size = -(-len(items) // BATCHES)
    batches = [items[first : first + size] for first in range(0, len(items), size)]
    counts = AttackCounts({plan.attack.name: plan.attack})
    before, begun, files = memory_now(plan.device), time.perf_counter(), 0
    forget_peak(plan.device)
    times = []
    with frozen_eval(plan.formats.network):
        for batch in batches:
            images, _ = attack_items(plan, counts, batch)
            files += sum(len(pixel_bytes(image.numpy())) + _ROW for image in images)
            now = time.perf_counter()
            times.append(now - begun)
            begun = now
    most, peak = None, memory_peak(plan.device)
    if before is not None and peak is not None:
        growth = max(0, peak - before) * min(missing, plan.batch_size) // size
        most = before + growth + _held(plan, files // len(items))
    return Estimate(
        extended(times, [len(batch) for batch in batches], missing), memory=most, files=files * missing // len(items)
    )


def _held(plan: SetPlan, file_bytes: int) -> int:
    """Return the bytes of main memory that a part's images take until it is written: as tensors, joined, and packed."""
    if plan.device.type == "cuda":
        return 0
    images = min(plan.manifest.part, plan.manifest.items)
    return images * (2 * _most_bytes(plan) + 2 * file_bytes)


def _most_bytes(plan: SetPlan) -> int:
    return plan.manifest.bytes // max(1, plan.manifest.items)


def _seconds_of_passes(plan: SetPlan, passes: PassSeconds) -> float:
    """Return what the announced passes of an image take: the attack's, and a prediction before and after it."""
    forwards, backwards = plan.attack.cost
    return passes.of((forwards + 2, backwards))
