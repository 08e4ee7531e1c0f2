"""Images that could not be read: remembered over an interruption, and told of by one process."""

import warnings
from typing import Any

from lightning_advinterp.analyses.base.protocol import Observation, Plan
from lightning_advinterp.core.processes import Processes
from lightning_advinterp.core.result import Result
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.networks import Network


def report_bad_images(images: ImageSet, processes: Processes) -> None:
    """Warn of images that were skipped; of several processes the first says what each met in its share."""
    if processes.size == 1:
        images.report_bad_images()
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images.report_bad_images()
    everywhere = processes.gathered([str(warning.message) for warning in caught])
    for message in dict.fromkeys(message for messages in everywhere for message in messages):
        warnings.warn(message, stacklevel=2)


class SkippedImages:
    """Remembers over an interruption which images could not be read; an analysis that looks at none itself.

    Args:
        images: know those of this start.
    """

    name = "skipped"

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self._before: list[str] = []

    @property
    def paths(self) -> list[str]:
        """The images that could not be read."""
        return sorted({*self._before, *self.images.bad_images})

    def bind(self, network: Network) -> Plan:
        """No sweep."""
        return Plan(())

    def update(self, sweep: int, observation: Observation) -> None:
        """Look at nothing."""

    def merge(self, state: dict[str, Any]) -> None:
        """Add another process's images."""
        self._before += state["paths"]

    def state_dict(self) -> dict[str, Any]:
        """Return the images so far."""
        return {"paths": self.paths}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember the images of an earlier start."""
        self._before = list(state["paths"])

    def result(self) -> Result:
        """Return nothing: what is known stands in the provenance."""
        return Result(self.name)
