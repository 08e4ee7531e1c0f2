"""Which analyses run together: those that look at the same images, attacked in the same way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightning_advinterp.analyses.base.question import Data, Question
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.data.images import ImageSet


@dataclass(frozen=True)
class Group:
    """Analyses that share a run.

    Attributes:
        data: which set they look at.
        limit: at how many of its images at most; None for all.
        aims: whether attacks choose their targets among the images' classes alone.
        chooser: the analysis that chooses the images by itself; empty for none.
        names: the analyses.
    """

    data: Data
    limit: int | None
    aims: bool
    chooser: str
    names: tuple[str, ...]

    def images(self, image_set: ImageSet, evaluation: Evaluation) -> ImageSet:
        """Return the images of a set, or a seeded choice of them."""
        chosen = evaluation.questions[self.chooser].choose(image_set) if self.chooser else None
        if chosen is not None:
            return image_set.only(chosen)
        if self.limit is None or self.limit >= len(image_set):
            return image_set
        return image_set.only(image_set.choice(self.limit, evaluation.seed))


def groups_of(
    evaluation: Evaluation,
    attacks: Mapping[Data, Mapping[str, Attack]],
    outputs: int,
    labels: Mapping[Data, Sequence[int] | None],
    names: Sequence[str],
) -> list[Group]:
    """Return the analyses of an evaluation in groups, so that each gives the same alone and beside others.

    Args:
        evaluation: their settings.
        attacks: by the set they attack.
        outputs: of the network.
        labels: of each set's images; None where it has none.
        names: the analyses.
    """
    names_by_key: dict[tuple[Data, int | None, bool, str], list[str]] = {}
    for name in names:
        question: Question = evaluation.questions[name]
        classes = set(labels[question.data] or ())
        narrower = evaluation.questions["semantics"].target_classes == "dataset" and 0 < len(classes) < outputs
        aiming = any(attack.chooses_target for attack in attacks[question.data].values())
        aims = question.chooses_targets_among_images and narrower and aiming
        chooser = name if type(question).choose is not Question.choose else ""
        names_by_key.setdefault((question.data, question.most_images, aims, chooser), []).append(name)
    groups = [Group(*key, tuple(names)) for key, names in names_by_key.items()]
    return sorted(groups, key=lambda group: _waits(group, groups, evaluation))


def _waits(group: Group, groups: Sequence[Group], evaluation: Evaluation) -> bool:
    """Whether a group has a question that reads the results of another group's; it comes after that."""
    followed_names = {earlier for name in group.names for earlier in evaluation.questions[name].follows}
    return any(followed_names & set(other_group.names) for other_group in groups if other_group is not group)
