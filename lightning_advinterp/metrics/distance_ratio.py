"""Where an adversarial image's representation lies: five candidates for the ratios r1 and r2 of Dong et al. 2017.

The paper's text at hand reports averages and a histogram, but no definitions. So each candidate has a name of its own,
and none of them is a reproduction of r1 or r2:

- ``r_ctr = ‖φ(x*) − μ_y‖ / ‖φ(x*) − μ_y*‖``: above 1, the representation is nearer the target class's centre;
- ``r_src = ‖φ(x*) − φ(x)‖ / E_{x'∈y} ‖φ(x) − φ(x')‖``: above 1, it is farther from its own source than classmates are;
- ``r_tgt = E_{x'∈y*} ‖φ(x*) − φ(x')‖ / E_{x'∈y} ‖φ(x*) − φ(x')‖``: below 1, it is nearer the target class's images;
- ``r_own = ‖φ(x) − μ_y‖ / ‖φ(x*) − μ_y‖``: below 1, the attack moved it away from its own class's centre;
- ``r_goal = ‖φ(x*) − μ_y*‖ / ‖φ(x) − μ_y*‖``: below 1, the attack moved it towards the target class's centre.

Here y is the true class, y* the target class, μ the mean over real images. Centre and means of y leave out the image
itself: with few images per class it would decide the result.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from lightning_advinterp.core.states import Summed
from lightning_advinterp.metrics.intervals import mean_interval
from lightning_advinterp.metrics.sample import ImageSample

RATIOS = ("r_ctr", "r_src", "r_tgt", "r_own", "r_goal")


class ClassFeatures(Summed):
    """What is kept of real images' features: each class's sum, and a sample of its images.

    Memory is classes × (sum + sampled images), whatever the number of images. The sums are in float64, so that they
    do not depend on the order of the images beyond the last digits.

    Args:
        per_class: sampled images of each class; the means over a class (r_src, r_tgt) are taken over these, and are
            exact where a class has no more.
        seed: of the sample.
    """

    summed = ("_sums", "_counts")
    grown: ClassVar[Mapping[str, int]] = {"_samples": 1}

    def __init__(self, per_class: int, seed: int = 0) -> None:
        self.per_class, self.seed = per_class, seed
        self._sums: dict[int, Tensor] = {}
        self._counts: dict[int, int] = {}
        self._samples: dict[int, ImageSample] = {}
        self._ready: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, features: Tensor, label: Tensor, index: Tensor) -> None:
        """Take in real images: features ``[B, D]``, class numbers and image numbers, int64 ``[B]`` each."""
        for number in sorted(set(label.tolist())):
            of_class = label == number
            self._add(number, features[of_class].double().sum(dim=0), int(of_class.sum()))
            self._sample(number).update(index[of_class], {"features": features[of_class].float()})

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's sums, counts and samples."""
        super().merge(state)
        self._ready = {}

    @property
    def images_per_class(self) -> float:
        """Mean number of images of a class that has any; 0 without images."""
        return sum(self._counts.values()) / max(len(self._counts), 1)

    def centre(self, number: int, without: Tensor | None = None) -> Tensor | None:
        """Return a class's mean features, float64 ``[D]``, perhaps without one image; None where none is left."""
        count = self._counts.get(number, 0) - (without is not None)
        if count < 1:
            return None
        total = self._sums[number]
        return (total if without is None else total - without.to(total)) / count

    def mean_distance(self, number: int, points: Tensor, leave_out: int = -1) -> Tensor | None:
        """Return the mean distance of each of ``[P, D]`` points to a class's sampled images, but one.

        Args:
            number: the class.
            points: features.
            leave_out: number of the image that is left out.

        Returns:
            ``[P]``, or None where no image is left.
        """
        if number not in self._samples:
            return None
        if number not in self._ready:  # sorted, and where the points are
            index, fields = self._samples[number].fields()
            self._ready[number] = index, fields["features"].to(points)
        index, features = self._ready[number]
        neighbours = features[(index != leave_out).to(features.device)]
        if not len(neighbours):
            return None
        return torch.stack([(neighbours - point).norm(dim=1).mean() for point in points])

    def part(self, name: str, state: Any) -> ImageSample:
        """Return an empty sample of a class."""
        return ImageSample(self.per_class, self.seed)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace sums, counts and samples."""
        super().load_state_dict(state)
        self._ready = {}

    def _add(self, number: int, total: Tensor, count: int) -> None:
        sums = self._sums.get(number)
        self._sums[number] = total if sums is None else sums + total.to(sums)
        self._counts[number] = self._counts.get(number, 0) + count

    def _sample(self, number: int) -> ImageSample:
        self._ready.pop(number, None)  # it is about to change
        return self._samples.setdefault(number, ImageSample(self.per_class, self.seed))


def distance_ratios(
    adversarial: Tensor, source: Tensor, true: int, target: int, index: int, real: ClassFeatures
) -> dict[str, float]:
    """Return the ratios of one image; those that are not defined are left out.

    Without images of the target class, or where the target is the true class, only r_src and r_own are defined; without
    other images of the true class none is. A ratio over a distance of 0 is not defined.

    Args:
        adversarial: φ(x*), ``[D]``.
        source: φ(x), ``[D]``.
        true: y.
        target: y*; −1 for none.
        index: number of the image.
        real: features of the real images, x among them.
    """
    ratios: dict[str, float] = {}
    pair = torch.stack([adversarial, source])
    classmates = real.mean_distance(true, pair, index)
    if classmates is None:
        return ratios
    source_centre, target_centre = real.centre(true, source), real.centre(target)
    ratios["r_src"] = _ratio((adversarial - source).norm(), classmates[1])
    if source_centre is not None:
        moved, unmoved = ((point - source_centre.to(adversarial)).norm() for point in pair)
        ratios["r_own"] = _ratio(unmoved, moved)
    if target == true or source_centre is None or target_centre is None:
        return _defined(ratios)
    near, far = ((point - target_centre.to(adversarial)).norm() for point in pair)
    ratios["r_ctr"] = _ratio(moved, near)
    ratios["r_goal"] = _ratio(near, far)
    strangers = real.mean_distance(target, pair[:1])
    if strangers is not None:
        ratios["r_tgt"] = _ratio(strangers[0], classmates[0])
    return _defined(ratios)


def _defined(ratios: Mapping[str, float]) -> dict[str, float]:
    """Return the ratios that are numbers."""
    return {name: value for name, value in ratios.items() if value == value}


def _ratio(above: Tensor, below: Tensor) -> float:
    """A ratio in float64; NaN over 0 (copies of one image, a dead layer), which would decide any mean."""
    return float(above.double() / below.double()) if float(below) > 0 else float("nan")


class RatioSummary(NamedTuple):
    """What a ratio looks like over many images.

    Attributes:
        mean: arithmetic mean.
        median: median.
        share_above_one: share of images with a ratio above 1.
        n: number of images.
        mean_low: lower end of the mean's 95 % interval, Student's over images.
        mean_high: upper end.
    """

    mean: float
    median: float
    share_above_one: float
    n: int
    mean_low: float
    mean_high: float


def summarise(values: Tensor) -> RatioSummary:
    """Summarise ratios, float64 ``[N]``; NaN for none."""
    if not len(values):
        nothing = float("nan")
        return RatioSummary(nothing, nothing, nothing, 0, nothing, nothing)
    median = float(values.quantile(0.5)) if len(values) < 1 << 24 else float(values.median())
    mean, deviation = float(values.mean()), float(values.std()) if len(values) > 1 else 0.0
    interval = mean_interval(mean, deviation, len(values))
    return RatioSummary(mean, median, float((values > 1).double().mean()), len(values), *interval)


def histogram(values: Tensor, bins: int = 50, high: float = 2.0) -> list[tuple[float, float, int]]:
    """Count ratios in equal bins of [0, high); the last bin goes on to infinity.

    Returns:
        Lower end, upper end and count of every bin.
    """
    place = (values * (bins / high)).clamp(0, bins).long()
    counts = torch.bincount(place, minlength=bins + 1).tolist()
    edges = [high * number / bins for number in range(bins + 1)] + [float("inf")]
    return [(edges[number], edges[number + 1], counts[number]) for number in range(bins + 1)]
