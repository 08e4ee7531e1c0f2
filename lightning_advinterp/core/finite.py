"""Outputs that are no numbers: NaN has no class, no distance and no map, yet every table would print a value for it."""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.trust import current_trust

_SHOWN = 5

logger = logging.getLogger(__name__)


class FiniteOutputs:
    """Looks at what a network returns, batch by batch, and stops at the first value that is no number.

    Where the user asked for such weights (see :class:`~lightning_advinterp.core.trust.Trust`), and where ``stop`` is
    False, it counts the images and warns.

    Args:
        stop: raise an error.

    Attributes:
        counts: of images, by what was no number.
    """

    def __init__(self, *, stop: bool = True) -> None:
        self._stop, self.counts = stop, dict[str, int]()

    def check(self, outputs: Mapping[str, Tensor], index: Tensor, logits: Mapping[str, Tensor] | None = None) -> None:
        """Look at one batch; the host waits for the device once.

        Args:
            outputs: what the values are, such as ``pixels of fgsm images``, to the values ``[B, …]``.
            index: the images' numbers, int64 ``[B]``.
            logits: the same for log-probabilities ``[B, K]``, of which some may be −∞: a class that is ruled out.

        Raises:
            RunStoppedError: naming the values and the images.
        """
        if not len(index):
            return
        # Extremes take no memory, unlike a mask, and are NaN where any value is.
        extremes = {name: torch.stack(value.detach().aminmax()) for name, value in outputs.items()}
        extremes |= {name: value.detach().amax(1) for name, value in (logits or {}).items()}
        if not extremes or bool(torch.stack([value.float().sum() for value in extremes.values()]).isfinite().all()):
            return
        highest = {name: value.float().amax(1) for name, value in (logits or {}).items()}  # the cause comes first
        highest |= {name: value.flatten(1).float().abs().amax(1) for name, value in outputs.items()}
        for name, value in highest.items():
            bad = ~value.isfinite()
            if bool(bad.any()):
                self._report(name, index.to(bad.device)[bad].tolist())

    def _report(self, name: str, images: list[int]) -> None:
        if self._stop and current_trust().on_bad_weights == "error":
            dots = f", … ({len(images)} of the batch)" if len(images) > _SHOWN else ""
            raise RunStoppedError(
                f"the {name} are NaN or infinite for image {', '.join(map(str, images[:_SHOWN]))}{dots}: the weights "
                "are damaged, diverged, or not made for this architecture, input size or precision. Take another "
                "checkpoint; --on_bad_weights use counts such images and goes on."
            )
        if name not in self.counts:
            logger.warning("The %s are NaN or infinite for some images, such as image %d.", name, images[0])
        self.counts[name] = self.counts.get(name, 0) + len(images)

    def merge(self, counts: Sequence[Mapping[str, int]]) -> None:
        """Replace the counts by the sums of all processes' own, this one's among them."""
        names = dict.fromkeys(name for share in counts for name in share)
        self.counts = {name: sum(share.get(name, 0) for share in counts) for name in names}

    def close(self) -> None:
        """Say how many images there were."""
        for name, count in self.counts.items():
            logger.warning("%d images in all had %s that are NaN or infinite.", count, name)
        self.counts.clear()
