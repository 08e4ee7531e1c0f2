"""Pictures of a few units: the images that drive them, and where in them they look."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.core.result import REAL, Result, Row
from lightning_advinterp.explanations.discrepancy import discrepancy_map
from lightning_advinterp.explanations.unit_maps import UNIT_METHODS, UNIT_PASSES, UnitMethod, unit_map
from lightning_advinterp.networks.network import Network
from lightning_advinterp.units.spaces import UnitLayer, UnitSpace, unit_space

Highlight = Literal["activation", "discrepancy"] | UnitMethod
HIGHLIGHTS: tuple[Highlight, ...] = ("activation", "discrepancy", *UNIT_METHODS)
_SHARE = 0.5
"""What counts as looked at where there is no threshold: at least so much of a map's maximum."""


@dataclass(frozen=True)
class UnitRequest:
    """A unit whose pictures are wanted.

    Attributes:
        tap: where the unit is read, and in which basis, if any.
        unit: its number.
        kind: ``real`` or an attack.
        images: numbers of the images, the strongest first.
        threshold: the activation above which a place is highlighted; None: half of the map's maximum.
        row: what the table of pictures says of the unit, in each of its rows.
    """

    tap: str
    unit: int
    kind: str
    images: tuple[int, ...]
    threshold: float | None = None
    row: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Pictures:
    """Images as a unit sees them.

    Attributes:
        row: what is known of the unit.
        pictures: uint8 ``[n, H, W, 3]``.
        masks: bool ``[n, H, W]``, where the unit looks.
        rows: of the table, one for each picture.
    """

    row: Row
    pictures: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    rows: tuple[Row, ...]


