"""A network and images that a user has in memory, in the place of those that flags name."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.inputs import Images, Subject, load_images, load_subject, share_out
from lightning_advinterp.cli.evaluation.outputs import name_outputs
from lightning_advinterp.data.class_labels import Outputs, map_labels
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.networks.from_module import as_network
from lightning_advinterp.networks.normalization import said_statistics
from lightning_advinterp.networks.recipes import Recipe
from lightning_advinterp.networks.trial import RGB

_SIDE = 224


@dataclass(frozen=True)
class InMemory:
    """What a user passes as it is; what is None is loaded as the flags say.

    Attributes:
        network: from images to logits.
        images: with labels that are outputs of the network.
        title: what the network is called; None: by its class.
        beside: networks that it is compared with, by the folders that these stand in.
    """

    network: nn.Module | None = None
    images: ImageSet | None = None
    title: str | None = None
    beside: "Mapping[str, InMemory]" = field(default_factory=dict)

    def of(self, folder: str) -> "InMemory":
        """Return what is in memory of the network in a folder of the output, with the same images."""
        if not folder:
            return self
        return replace(self.beside.get(folder, InMemory()), images=self.images)

    def subject(self, evaluation: Evaluation) -> Subject:
        """Return the network under test, prepared for the images.

        Raises:
            ValueError: in the module's own words, or naming the flag.
        """
        if self.network is None:
            subject = load_subject(evaluation)
        else:
            _refuse_flags_of_others(evaluation)
            statistics = said_statistics(evaluation.mean, evaluation.std)
            network = as_network(copy.deepcopy(self.network), lambda: self._shape(evaluation), statistics)
            recipe = Recipe(network.mean, network.std, network.input_size, evaluation.resize or network.input_size)
            origin = network.origin
            recorded = Outputs(list(origin.classes), list(origin.class_names))
            outputs = name_outputs(evaluation, recorded, network.num_classes)
            subject = Subject(network, self.title or type(self.network).__name__, outputs, recipe)
        if self.images is None:
            return subject
        return replace(subject, recipe=replace(subject.recipe, input_size=self._shape(evaluation)[-1]))

    def load_images(self, evaluation: Evaluation, subject: Subject, calibration: int = 0) -> Images:
        """Return the images to look at, a seeded choice; see :func:`load_images` for those that flags name.

        Raises:
            ValueError: if labels are no outputs of the network.
        """
        if self.images is None:
            return load_images(evaluation, subject, calibration)
        _check_labels(self.images, subject)
        labels = [0] * len(self.images) if self.images.labels is None else self.images.labels
        reported, calibrating, taken_count = share_out(labels, evaluation.limit, calibration, evaluation.seed)
        if len(reported) == len(self.images):
            return Images(self.images)
        return Images(self.images.only(reported), self.images.only(calibrating) if calibrating else None, taken_count)

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return RGB if self.images is None else self.images[0].image.shape[0]

    def _shape(self, evaluation: Evaluation) -> Sequence[int]:
        if self.images is not None:
            return self.images[0].image.shape
        side = evaluation.crop or evaluation.input_size or _SIDE
        return RGB, side, side


def _refuse_flags_of_others(evaluation: Evaluation) -> None:
    """Refuse flags that say which network is to be loaded."""
    for name in ("checkpoint", "weights", "num_classes", "stem", "temperature", "weights_set", "network_options"):
        if getattr(evaluation, name) is not None:
            raise ValueError(f"{name}: a module that is in memory is taken as it is; leave {name} out.")


def _check_labels(images: ImageSet, subject: Subject) -> None:
    """Refuse labels that are no outputs, or outputs of other names than the labels have."""
    outputs = subject.network.num_classes
    wrong = sorted({label for label in images.labels or () if not 0 <= label < outputs})
    if wrong:
        raise ValueError(
            f"data: labels must be outputs of the network, 0 to {outputs - 1}, got {', '.join(map(str, wrong[:5]))}."
        )
    if not images.classes or not subject.outputs.classes:
        return
    mapping = map_labels(images.classes, outputs, subject.outputs)
    for label, output in enumerate(mapping.labels):
        if label != output:
            raise ValueError(
                f"data: label {label} is called {images.classes[label]!r}, which is output {output} of the network; "
                "give the data set a target_transform from its labels to outputs."
            )
