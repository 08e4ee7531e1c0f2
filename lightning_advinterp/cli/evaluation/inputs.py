"""What an evaluation looks at: a network from a checkpoint or from weights, and images prepared for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from lightning_advinterp.analyses.base.question import Question
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.outputs import check_labels, name_outputs
from lightning_advinterp.data.broden import BrodenError, check_concepts, open_concepts
from lightning_advinterp.data.class_labels import IMAGENET_OUTPUTS, Outputs, imagenet_outputs
from lightning_advinterp.data.columns import SampleColumns
from lightning_advinterp.data.concept_world import CLASSES, ConceptWorld
from lightning_advinterp.data.image_files import ImageFiles
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.labels import balanced_subset
from lightning_advinterp.data.transforms import EvalTransform, Interpolation
from lightning_advinterp.networks import Network, preprocessing
from lightning_advinterp.networks.choice import with_outputs
from lightning_advinterp.networks.recipes import Recipe
from lightning_advinterp.networks.sources import is_class_path
from lightning_advinterp.networks.trial import RGB, try_network
from lightning_advinterp.units.words import check_words

CONCEPT_WORLD = "concept_world"


@dataclass(frozen=True)
class Subject:
    """The network under test.

    Attributes:
        network: with its weights.
        title: what tables call it.
        outputs: what its outputs are called; empty where unknown.
        recipe: how images are prepared for it.
    """

    network: Network
    title: str
    outputs: Outputs
    recipe: Recipe


def load_subject(evaluation: Evaluation) -> Subject:
    """Load the network that an evaluation names, from a checkpoint or by name and weights.

    Raises:
        ValueError: if neither or both are given, or flags that contradict them.
        FileNotFoundError: if a file is missing.
    """
    beside = evaluation.checkpoint is not None and is_class_path(evaluation.network or "")
    if (evaluation.checkpoint is None) == (evaluation.network is None) and not beside:
        raise ValueError(
            "Give either --checkpoint RUN/last.ckpt, or --network NAME with --weights FILE; "
            f"got checkpoint={evaluation.checkpoint!r} and network={evaluation.network!r}."
        )
    loaded = evaluation.load_network(evaluation.crop)
    network, recorded = loaded.network, Outputs(loaded.classes, loaded.class_names)
    if evaluation.checkpoint is not None:
        if beside and evaluation.network != network.name:
            raise ValueError(
                f"network={evaluation.network!r} contradicts the checkpoint, which holds {network.name!r}; "
                "leave it out, or give --network and --weights instead of --checkpoint."
            )
        path = Path(evaluation.checkpoint)
        title = path.parent.name if path.stem == "last" else f"{path.parent.name}/{path.stem}"
    else:
        title = str(evaluation.network)
        if evaluation.classes is not None:  # the user's word counts more than a foreign file's
            recorded = Outputs((), ())
    outputs = name_outputs(evaluation, recorded, network.num_classes)
    network.origin = with_outputs(network.origin, outputs.classes, outputs.names)
    if evaluation.layers is not None:
        check_words(network, evaluation.layers)
    recipe = preprocessing(network.name, evaluation.weights).at(evaluation.crop or network.input_size)
    resize = evaluation.resize or (loaded.resize if evaluation.crop is None else None) or recipe.resize
    return Subject(network, title, outputs, replace(recipe, resize=resize, mean=network.mean, std=network.std))


def check_subject(
    evaluation: Evaluation, subject: Subject, attacks: Iterable[Attack] | None = None, channels: int = RGB
) -> None:
    """See, before any work, that the network takes such images and that attacks and analyses can be made on it.

    Args:
        evaluation: what is asked for.
        subject: the network, on its device.
        attacks: that are made on it; by default those that the evaluation names.
        channels: of the images.

    Raises:
        ValueError: in the network's own words, or naming what an attack lacks.
        FileNotFoundError: if a member's file is missing.
    """
    questions = [evaluation.questions[name] for name in evaluation.question_names()]
    attacked = any(question.attacked for question in questions)
    attacks_made = list(evaluation.attacks().values() if attacks is None else attacks) if attacked else []
    # Analyses that look at no attack's images climb gradients of their own; of all, those that cannot are left out.
    gradient = any(attack.cost[1] > 0 for attack in attacks_made)
    gradient |= not evaluation.asks_for_all and not all(question.attacked for question in questions)
    network = subject.network
    size = subject.recipe.input_size
    built = f"; it was built for {network.input_size}" if network.input_size != size else ""
    try_network(
        network, size, gradient=gradient, remedy=f"Give --crop the side that it takes{built}.", channels=channels
    )
    for attack in attacks_made:
        attack.check_network(network)


@dataclass(frozen=True)
class Images:
    """What is looked at.

    Attributes:
        reported: the images that results are about.
        calibration: others, on which attacks find their weight; None where none of them does.
        taken: how many of the latter would have been reported on, had there been enough others.
        files: images that ``--images`` names; where no data are named, they are what is reported on.
    """

    reported: ImageSet
    calibration: ImageSet | None = None
    taken: int = 0
    files: ImageSet | None = None


def load_images(evaluation: Evaluation, subject: Subject, calibration: int = 0) -> Images:
    """Open the images that an evaluation names, with the labels of the network's outputs.

    Images for a calibration are the next ones in the order in which the seed chooses, so that they are as even over
    the classes. Where too few are left, they are taken from the end of those to be reported, at most half of all.

    Args:
        evaluation: says which images.
        subject: the network, which says how they are prepared.
        calibration: how many further images are wanted.

    Raises:
        ValueError: if no data are named and the network's classes are not the concept world's, labels and
            outputs do not fit.
        FileNotFoundError: if the folder is missing or has no images.
    """
    recipe = subject.recipe
    world_classes = [item.wnid for item in CLASSES]
    if evaluation.data == CONCEPT_WORLD or (evaluation.data is None and list(subject.outputs.classes) == world_classes):
        return _load_world(evaluation, subject, calibration, world_classes)
    if evaluation.data is None and evaluation.images and not calibration:
        needing = [name for name in evaluation.question_names("data") if "images" not in _uses(evaluation, name)]
        if not needing:
            files = load_files(evaluation, subject)
            return Images(files, files=files)
    if evaluation.data is None:
        raise ValueError("data: give --data DIR, a folder of class folders (or of val/ with class folders).")
    outputs = subject.network.num_classes
    try:
        dataset = ImageFolderDataset.from_folder(
            evaluation.data,
            evaluation.split,
            transform=EvalTransform(recipe.resize, recipe.input_size, cast(Interpolation, recipe.interpolation)),
            num_classes=outputs,
            outputs=subject.outputs,
            on_bad_image=evaluation.on_bad_image,
            orientation=evaluation.orientation,
            columns=SampleColumns(evaluation.image_column, evaluation.label_column),
        )
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"data: {error}") from None
    if not dataset.classes:
        names = ", ".join(evaluation.question_names("data"))
        raise ValueError(
            f"data: the images in {evaluation.data!r} lie in no class folders, and {names} needs their labels; "
            "sort them into DIR/<class>/."
        )
    assert dataset.mapping is not None
    check_labels(dataset.mapping, dataset.split.classes, outputs, evaluation.classes)
    reported, calibrating, taken_count = share_out(
        dataset.split.positions, evaluation.limit, calibration, evaluation.seed
    )
    return Images(dataset.only(reported), dataset.only(calibrating) if calibrating else None, taken_count)


def _load_world(evaluation: Evaluation, subject: Subject, calibration: int, world_classes: list[str]) -> Images:
    """Open the concept world's test pictures, for a network of its classes or of as many outputs without names."""
    classes, size = list(subject.outputs.classes), subject.recipe.input_size
    if classes != world_classes and (classes or subject.network.num_classes != len(world_classes)):
        raise ValueError(
            f"data: the concept world has {len(world_classes)} classes of its own, {subject.title} was trained on "
            f"others ({subject.network.num_classes} outputs); give --data DIR with images of its classes."
        )
    limit = evaluation.limit or 1000
    world = ConceptWorld("test", limit, size=size)
    if not calibration:
        return Images(world)
    longer_world = ConceptWorld("test", limit + calibration, size=size)
    return Images(world, longer_world.only(range(limit, limit + calibration)))


