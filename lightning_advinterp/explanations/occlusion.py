"""Occlusion: what the output loses when a patch is covered."""

from typing import Any

import torch
from torch import Tensor

from lightning_advinterp.explanations.explanation import Method, check_count, share
from lightning_advinterp.explanations.gradients import chunks
from lightning_advinterp.explanations.question import Baseline, Output, Question, check_output


class Occlusion(Method):
    """F_c(x) − F_c(x with a patch covered), averaged over the patches that cover a pixel (Zeiler & Fergus 2014).

    Patches of ``size`` × ``size`` pixels begin at every ``stride``-th pixel, and a last one in each direction ends at
    the border if it does not by itself; all channels are covered at once, and share the value.

    Args:
        size: of a patch, in pixels.
        stride: between patches, at most ``size``.
        baseline: what covers; the mean image by default. A tensor holds pixels in [0, 1].
        output: F.
        chunk: the most images in one pass.
        **common: as in :class:`~lightning_advinterp.explanations.explanation.Method`.
    """

    own_pass = True

    def __init__(
        self,
        *,
        size: int = 16,
        stride: int = 8,
        baseline: Baseline | Tensor = "mean",
        output: Output = "logit",
        chunk: int = 32,
        **common: Any,
    ) -> None:
        super().__init__(**{"name": "occlusion"} | common)
        self.size, self.stride, self.chunk = check_count("size", size), check_count("stride", stride), chunk
        check_count("chunk", chunk)
        if stride > size:
            raise ValueError(f"stride must be at most size={size}, or pixels between patches are never covered.")
        self.baseline, self.output = baseline, check_output(output)

    def map_passes(self, size: int) -> tuple[int, int]:
        """Return a forward pass of the image and of every patch's."""
        return 1 + len(_starts(size, self.size, self.stride)) ** 2, 0

    def signed(self, question: Question) -> Tensor:
        """Return the map, shared by the channels."""
        z = question.z
        with torch.set_grad_enabled(question.create_graph):
            cover = question.baseline(self.baseline).expand_as(z)
            windows = self._windows(z)
            full = question.score(z, self.output)
            total = z.new_zeros(len(z), *z.shape[2:])
            for images, number in chunks(z, len(windows), self.chunk):
                window = windows[number]
                covered = torch.where(window[:, None], cover[images], z[images])
                loss = full[images] - question.score(covered, self.output, question.target[images])
                total = total.index_add(0, images, loss[:, None, None].to(z.dtype) * window)
            return share(total / windows.sum(0), z.shape[1])

    def _windows(self, like: Tensor) -> Tensor:
        """Return the patches as masks, bool ``[n, H, W]``."""
        height, width = like.shape[2:]
        rows, columns = (_starts(length, self.size, self.stride) for length in (height, width))
        masks = torch.zeros(len(rows) * len(columns), height, width, dtype=torch.bool, device=like.device)
        for number, (top, left) in enumerate((top, left) for top in rows for left in columns):
            masks[number, top : top + self.size, left : left + self.size] = True
        return masks


def _starts(length: int, size: int, stride: int) -> list[int]:
    """Return where patches begin along an axis."""
    last = max(length - size, 0)
    return sorted({*range(0, last + 1, stride), last})
