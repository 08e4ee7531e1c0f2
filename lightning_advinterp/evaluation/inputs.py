"""What an evaluation looks at: a network from a checkpoint or from weights, and images prepared for it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from lightning_advinterp.data.concept_world import CLASSES, ConceptWorld
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.data.transforms import EvalTransform, Interpolation
from lightning_advinterp.evaluation.config import Evaluation
from lightning_advinterp.networks import Network, create_network, preprocessing
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.networks.recipes import Recipe

CONCEPT_WORLD = "concept_world"


@dataclass(frozen=True)
class Subject:
    """The network under test.

    Attributes:
        network: with its weights.
        title: what tables call it.
        classes: wnids or folder names in the order of its outputs; empty where unknown.
        recipe: how images are prepared for it.
    """

    network: Network
    title: str
    classes: list[str]
    recipe: Recipe


def load_subject(evaluation: Evaluation) -> Subject:
    """Load the network that an evaluation names, from a checkpoint or by name and weights.

    Raises:
        ValueError: if neither or both are given.
        FileNotFoundError: if a file is missing.
    """
    if (evaluation.checkpoint is None) == (evaluation.network is None):
        raise ValueError(
            "Give either --checkpoint RUN/last.ckpt, or --network NAME with --weights FILE; "
            f"got checkpoint={evaluation.checkpoint!r} and network={evaluation.network!r}."
        )
    classes: list[str] = []
    if evaluation.checkpoint is not None:
        loaded = load_checkpoint(evaluation.checkpoint)
        network, classes = loaded.network, loaded.classes
        path = Path(evaluation.checkpoint)
        title = path.parent.name if path.stem == "last" else f"{path.parent.name}/{path.stem}"
    else:
        assert evaluation.network is not None
        network = create_network(evaluation.network, evaluation.weights, evaluation.num_classes, stem=evaluation.stem)
        title = evaluation.network
    recipe = preprocessing(network.name, evaluation.weights).at(evaluation.crop or network.input_size)
    return Subject(network, title, classes, replace(recipe, resize=evaluation.resize or recipe.resize))


def load_images(evaluation: Evaluation, subject: Subject) -> Any:
    """Open the images that an evaluation names, with the labels of the network's outputs.

    Raises:
        ValueError: if no data are named and the network's classes are not the concept world's, or labels and
            outputs do not fit.
        FileNotFoundError: if the folder is missing or has no images.
    """
    recipe = subject.recipe
    own = [item.wnid for item in CLASSES]
    if evaluation.data == CONCEPT_WORLD or (evaluation.data is None and subject.classes == own):
        return ConceptWorld("test", evaluation.limit or 1000, size=recipe.input_size)
    if evaluation.data is None:
        raise ValueError("data: give --data DIR, a folder of class folders (or of val/ with class folders).")
    return ImageFolderDataset.from_folder(
        evaluation.data,
        evaluation.split,
        transform=EvalTransform(recipe.resize, recipe.input_size, cast(Interpolation, recipe.interpolation)),
        num_classes=subject.network.num_classes,
        on_bad_image=evaluation.on_bad_image,
        limit=evaluation.limit,
        seed=evaluation.seed,
    )
