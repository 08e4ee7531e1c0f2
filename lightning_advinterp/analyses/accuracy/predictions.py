"""What a network predicts for every single image: for paired comparisons of networks on the same images."""

from collections.abc import Mapping

from lightning_advinterp.analyses.base.protocol import Observation, Plan, Sweep
from lightning_advinterp.analyses.base.states import Summed
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.networks.network import Network


class PredictionsAnalysis(Summed):
    """The predicted class of every image, real and under each attack.

    Args:
        attacks: name to attack; every name is an image kind beside ``real``.

    The table ``predictions`` has one row per image, in the data set's order: ``image`` (its number there),
    ``label``, then per kind the predicted class. It holds a few integers per image, and nothing else grows with the
    number of images.
    """

    name = "predictions"
    summed = ("seen",)

    def __init__(self, attacks: Mapping[str, Attack] | None = None) -> None:
        self.kinds = (REAL, *(attacks or {}))
        self.seen: dict[int, list[int]] = {}

    def bind(self, network: Network) -> Plan:
        """One sweep over real images and every attack's."""
        return Plan((Sweep(kinds=self.kinds),))

    def update(self, sweep: int, observation: Observation) -> None:
        """Note the predictions of one batch."""
        predicted = [observation.logits[kind].argmax(dim=1).tolist() for kind in self.kinds]
        for index, label, *classes in zip(
            observation.index.tolist(), observation.label.tolist(), *predicted, strict=True
        ):
            self.seen[index] = [label, *classes]

    def result(self) -> Result:
        """Return the table."""
        columns = ("image", "label", *self.kinds)
        rows = [dict(zip(columns, (index, *self.seen[index]), strict=True)) for index in sorted(self.seen)]
        return Result(self.name, tables={"predictions": rows})
