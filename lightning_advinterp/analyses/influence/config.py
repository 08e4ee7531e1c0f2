"""What influence measures, and which images it learns from and asks about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lightning_advinterp.attacks.explanation.raised_influence import Measure
from lightning_advinterp.attacks.loop.budget import Eps, parse_budget
from lightning_advinterp.core.settings import require_least
from lightning_advinterp.data.labels import balanced_subset, stratified_share


@dataclass(frozen=True)
class InfluenceConfig:
    """Which layer, which images, which attack.

    Attributes:
        layer: ``retrained``: a last layer for the chosen classes is trained on the features of the training images;
            ``own``: the network's, where it is linear and small (K(F + 1) ≤ 12,000), with all its classes.
        classes: how many classes, those with the most images; or their folders' names.
        training: images whose influence is measured, at most.
        test: images that are asked about, at most; the training and test images share the given ones in this ratio.
        damping: added to the Hessian; also the weight decay with which the layer is retrained.
        top: the attack aims at so many most influential training images.
        overlap: of so many most influential ones the overlap before and after is reported.
        eps: of the attacks, in L∞.
        steps: of the iterated attack, of 2.5 ε/steps each.
        raised: also raise the influence of one training image on every test image: ``other_class``, one of another
            class, drawn for each; or the number of a training image. Left out: no such attack.
        raise_by: what that attack climbs: the image's influence as a ``share`` of the length of all training images'
            influence, or the ``influence`` itself.
        show: test images on the page of exemplars.
        batch_size: images at a time.
        seed: of the choice of images, and of the random control.
    """

    layer: Literal["retrained", "own"] = "retrained"
    classes: int | list[str] = 2
    training: int = 200
    test: int = 100
    damping: float = 0.01
    top: int = 3
    overlap: int = 5
    eps: Eps = "8/255"
    steps: int = 20
    raised: int | Literal["other_class"] | None = None
    raise_by: Measure = "share"
    show: int = 3
    batch_size: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.layer not in ("retrained", "own"):
            raise ValueError(f"layer must be retrained or own, got {self.layer!r}.")
        counts = ("training", "test", "top", "overlap", "steps", "batch_size")
        require_least(self, dict.fromkeys(counts, 1) | {"show": 0})
        if self.raised is not None and self.raised != "other_class" and not isinstance(self.raised, int):
            raise ValueError(f"raised must be other_class or the number of a training image, got {self.raised!r}.")
        if self.raise_by not in ("share", "influence"):
            raise ValueError(f"raise_by must be share or influence, got {self.raise_by!r}.")
        if not self.damping > 0:
            raise ValueError(f"damping must be above 0, got {self.damping}.")
        if (self.classes if isinstance(self.classes, int) else len(set(self.classes))) < 2:
            raise ValueError(f"classes must be 2 or more, or the names of as many, got {self.classes}.")
        parse_budget(self.eps)


@dataclass(frozen=True)
class Task:
    """Few classes, and which images are for what.

    Attributes:
        classes: the labels, rising; the layer's class is the place in this list.
        training: numbers of the images whose influence is measured.
        test: numbers of the images that are asked about.
    """

    classes: tuple[int, ...]
    training: frozenset[int]
    test: frozenset[int]


def choose_images(labels: Sequence[int], names: Sequence[str], config: InfluenceConfig) -> list[int]:
    """Return the places of the images of the chosen classes, evenly over them.

    Args:
        labels: of all images.
        names: what the labels are called.
        config: which classes, and how many images.

    Raises:
        ValueError: if there are no such classes.
    """
    counts = {label: labels.count(label) for label in sorted(set(labels))}
    if isinstance(config.classes, int):
        chosen = sorted(counts, key=lambda label: (-counts[label], label))[: config.classes]
    else:
        unknown = [name for name in config.classes if name not in names]
        if unknown:
            raise ValueError(f"influence.classes: {', '.join(unknown)} is no class of the data.")
        chosen = [names.index(name) for name in config.classes]
    if len(chosen) < 2 or min(counts.get(label, 0) for label in chosen) < 2:
        raise ValueError("influence: the data must have two images of each of two classes or more.")
    places = [place for place, label in enumerate(labels) if label in chosen]
    drawn = balanced_subset([labels[place] for place in places], config.training + config.test, config.seed)
    return [places[place] for place in drawn]


def make_task(labels: Sequence[int], numbers: Sequence[int], config: InfluenceConfig) -> Task:
    """Divide the images of the chosen classes, class by class, into training and test images.

    Args:
        labels: of the images.
        numbers: what their batches call them.
        config: in which ratio.

    Raises:
        ValueError: if too few are left for training.
    """
    share = config.test / (config.training + config.test)
    training, test = stratified_share(labels, share, config.seed)
    least = max(config.top, config.overlap) + 1
    if len(training) < least:
        raise ValueError(
            f"influence: {len(labels)} images of {len(set(labels))} classes leave {len(training)} for training, fewer "
            f"than {least}; give more images of these classes, or choose others by influence.classes."
        )
    learnt, asked_about = (frozenset(numbers[place] for place in part) for part in (training, test))
    if isinstance(config.raised, int) and config.raised not in learnt:
        examples = ", ".join(map(str, sorted(learnt)[:5]))
        raise ValueError(
            f"influence.raised must be the number of a training image (among them {examples}), or other_class, got "
            f"{config.raised}."
        )
    return Task(tuple(sorted(set(labels))), learnt, asked_about)