def load_files(evaluation: Evaluation, subject: Subject, data: ImageSet | None = None) -> ImageFiles:
    """Open the images that ``--images`` names, prepared like the data's, whatever their size.

    A file's folder is held against the names of the outputs, of the data's classes, or of ImageNet's 1,000 classes:
    what names the data's labels names those of files.

    Args:
        evaluation: names the files.
        subject: the network.
        data: the images that ``--data`` names.
    """
    recipe = subject.recipe
    transform = EvalTransform(recipe.resize, recipe.input_size, cast(Interpolation, recipe.interpolation))
    classes = subject.outputs.classes or (() if data is None else data.classes)
    if not classes and subject.network.num_classes == IMAGENET_OUTPUTS:
        classes = imagenet_outputs().classes
    labels = {name: number for number, name in enumerate(classes)}
    return ImageFiles(evaluation.images, transform, labels, evaluation.orientation)


def _uses(evaluation: Evaluation, name: str) -> frozenset[str]:
    question: Question = evaluation.questions[name]
    return question.uses


def load_concepts(
    evaluation: Evaluation, subject: Subject, calibration: int = 0, *, check: bool = True, progress: bool = True
) -> Images:
    """Open the set that ``--concepts`` names; its images are resized whole to the network's input.

    What will be looked at is decoded once before: nobody shall learn of a damaged map after hours of work.

    Args:
        evaluation: names the set.
        subject: the network.
        calibration: how many further images are wanted.
        check: decode the images; of several processes one does.
        progress: show a bar.

    Raises:
        ValueError: if none is named, or something is wrong with it.
        FileNotFoundError: if there is no such set.
    """
    if evaluation.concepts is None:
        raise ValueError(
            f"concepts: {', '.join(evaluation.question_names('concepts'))} needs images with labels of concepts; give "
            f"--concepts DIR, a set in Broden's format, or --concepts {CONCEPT_WORLD}."
        )
    limit = evaluation.limit or (1000 if evaluation.concepts == CONCEPT_WORLD else None)
    try:
        concept_set = open_concepts(evaluation.concepts, subject.recipe.input_size, n=(limit or 0) + calibration)
    except ValueError as error:
        raise ValueError(f"concepts: {error}") from None
    except FileNotFoundError as error:
        raise FileNotFoundError(f"concepts: {error}") from None
    if evaluation.concepts == CONCEPT_WORLD:  # has as many pictures as are wanted
        reported, calibrating, taken_count = list(range(limit or 0)), list(range(limit or 0, len(concept_set))), 0
    else:
        reported, calibrating, taken_count = share_out([0] * len(concept_set), limit, calibration, evaluation.seed)
    if check:
        try:
            check_concepts(concept_set.only([*reported, *calibrating]), progress=progress)
        except BrodenError as error:
            raise ValueError(f"concepts: {error}") from None
    return Images(concept_set.only(reported), concept_set.only(calibrating) if calibrating else None, taken_count)


def share_out(
    labels: Sequence[int], limit: int | None, calibration: int, seed: int
) -> tuple[list[int], list[int], int]:
    """Divide a data set into images to report on and others to calibrate on.

    Args:
        labels: label of each image.
        limit: report on so many, all if None.
        calibration: calibrate on so many.
        seed: of the choice.

    Returns:
        Positions of both, each sorted, and how many of the latter had to be taken from the former.
    """
    count = len(labels)
    most = count if limit is None else min(limit, count)
    if calibration and count < 2:
        raise ValueError(
            f"data: a weight that is to be calibrated needs images beside those reported on, got {count} image in all; "
            "set the attack's weight to a number."
        )
    calibration = min(calibration, count // 2)
    reported = min(most, count - calibration)
    first = balanced_subset(labels, reported, seed)
    both = balanced_subset(labels, reported + calibration, seed)
    return first, sorted(set(both) - set(first)), most - reported
