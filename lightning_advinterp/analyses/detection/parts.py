"""Which images are learned from, which calibrate, which are reported: none of them twice."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lightning_advinterp.analyses.detection.config import DetectionConfig
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.metrics.detection import least_calibration

_SPLIT = 0x73706C6974  # "split"


@dataclass(frozen=True)
class Parts:
    """Numbers of images in three disjoint parts.

    Attributes:
        learn: centres, neighbours and units' meanings are learned from these.
        calibrate: thresholds are taken from these.
        report: these are reported.
        adaptive: those of the reported that the adaptive attack is made on.
    """

    learn: frozenset[int]
    calibrate: frozenset[int]
    report: frozenset[int]
    adaptive: frozenset[int]


def divide(numbers: Sequence[int], config: DetectionConfig, seed: int) -> Parts:
    """Divide images by their numbers and a seed alone: their order and the processes do not matter.

    Args:
        numbers: of all images.
        config: how many each part gets.
        seed: of the choice.

    Raises:
        ValueError: if the images are too few to calibrate.
    """
    numbers = sorted(set(numbers))
    # Most random first: equal seeds give nested parts for growing settings.
    order = sample_keys(torch.tensor(numbers), seed=seed ^ _SPLIT).argsort(stable=True).tolist()
    shuffled = [numbers[place] for place in order]
    sizes = (config.report, config.calibrate, config.learn)
    if len(shuffled) < sum(sizes):
        share = len(shuffled) / sum(sizes)
        report, calibrate = (int(share * count) for count in sizes[:2])
    else:
        report, calibrate = sizes[:2]
    learn = min(config.learn, len(shuffled) - report - calibrate)
    least = least_calibration(config.rate)
    if min(report, learn) < 2 or calibrate < least:
        raise ValueError(
            f"detection: {len(shuffled)} images give {learn} to learn from, {calibrate} to calibrate on and {report} "
            f"to report; a rate of {config.rate:g} needs {least} to calibrate on. Give more images, or another "
            "proportion by detection.learn, detection.calibrate and detection.report."
        )
    reported, unreported = shuffled[:report], shuffled[report:]
    return Parts(
        learn=frozenset(unreported[calibrate : calibrate + learn]),
        calibrate=frozenset(unreported[:calibrate]),
        report=frozenset(reported),
        adaptive=frozenset(reported[: config.adaptive_images]),
    )


def check_spread(labels: Sequence[int]) -> None:
    """Refuse images whose classes have no spread, which Mahalanobis' distance rests on.

    Args:
        labels: of the images that are learned from.

    Raises:
        ValueError: if no class has two images.
    """
    if len(set(labels)) == len(labels):
        raise ValueError(
            f"detection.learn: the {len(labels)} images to learn from are of as many classes, so that their spread "
            "within a class, which mahalanobis needs, is unknown; learn from more images, or leave mahalanobis out of "
            "detection.scores."
        )
