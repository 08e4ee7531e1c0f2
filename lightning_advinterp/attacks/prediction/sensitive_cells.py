"""Where to attack: the cells of a first perturbation that the margin depends on most (Xu et al. 2019)."""

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.randomness import mix
from lightning_advinterp.explanations.promotion import cell_scores, class_gradients, screened_sensitivity
from lightning_advinterp.metrics.cells import Grid, default_cell
from lightning_advinterp.metrics.promotion import EFFECTS, Effect, cell_effects

_DEFAULT_CELLS = 23**2
"""Cells of an image whose cells have the default share of its side."""


class SensitiveCells:
    """A mask of the cells with the largest |s_i| of an attack's own perturbation, for refined attacks.

    The paper's idea, of which the form is this project's: the attack is made once without a mask, cells are ranked by
    |s_i| = |T_i + S_i|, and the next attack may change the upper ``share`` of them alone. Where the first attack finds
    no second class, nothing is known of the cells, and the whole image may be changed.

    Args:
        attack: the first one.
        share: of the cells that are kept, in (0, 1]; at least one is.
        cell: side of a cell in pixels; left out, :func:`~lightning_advinterp.metrics.cells.default_cell`.
        effect: how a cell is measured.
        screened: rank by gradients, which costs two backward passes instead of forward passes of every cell.
        chunk: the most copies of images in one forward pass.
    """

    def __init__(
        self,
        attack: Attack,
        *,
        share: float = 0.5,
        cell: int | None = None,
        effect: Effect = "symmetric",
        screened: bool = False,
        chunk: int = 64,
    ) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be a share of the cells in (0, 1], got {share}.")
        if effect not in EFFECTS:
            raise ValueError(f"effect must be one of {', '.join(EFFECTS)}, got {effect!r}.")
        self.attack, self.share, self.cell, self.effect = attack, share, cell, effect
        self.screened, self.chunk = screened, chunk

    @property
    def passes(self) -> tuple[int, int]:
        """Those of the first attack and of the default grid's cells; smaller cells cost more."""
        forwards, backwards = self.attack.passes
        if self.screened:
            return forwards + 4, backwards + 4
        cells = (2 if self.effect == "symmetric" else 1) * _DEFAULT_CELLS
        return forwards + cells, backwards

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return the pixels that may be changed, bool ``[B, 1, H, W]``.

        Args:
            network: images to logits.
            images: ``[B, C, H, W]`` in [0, 1].
            labels: int64 ``[B]``, true classes.
            targets: int64 ``[B]``; None: the attack's own rule.
        """
        x_adv = self.attack(network, images, labels, target=targets, keys=content_keys(images))
        if targets is None:
            with torch.no_grad():
                targets = network(x_adv).argmax(1)
        height, width = images.shape[2:]
        grid = Grid(height, width, default_cell(height, width) if self.cell is None else self.cell)
        sensitivity = self._sensitivity(network, images, x_adv, targets, labels, grid).abs()
        count = max(1, round(self.share * len(grid)))
        places = sensitivity.argsort(dim=1, descending=True, stable=True)[:, :count]
        chosen = torch.zeros_like(sensitivity, dtype=torch.bool).scatter_(1, places, True)
        return grid.spread(chosen | (targets == labels)[:, None])[:, None]

    def _sensitivity(
        self, network: nn.Module, x: Tensor, x_adv: Tensor, target: Tensor, true: Tensor, grid: Grid
    ) -> Tensor:
        """Return s_i, ``[B, m]``."""
        place = EFFECTS.index(self.effect)
        if self.screened:
            at_adversarial, at_real = (class_gradients(network, images, (target, true)) for images in (x_adv, x))
            return screened_sensitivity(x_adv - x, at_adversarial, at_real, grid)[:, place]
        scores = cell_scores(network, x, x_adv, target, true, grid, effects=(self.effect,), chunk=self.chunk)
        effects = cell_effects(scores)
        return (effects.promotion + effects.suppression)[:, place, 0]


def content_keys(images: Tensor) -> Tensor:
    """Return keys of random draws that depend on an image's pixels alone, not on its batch, int64 ``[B]``."""
    bits = images.detach().float().contiguous().view(torch.int32).flatten(1).long()
    places = torch.arange(1, bits.shape[1] + 1, device=bits.device)
    return mix((mix(bits.flatten()).view_as(bits) * places).sum(1))
