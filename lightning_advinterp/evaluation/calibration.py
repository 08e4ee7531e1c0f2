"""Attacks that find their weight on images of their own before an evaluation begins."""

from collections.abc import Mapping

import torch
from rich.console import Console
from torch.utils.data import Dataset

from lightning_advinterp.attacks.calibration import GRID, Calibration, Weighted, calibrate
from lightning_advinterp.attacks.config import AttackConfig
from lightning_advinterp.attacks.presets import create_attack
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.loaders import collate_batch
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.randomness import sample_keys


def uncalibrated(configs: Mapping[str, AttackConfig]) -> dict[str, AttackConfig]:
    """Return the attacks whose weight is to be found."""
    return {name: config for name, config in configs.items() if config.calibrated}


def calibrate_attacks(
    configs: Mapping[str, AttackConfig],
    network: Network,
    dataset: Dataset[Batch],
    *,
    device: torch.device,
    batch_size: int,
    seed: int,
    console: Console,
) -> dict[str, Calibration]:
    """Find the weights of attacks on all images of a data set, and print them.

    Args:
        configs: attacks by name, all of them to be calibrated.
        network: on the device; it comes back as it was.
        dataset: images that are not reported on.
        device: where to compute.
        batch_size: images at a time.
        seed: of the attacks' random numbers.
        console: where to print.
    """
    many = getattr(dataset, "readable", None)
    items = range(len(dataset))  # type: ignore[arg-type]
    samples = many(items) if many else [dataset[item] for item in items]
    batch = Batch(*(field.to(device) for field in collate_batch(samples))).to_float()
    y = batch.label if bool((batch.label >= 0).all()) else None
    found = {}
    for name, config in configs.items():
        attack = create_attack(config.with_weight(1.0))
        assert isinstance(attack, Weighted)
        keys = sample_keys(batch.index, seed=seed)
        with frozen_eval(network):
            found[name] = calibrate(attack, network, batch.image, y, keys=keys, batch_size=batch_size)
        console.print(f"  {name}: {found[name]}")
    return found


def most_passes(configs: Mapping[str, AttackConfig], images: int) -> tuple[int, int]:
    """Return the most forward and backward passes that a calibration may take; it stops at the first good weight."""
    passes = [create_attack(config.with_weight(1.0)).passes for config in configs.values()]
    forwards, backwards = sum(one + 1 for one, _ in passes), sum(one for _, one in passes)
    return forwards * images * len(GRID), backwards * images * len(GRID)
