"""Traces predictions to units: first what units mean is learnt from the data, then single images are traced."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.runner import Runner
from lightning_advinterp.analyses.base.unit_pictures import UnitPictures, UnitRequest
from lightning_advinterp.analyses.semantics.analysis import SemanticsAnalysis
from lightning_advinterp.analyses.tracing.config import TracingConfig
from lightning_advinterp.analyses.tracing.control import matched_images
from lightning_advinterp.analyses.tracing.images import TracedImages, picked
from lightning_advinterp.analyses.tracing.knowledge import Knowledge, Learning
from lightning_advinterp.analyses.tracing.names import Names
from lightning_advinterp.analyses.tracing.shown import build_result
from lightning_advinterp.analyses.tracing.strips import with_strips
from lightning_advinterp.analyses.tracing.tables import Traces
from lightning_advinterp.analyses.tracing.tracer import Tracer
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.spaces import UnitSpace, unit_layers

logger = logging.getLogger(__name__)

_PAGES = 5
SHOWN = 8
"""So many images are shown of every unit."""


class TracingAnalysis:
    """Traces predictions to units, and asks of errors why they happen.

    The first sweep learns from the data what units mean and what takes their place; the last one, over chosen images,
    traces. Files that the user names, and the images of the units that pages show, are looked at after it.

    Args:
        attacks: name to attack; every name is an image kind beside ``real``.
        images: the data set that the runner shows.
        files: images that the user named, an image set too; None: images are chosen from the data.
        layers: see :func:`~lightning_advinterp.units.spaces.unit_layers`.
        config: which predictions, and how.
        meaning: measures what units mean, from the same images; None where that is unknown.
        names: of classes and concepts.
        batch_size: images at a time.
        seed: of choices and control units.
    """

    name = "tracing"

    def __init__(
        self,
        attacks: Mapping[str, Attack],
        *,
        images: ImageSet,
        files: ImageSet | None,
        layers: str | Sequence[str],
        config: TracingConfig,
        meaning: SemanticsAnalysis | None,
        names: Names,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        self.attacks, self.images, self.files, self.layers = dict(attacks), images, files, layers
        self.config, self.names, self.batch_size, self.seed = config, names, batch_size, seed
        self.kinds = (REAL, *self.attacks)
        self._meaning, self._learns = meaning, files is not images
        self._network: Network | None = None

    def bind(self, network: Network) -> Plan:
        """One sweep over the data, one over the images that are traced.

        Raises:
            ValueError: if a layer has no units, or the logits do not depend on it.
        """
        self._network, self._units = network, unit_layers(network, self.layers)
        if self._meaning is not None:
            self._meaning.bind(network)
        self._tracer = Tracer(network, self._units, self.config)
        numbers = list(self.images.indices)
        sampled = picked(numbers, self.config.samples, self.seed) if "sampled" in self.config.baselines else []
        self._sampled = frozenset(sampled)
        self._knowledge: Knowledge | None = None
        self._start()
        taps = tuple(dict.fromkeys(unit.tap for unit in self._units))
        learnt = Sweep(taps, self._learning.kinds, labels=self._meaning is not None)
        most = (2 if self.config.of == "errors" else 1) * self.config.limit
        (traced,) = self._traced.bind(network).sweeps
        return Plan((learnt, Sweep((), traced.kinds, labels=False, forwards=traced.forwards, chosen=most)))

    def _start(self) -> None:
        attacked = self._meaning is not None or self.config.of == "attacked"
        kinds = self.kinds if attacked and self._learns else (REAL,)
        self._learning = Learning(self._units, kinds, self._sampled, self._meaning)
        self._traced = TracedImages(self._tracer, self.kinds, self.seed)
        self._from_files = TracedImages(self._tracer, self.kinds, self.seed)
        last_layer = UnitSpace(self._units[-1:])
        most = (
            SHOWN
            * len(self.kinds)
            * 2
            * self.config.units
            * max(1, _PAGES if self.config.show is None else self.config.show)
        )
        self._pictures = UnitPictures("tracing_pictures", last_layer, (REAL,), self._requests, most=most)
        self._chosen: list[int] = []
        self._matches: dict[int, int] = {}

    def expect(self, images: int) -> None:
        """Keep as many top images as semantics does of so many images."""
        if self._meaning is not None:
            self._meaning.expect(images)

    @property
    def knowledge(self) -> Knowledge:
        """What was learnt from the data."""
        return self._knowledge if self._knowledge is not None else Knowledge()

    def update(self, sweep: int, observation: Observation) -> None:
        """Learn from a batch, or trace it."""
        if sweep == 0:
            if self._learns:
                self._learning.update(observation)
            return
        self._traced.update(0, observation)

    def choose(self, results: Mapping[str, Result]) -> Collection[int]:
        """Choose the images that are traced: of the data, where the user has named none."""
        if self.files is not None:
            self._chosen = list(self.images.indices) if not self._learns else []
        else:
            self._choose_from_notes()
        self._traced.knowledge = self.knowledge
        self._traced.pictured = frozenset(self.paged())
        self._traced.recalled = frozenset(self._chosen[: self.config.recalled])
        return {*self._chosen, *self._matches.values()}

    def _choose_from_notes(self) -> None:
        notes = {number: note for number, note in sorted(self.knowledge.notes.items()) if note[0] >= 0}
        right = [number for number, note in notes.items() if note[0] == note[1]]
        wrong = [number for number, note in notes.items() if note[0] != note[1]]
        if self.config.of == "errors":
            self._chosen = picked(wrong, self.config.limit, self.seed)
            confidence = {number: note[2] for number, note in notes.items()}
            self._matches = matched_images(self._chosen, right, confidence)
        elif self.config.of == "right":
            self._chosen = picked(right, self.config.limit, self.seed)
        else:
            fooled = [number for number in right if any(label != notes[number][0] for label in notes[number][3:])]
            self._chosen = picked(fooled, self.config.limit, self.seed)
        if not self._chosen:
            logger.warning(
                "tracing.of: of %d labelled images (%d right, %d wrong) none is what %s asks for; nothing is traced.",
                len(notes),
                len(right),
                len(wrong),
                self.config.of,
            )

    def paged(self) -> list[int]:
        """Return the numbers of the data's images that get a page."""
        default = None if self.files is not None else _PAGES
        return self._chosen[: default if self.config.show is None else self.config.show]

    def _paged_files(self) -> list[int]:
        """Return the numbers of the files beside the data that get a page: of some, those that are asked for first."""
        numbers = sorted(self._from_files.found)
        if self.config.show is None:
            return numbers
        return sorted(numbers, key=lambda number: not self._asked_for(number))[: self.config.show]

    def _asked_for(self, number: int) -> bool:
        right = self._from_files.right(number)
        if self.config.of == "attacked":
            return right is True and any(self._from_files.right(number, kind) is False for kind in self.kinds[1:])
        return right is (self.config.of == "right")

    def settle(self, sweep: int) -> None:
        """Conclude what was learnt; or look at the files and at the images of the units that pages show."""
        if sweep == 0:
            self._knowledge = self._learning.conclude()
            self._learning = Learning(self._units, self._learning.kinds, frozenset(), None)
            return
        if self.files is not None and self._learns:
            self._from_files.knowledge = self.knowledge
            self._from_files.recalled = frozenset(range(self.config.recalled))
            self._look(self.files, self._from_files)
        if self._requests({}):
            self._look(self.images, self._pictures)

    def _look(self, images: ImageSet, analysis: Any) -> None:
        """Show images to an analysis, on every process alike."""
        assert self._network is not None
        device = next(self._network.parameters()).device
        batch = min(self.batch_size, 32)
        Runner(
            self._network,
            images,
            attacks=self.attacks,
            batch_size=batch,
            device=device,
            seed=self.seed,
            least_success=0,
        ).run([analysis])

    def traces(self) -> Traces:
        """Return what was traced, with what is known of it."""
        return Traces(
            self.config,
            self._units,
            self.kinds,
            self.knowledge,
            self.names,
            self._traced,
            self._from_files,
            {*self._matches.values()},
            self._paged_files(),
        )

    def _requests(self, results: Mapping[str, Result]) -> list[UnitRequest]:
        """Return the units that pages show, with the images that drive them."""
        layer = self._units[-1]
        top = self.knowledge.top.get(layer.layer)
        if top is None:
            return []
        traces = self.traces()
        units = traces.units_on_pages(self.paged())
        return [
            UnitRequest(layer.reading, unit, REAL, tuple(int(number) for number in top[unit, :SHOWN] if number >= 0))
            for unit in units
        ]

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's images."""
        self._learning.merge(state["learning"])
        self._traced.merge(state["traced"])

    def state_dict(self) -> dict[str, Any]:
        """Return what was learnt and traced so far."""
        return {
            "learning": self._learning.state_dict(),
            "knowledge": None if self._knowledge is None else vars(self._knowledge),
            "traced": self._traced.state_dict(),
            "chosen": (list(self._chosen), dict(self._matches)),
            "files": self._from_files.state_dict(),
            "pictures": self._pictures.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace what was learnt and traced."""
        if state["knowledge"] is not None:
            self._knowledge = Knowledge(**state["knowledge"])
            self._learning = Learning(self._units, self._learning.kinds, frozenset(), None)
        self._learning.load_state_dict(state["learning"])
        self._traced.load_state_dict(state["traced"])
        self._traced.knowledge = self.knowledge
        self._chosen, self._matches = list(state["chosen"][0]), dict(state["chosen"][1])
        self._from_files.load_state_dict(state["files"])
        self._pictures.load_state_dict(state["pictures"])

    def result(self) -> Result:
        """Return the tables, and the pictures that pages show."""
        return build_result(self.name, self.traces(), self.paged(), with_strips(self._pictures.result()))
