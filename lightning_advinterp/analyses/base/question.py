"""A question asked of a network: settings that build its analyses, and draw from what these found."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from matplotlib.figure import Figure
from rich.table import Table

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.columns import TableSpec
from lightning_advinterp.core.result import Result, Row
from lightning_advinterp.data.class_labels import Outputs
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.metrics.semantics import ClassSpace
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.words import WORDS, layer_words

Data = Literal["data", "concepts"]
"""What a question looks at: labelled images, or images with labels of concepts in every pixel."""


@dataclass(frozen=True)
class Scene:
    """What questions are asked of.

    Attributes:
        network: the network under test.
        outputs: what its outputs are called; empty where unknown.
        attacks: whose images are wanted, by name.
        images: the images that it is shown.
        questions: the settings of all questions by name; some share each other's.
        together: names of the questions that look at these images in one run.
        layers: what the user said for all questions; None: each question's own.
        seed: of random numbers.
        class_spaces: those made so far, which questions share.
        files: images that the user named one by one; None: none.
        found: results of the questions that were asked of other images before, by name; and under a question's own name
            those of its :meth:`Question.earlier`.
        concepts: images with labels of concepts, for a question that uses them beside its own; None without any.
        every_image: all of the data, of which ``images`` may be a choice; None: the same.
    """

    network: Network
    outputs: Outputs
    attacks: Mapping[str, Attack]
    images: ImageSet
    questions: Mapping[str, Any]
    together: tuple[str, ...] = ()
    layers: str | Sequence[str] | None = None
    seed: int = 0
    class_spaces: dict[str, ClassSpace] = field(default_factory=dict, repr=False)
    files: ImageSet | None = None
    found: Mapping[str, Result] = field(default_factory=dict, repr=False)
    concepts: ImageSet | None = None
    every_image: ImageSet | None = None

    @property
    def classes(self) -> list[str]:
        """What the outputs are called by wnid or folder; by the images' folders where the network does not say."""
        return list(self.outputs.classes) or list(self.images.classes)

    @property
    def class_names(self) -> list[str]:
        """What the outputs are called for people."""
        return list(self.outputs.names) or list(self.images.class_names)

    def layers_or(self, default: str | Sequence[str]) -> str | tuple[str, ...]:
        """Return the layers that the user named, or a question's own."""
        names = layer_words(default if self.layers is None else self.layers)
        return names[0] if len(names) == 1 and names[0] in WORDS else names


@dataclass(frozen=True)
class Earlier:
    """Analyses of other images than a question's own, which must have run before it can be built.

    Attributes:
        images: what they look at, all of it, without attacks.
        analyses: fresh ones.
    """

    images: ImageSet
    analyses: Sequence[Analysis]


class Question(ABC):
    """What a question must say of itself; a frozen dataclass of settings is one by adding :meth:`build`.

    ``evaluate.py`` and training reach it by its ``name`` or by its class path. Its fields are flags, ``--name.field``.
    """

    name: ClassVar[str]
    """On the command line, and before its log keys."""
    data: ClassVar[Data] = "data"
    uses: ClassVar[frozenset[str]] = frozenset()
    """Flags that mean something to it beside those that all share: ``layers``, ``concepts``, ``images``."""
    companions: ClassVar[tuple[str, ...]] = ()
    """Other questions whose settings it reads."""
    follows: ClassVar[tuple[str, ...]] = ()
    """Other questions whose results it reads, where they are asked of other images in the same evaluation."""
    attacked: ClassVar[bool] = True
    """Whether it looks at images under ``--attack``."""
    chooses_targets_among_images: ClassVar[bool] = False
    """Whether attacks choose their targets among the images' classes alone."""
    main_figure: ClassVar[str] = "figure"
    """What TensorBoard calls the figure that bears the question's own name."""
    tables: ClassVar[tuple[TableSpec, ...]] = ()
    """Its tables and what their columns mean, for ``results.json``; what is not declared is written all the same."""

    @abstractmethod
    def build(self, scene: Scene) -> list[Analysis]:
        """Return fresh analyses.

        Raises:
            ValueError: naming the setting that does not suit the network or the images.
        """

    def earlier(self, scene: Scene) -> Earlier | None:
        """Return what must run before :meth:`build`, which finds the joined result in ``scene.found[self.name]``."""
        return None

    def figures(self, result: Result, title: str) -> dict[str, Figure]:
        """Draw what was found.

        Args:
            result: tables and arrays of all analyses that :meth:`build` returned.
            title: what the network is called.
        """
        return {}

    def pages(self, result: Result, title: str) -> dict[str, str]:
        """Return self-contained HTML pages by name, from the result alone; they are written to ``NAME/<page>.html``.

        Args:
            result: as for :meth:`figures`.
            title: what the network is called.
        """
        return {}

    def brief(self, result: Result, title: str) -> Table | None:
        """Return what the terminal shows of the result."""
        return None

    def side_by_side(
        self, results: Mapping[str, Result], printed: Mapping[str, Mapping[str, Mapping[str, float]]]
    ) -> Table | None:
        """Return what the terminal shows of several networks together.

        Args:
            results: by network.
            printed: network to kind of images to measure to a paper's value.
        """
        return None

    def beside_printed(self, result: Result, printed: Mapping[str, Mapping[str, float]]) -> list[Row]:
        """Return ``images``, ``measure``, ``measured`` and ``printed`` of a network's values that a paper prints.

        Args:
            result: of the network.
            printed: kind of images to measure to the paper's value; what the question does not measure is passed over.
        """
        return []

    def scalars(self, result: Result) -> dict[str, float]:
        """Return what is logged during training, under its log keys; what has no value is left out."""
        head = f"{self.name}/"
        return {
            key if key.startswith(head) else head + key: value
            for key, value in result.scalars.items()
            if value == value
        }

    @property
    def files(self) -> Sequence[str]:
        """Files that its settings name by their paths alone, and that its numbers depend on."""
        return ()

    @property
    def most_images(self) -> int | None:
        """At how many images it looks at most, where each costs much; None: at all."""
        return None

    def choose(self, images: ImageSet) -> list[int] | None:
        """Return the places of the images that it looks at, where it chooses them by itself; None: it does not."""
        return None


def declared_tables(name: str, questions: Mapping[str, Any]) -> tuple[TableSpec, ...]:
    """Return the tables that a question declares, and its companions', which it may write for itself.

    Args:
        name: of the question.
        questions: all settings, by name.
    """
    question: Question = questions[name]
    companions = (questions[companion] for companion in question.companions)
    companion_tables = (
        table for companion in companions if isinstance(companion, Question) for table in companion.tables
    )
    return (*question.tables, *companion_tables)
