"""What a network predicts for every single image: for paired comparisons of networks on the same images."""

from collections.abc import Mapping
from typing import Any

from lightning_advinterp.analyses.base.protocol import Needs, Observation, Sweep
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.networks.network import Network


class PredictionsAnalysis:
    """The predicted class of every image, real and under each attack.

    Args:
        attacks: name to attack; every name is an image kind beside ``real``.

    The table ``predictions`` has one row per image, in the data set's order: ``image`` (its number there),
    ``label``, then per kind the predicted class. It holds a few integers per image, and nothing else grows with the
    number of images.
    """

    name = "predictions"

    def __init__(self, attacks: Mapping[str, Attack] | None = None) -> None:
        self.kinds = (REAL, *(attacks or {}))
        self._seen: dict[int, list[int]] = {}

    def needs(self, network: Network) -> Needs:
        """One sweep over real images and every attack's."""
        return Needs((Sweep(kinds=self.kinds),))

    def update(self, sweep: int, seen: Observation) -> None:
        """Note the predictions of one batch."""
        predicted = [seen.logits[kind].argmax(dim=1).tolist() for kind in self.kinds]
        for index, label, *classes in zip(seen.index.tolist(), seen.label.tolist(), *predicted, strict=True):
            self._seen[index] = [label, *classes]

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's images."""
        self._seen |= state["seen"]

    def state_dict(self) -> dict[str, Any]:
        """Return what was noted."""
        return {"seen": dict(self._seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace what was noted."""
        self._seen = dict(state["seen"])

    def result(self) -> Result:
        """Return the table."""
        columns = ("image", "label", *self.kinds)
        rows = [dict(zip(columns, (index, *self._seen[index]), strict=True)) for index in sorted(self._seen)]
        return Result(self.name, tables={"predictions": rows})
