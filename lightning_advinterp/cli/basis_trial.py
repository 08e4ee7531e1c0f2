"""What fitting a basis will take, from the activations of a few images and a few steps."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from lightning_advinterp.analyses.base.trial import Estimate, extended
from lightning_advinterp.core.memory import forget_peak, memory_now, memory_peak
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.units.activation_rows import ActivationSource
from lightning_advinterp.units.autoencoder_training import AutoencoderSettings, AutoencoderTraining
from lightning_advinterp.units.bases import Basis
from lightning_advinterp.units.basis_fitting import FLOAT_BYTES, Fitting
from lightning_advinterp.units.basis_quality import basis_quality
from lightning_advinterp.units.components import Covariance, non_negative_parts, principal_components

_Value = TypeVar("_Value")
_BATCHES = 3
"""Of images; the first one is not what the others are."""
_MOST = 16
"""Images of these on a CPU, which is as busy with few images as with many."""
_STEPS = 5


class Trial(NamedTuple):
    """A basis that is fitted to little, and what it took.

    Attributes:
        basis: of the size that is asked for.
        images: that must pass the network for the fit.
        seconds: of all steps, without the images.
        held: bytes of activations that the fit holds.
    """

    basis: Basis
    images: float
    seconds: float
    held: int


def estimate_basis(
    source: ActivationSource,
    measured: ImageSet,
    kind: str,
    settings: Mapping[str, Any],
    fitting: Fitting,
    ready: Callable[[], Basis] | None = None,
) -> Estimate:
    """Return what fitting and measuring a basis takes.

    Args:
        source: of the activations to fit to.
        measured: images that it is measured on.
        kind: ``sae``, ``pca`` or ``nmf``; any other one is ready.
        settings: of the kind, complete.
        fitting: what is held in memory.
        ready: returns the basis that needs no images.
    """
    device = next(source.network.parameters(), torch.zeros(())).device
    size = source.batch_size if device.type == "cuda" else min(source.batch_size, _MOST)
    few = source.images.only(list(range(min(len(source.images), _BATCHES * size))))
    next(replace(source, images=few.only([0]), batch_size=1).epoch(0), None)  # the first pass of all loads code
    before = memory_now(device)
    forget_peak(device)
    chunks, times, begun = list[Tensor](), list[float](), time.perf_counter()
    for rows in replace(source, images=few, batch_size=size).epoch(0):
        chunks.append(rows)
        times.append(time.perf_counter() - begun - sum(times))
    peak, rows = memory_peak(device), torch.cat(chunks)
    per_image = len(rows) / len(few)
    trial = _fitted(kind, rows, per_image * len(source.images), per_image, settings, fitting, ready)
    judging, _ = _timed(lambda: basis_quality(trial.basis.to(rows), [rows]))
    images = trial.images + len(measured)
    seconds = extended(times, [size] * (len(times) - 1) + [len(few) - size * (len(times) - 1)], round(images))
    alone = trial.seconds + judging * len(measured) / len(few)
    memory = None
    if before is not None and peak is not None:
        growth = max(0, peak - before - rows.nbytes) * min(len(source.images), source.batch_size) // min(size, len(few))
        memory = before + growth + trial.held
    files = sum(tensor.nbytes for tensor in trial.basis.tensors().values())
    return Estimate(seconds, alone, memory=memory, files=files)


def _fitted(
    kind: str,
    rows: Tensor,
    count: float,
    per_image: float,
    settings: Mapping[str, Any],
    fitting: Fitting,
    ready: Callable[[], Basis] | None,
) -> Trial:
    """Fit to these rows, of ``count`` that there are, and return what all of them take."""
    units = rows.shape[1]
    if kind == "sae":
        return _autoencoder(rows, count, per_image, dict(settings), fitting)
    if kind == "nmf":
        latents, steps = settings["latents"], settings["steps"]
        capacity = min(count, fitting.capacity(units + latents))
        one_step, _ = _timed(lambda: non_negative_parts(rows, latents, 1, fitting.seed))
        several, basis = _timed(lambda: non_negative_parts(rows, latents, 1 + _STEPS, fitting.seed))
        step = max(0.0, several - one_step) / _STEPS * capacity / len(rows)
        return Trial(basis, capacity / per_image, step * steps, round(capacity) * (units + latents) * FLOAT_BYTES)
    if kind == "pca":
        covariance = Covariance(units)
        summing, _ = _timed(lambda: covariance.update(rows))
        solving, components = _timed(lambda: principal_components(covariance, settings["latents"] or units))
        return Trial(components, count / per_image, summing * count / len(rows) + solving, 0)
    assert ready is not None
    return Trial(ready(), 0, 0.0, 0)


def _autoencoder(rows: Tensor, count: float, per_image: float, settings: dict[str, Any], fitting: Fitting) -> Trial:
    capacity, size, steps = fitting.capacity(rows.shape[1]), settings.pop("rows"), settings["steps"]
    training = AutoencoderTraining(rows, AutoencoderSettings(**settings, seed=fitting.seed))
    batch = rows[torch.arange(size, device=rows.device) % len(rows)]
    training.step(batch)
    seconds, _ = _timed(lambda: [training.step(batch) for _ in range(_STEPS)])
    passing, stored = count, round(count)
    if count > capacity:  # half of the buffer is filled anew when it is used up
        passing, stored = capacity + max(0, steps * size - capacity // 2), capacity * 3 // 2
    return Trial(training.basis(), passing / per_image, seconds / _STEPS * steps, stored * rows.shape[1] * FLOAT_BYTES)


def _timed(call: Callable[[], _Value]) -> tuple[float, _Value]:
    begun = time.perf_counter()
    value = call()
    return time.perf_counter() - begun, value