class UnitPictures(Summed):
    """Keeps the pictures of units that are chosen from other analyses' results, in a last run over few images.

    The table of its name has a row per unit, kind and picture: what the request's row says, ``rank``, ``image``,
    ``predicted``, and ``picture`` and ``mask``, keys of the result's arrays; a unit that no image drives has one row
    without a picture. Every image is stored once.

    Args:
        name: of the analysis and its table.
        layers: see :func:`~lightning_advinterp.units.spaces.unit_space`.
        kinds: ``real`` and names of attacks.
        choose: from the other analyses' results to the units that are wanted.
        most: images that these units have at most.
        highlight: ``activation``: the unit's map, enlarged to the image (bilinear), above its threshold;
            ``discrepancy``: the discrepancy map (Zhou et al. 2015), thousands of forward passes an image;
            ``gradient``, ``gradcam``, ``lrp``: that of :func:`~lightning_advinterp.explanations.unit_maps.unit_map`,
            those of pixels averaged over squares of a sixteenth of the image's side. All but the first above half of
            their maximum.
        seed: of the discrepancy map.
        describe: from a request's row and the predicted class to further columns of a picture.
    """

    united = ("_images", "_predicted", "_masks")
    settled = ("_requests",)
    records: ClassVar[Mapping[str, type]] = {"_requests": UnitRequest}

    def __init__(
        self,
        name: str,
        layers: str | Sequence[str] | UnitSpace,
        kinds: Sequence[str],
        choose: Callable[[Mapping[str, Result]], Sequence[UnitRequest]],
        *,
        most: int,
        highlight: Highlight = "activation",
        seed: int = 0,
        describe: Callable[[Row, int], Row] = lambda row, predicted: {},
    ) -> None:
        self.name, self.layers, self.kinds = name, layers, (REAL, *(kind for kind in kinds if kind != REAL))
        self._choose, self._most, self._highlight, self._seed = choose, most, highlight, seed
        self._describe = describe
        self._network: Network | None = None
        self._units: dict[str, UnitLayer] = {}
        self._requests: list[UnitRequest] = []
        self._images: dict[str, dict[int, Tensor]] = {kind: {} for kind in self.kinds}
        self._predicted: dict[str, dict[int, int]] = {kind: {} for kind in self.kinds}
        self._masks: dict[int, dict[int, Tensor]] = {}

    def bind(self, network: Network) -> Plan:
        """One sweep over chosen images."""
        self._network = network
        space = unit_space(network, self.layers)
        self._units = {unit.reading: unit for unit in space}
        forwards = 0
        if self._highlight in UNIT_PASSES:
            self._try_out(network)
            forward, backward = UNIT_PASSES[self._highlight]
            forwards = forward + 2 * backward  # a backward pass takes as long as two forward passes
        return Plan((Sweep(space.taps, self.kinds, labels=False, chosen=self._most, forwards=forwards),))

    def _try_out(self, network: Network) -> None:
        """Refuse layers that the explanation does not fit, before any work: a black image passes."""
        assert self._highlight in UNIT_METHODS
        parameter = next(network.parameters(), torch.zeros(()))
        image = torch.zeros(1, len(network.mean), network.input_size, network.input_size, device=parameter.device)
        for unit in self._units.values():
            if unit.layout is None:  # the network takes images of another size alone
                continue
            try:
                unit_map(network, image, unit, torch.zeros(1, dtype=torch.int64), self._highlight)
            except ValueError as error:
                raise ValueError(f"highlight {self._highlight!r}: {error} Or take gradient.") from None

    def choose(self, results: Mapping[str, Result]) -> Collection[int]:
        """Ask for the pictures of units that the results name."""
        self._requests = list(self._choose(results))
        return {number for request in self._requests for number in request.images}

    def update(self, sweep: int, observation: Observation) -> None:
        """Keep the pictures of one batch."""
        numbers = observation.index.tolist()
        # Kind by kind: within a limit of memory the activations of a kind that is not held pass again at each change.
        by_kind = sorted(enumerate(self._requests), key=lambda numbered: self.kinds.index(numbered[1].kind))
        for request_number, request in by_kind:
            for place, number in enumerate(numbers):
                if number not in request.images:
                    continue
                image = observation.images[request.kind][place]
                if number not in self._images[request.kind]:
                    self._images[request.kind][number] = (255 * image).round().clamp(0, 255).byte().cpu()
                    self._predicted[request.kind][number] = int(observation.logits[request.kind][place].argmax())
                output = observation.activations[request.kind][self._units[request.tap].tap][place : place + 1]
                mask = self._mask(request, image, output, number)
                self._masks.setdefault(request_number, {})[number] = mask

    def _mask(self, request: UnitRequest, image: Tensor, output: Tensor, number: int) -> Tensor:
        unit_layer = self._units[request.tap]
        if self._highlight == "discrepancy":
            assert self._network is not None
            keys = sample_keys(torch.tensor([number], device=image.device), seed=self._seed)
            unit = torch.tensor([request.unit])
            values = discrepancy_map(self._network, image[None], unit_layer.tap, unit, keys, maps=unit_layer.maps)[0]
            return (values > _SHARE * values.max()).cpu()
        if self._highlight in UNIT_METHODS:
            assert self._network is not None
            unit = torch.tensor([request.unit], device=image.device)
            values = unit_map(self._network, image[None], unit_layer, unit, self._highlight)[0]
            values = values if self._highlight == "gradcam" else near_mean(values)
            return (values > _SHARE * values.max()).cpu()
        if not unit_layer.has_places:
            return torch.ones(image.shape[1:], dtype=torch.bool)
        activation = unit_layer.maps(output)[:, request.unit : request.unit + 1]
        enlarged = F.interpolate(activation.float(), image.shape[1:], mode="bilinear", align_corners=False)
        threshold = request.threshold if request.threshold is not None else _SHARE * float(enlarged.max())
        return (enlarged[0, 0] > threshold).cpu()

    def result(self) -> Result:
        """Return the table and its pictures."""
        rows: list[Row] = []
        arrays: dict[str, NDArray[Any]] = {}
        for request_number, request in enumerate(self._requests):
            masks = self._masks.get(request_number, {})
            shown = [number for number in request.images if number in masks]
            head = {"tap": request.tap, "unit": request.unit, "images": request.kind} | request.row
            if not shown:
                rows.append(head | dict.fromkeys(("rank", "image", "predicted", "picture", "mask")))
            for rank, number in enumerate(shown):
                picture = f"{self.name}-{request.kind}-{number}"
                mask = f"{self.name}-mask-{request_number}-{number}"
                arrays[picture] = self._images[request.kind][number].permute(1, 2, 0).numpy()
                arrays[mask] = (255 * masks[number].byte()).numpy()
                predicted = self._predicted[request.kind][number]
                place: Row = {"rank": rank, "image": number, "predicted": predicted, "picture": picture, "mask": mask}
                rows.append(head | place | self._describe(head, predicted))
        return Result(self.name, tables={self.name: rows}, arrays=arrays)


def near_mean(values: Tensor) -> Tensor:
    """Return the mean of a map of single pixels over the square around each, a sixteenth of the image's side.

    Pixels beyond the border count as zero.

    Args:
        values: ``[H, W]``.
    """
    side = 2 * (min(values.shape) // 32) + 1
    return F.avg_pool2d(values[None], side, 1, side // 2)[0]


def pictures_of(result: Result, table: str) -> list[Pictures]:
    """Return the pictures of a result, unit by unit, in the table's order.

    Args:
        result: with the table and its arrays.
        table: of :class:`UnitPictures`.
    """
    units: dict[tuple[str, int, str], list[Row]] = {}
    for row in result.tables[table]:
        units.setdefault((row["tap"], row["unit"], row["images"]), []).append(row)
    pictures = []
    for rows in units.values():
        shown = [row for row in rows if row["picture"]]
        if not shown:
            pictures.append(Pictures(rows[0], np.zeros((0, 1, 1, 3), np.uint8), np.zeros((0, 1, 1), bool), ()))
            continue
        images = np.stack([result.arrays[row["picture"]] for row in shown])
        masks = np.stack([result.arrays[row["mask"]] > 0 for row in shown])
        pictures.append(Pictures(rows[0], images, masks, tuple(shown)))
    return pictures
