"""Attacks that find their weight on images of their own before an evaluation begins."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console

from lightning_advinterp.analyses.base.question import Data
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.prediction.calibration import GRID, Calibration, calibrate
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attack
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.inputs import Images
from lightning_advinterp.core.processes import ALONE, Processes
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.loaders import read_batch
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.modes import frozen_eval


def uncalibrated(configs: Mapping[str, AttackConfig]) -> dict[str, AttackConfig]:
    """Return the attacks whose weight is to be found."""
    return {name: config for name, config in configs.items() if config.calibrated}


def calibrate_attacks(
    configs: Mapping[str, AttackConfig],
    network: Network,
    images: ImageSet,
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
        images: that are not reported on.
        device: where to compute.
        batch_size: images at a time.
        seed: of the attacks' random numbers.
        console: where to print.
    """
    batch = Batch(*(field.to(device) for field in read_batch(images, range(len(images))))).to_float()
    y = batch.label if bool((batch.label >= 0).all()) else None
    calibrations = {}
    for name, config in configs.items():
        attack = create_attack(config.with_weight(1.0))
        keys, target = sample_keys(batch.index, seed=seed), attack.for_images(images).listed(batch.index)
        with frozen_eval(network):
            calibrations[name] = calibrate(
                attack, network, batch.image, y, target=target, keys=keys, batch_size=batch_size
            )
        console.print(f"  {name}: {calibrations[name]}")
    return calibrations


def most_passes(configs: Mapping[str, AttackConfig], images: int) -> tuple[int, int]:
    """Return the most forward and backward passes that a calibration may take; it stops at the first good weight."""
    passes = [create_attack(config.with_weight(1.0)).cost for config in configs.values()]
    forwards, backwards = sum(forward + 1 for forward, _ in passes), sum(backward for _, backward in passes)
    return forwards * images * len(GRID), backwards * images * len(GRID)


def attacks_on(
    evaluation: Evaluation,
    network: Network,
    opened: Mapping[Data, Images],
    device: torch.device,
    console: Console,
    processes: Processes = ALONE,
) -> tuple[dict[Data, Mapping[str, Attack]], dict[str, Any]]:
    """Return the attacks on each set, and what is to be recorded of their calibration; one process finds it for all."""
    calibration: dict[Data, dict[str, Calibration]] = {}
    for data, opened_images in opened.items():
        weights = _calibrate(evaluation, network, opened_images, device, console) if processes.first else {}
        calibration[data] = processes.of_first(weights)
    shared = evaluation.attacks()
    attacks: dict[Data, Mapping[str, Attack]] = {
        data: evaluation.attacks({name: calibrated.weight for name, calibrated in calibrations.items()})
        if calibrations
        else shared
        for data, calibrations in calibration.items()
    }
    if not any(calibration.values()):
        return attacks, {}
    record = {
        data: {
            "images": None if (images := opened[data].calibration) is None else images.fingerprint,
            "attacks": {name: asdict(calibrated) for name, calibrated in calibrations.items()},
        }
        for data, calibrations in calibration.items()
        if calibrations
    }
    return attacks, {"calibration": record}


def _calibrate(
    evaluation: Evaluation, network: Network, images: Images, device: torch.device, console: Console
) -> dict[str, Calibration]:
    """Find the weights that are to be found, for one set; in a dry run say what that would cost."""
    configs = uncalibrated(evaluation.attack_configs())
    if not configs or images.calibration is None:  # concepts beside the data are not attacked
        return {}
    _announce(images, len(images.calibration), configs, console)
    if evaluation.dry_run:
        return {}
    return calibrate_attacks(
        configs,
        network,
        images.calibration,
        device=device,
        batch_size=evaluation.batch_size,
        seed=evaluation.seed,
        console=console,
    )


def _announce(images: Images, count: int, configs: Mapping[str, AttackConfig], console: Console) -> None:
    """Say what a calibration looks at, and at what cost."""
    forwards, backwards = most_passes(configs, count)
    console.print(
        f"  calibration of {', '.join(configs)} on {count} images that are not reported on: "
        f"up to {forwards:,} forward passes, {backwards:,} backward passes"
    )
    if images.taken:
        console.print(
            f"  too few other images: {images.taken} are taken from those to be reported on, "
            f"which leaves {len(images.reported)}"
        )
