"""What a network makes of parts of a perturbation: the scores behind promotion and suppression (Xu et al. 2019)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.explanations.explanation import check_count
from lightning_advinterp.explanations.question import asking
from lightning_advinterp.metrics.cells import Grid
from lightning_advinterp.metrics.promotion import LOGITS, CellScores, Effect, class_scores
from lightning_advinterp.networks.modes import frozen_eval


@torch.no_grad()
def cell_scores(
    network: nn.Module,
    x: Tensor,
    x_adv: Tensor,
    target: Tensor,
    true: Tensor,
    grid: Grid,
    *,
    effects: Sequence[Effect] = ("remove", "add"),
    chunk: int = 64,
    logits: tuple[Tensor, Tensor] | None = None,
) -> CellScores:
    """Show a network every image with one cell's perturbation removed, and with it alone.

    A cell costs a forward pass for each of the two; one without perturbation costs none. At most ``chunk`` images are
    made at a time, so that memory does not grow with the number of cells.

    Args:
        network: images to logits; seen in evaluation mode.
        x: x0, ``[B, C, H, W]`` in [0, 1].
        x_adv: x', likewise.
        target: t, int64 ``[B]``.
        true: t0, likewise.
        grid: the cells.
        effects: which of ``remove`` and ``add``; ``symmetric`` means both. The others' scores are NaN.
        chunk: the most images in one pass.
        logits: of ``x`` and ``x_adv``, where they are known already: two forward passes less.
    """
    check_count("chunk", chunk)
    norms = grid.sums((x_adv.double() - x.double()).square().sum(1)).sqrt()
    both = "symmetric" in effects
    with frozen_eval(network):
        logit_pair = (network(x), network(x_adv)) if logits is None else logits
        real, adversarial = (class_scores(z, target, true) for z in logit_pair)
        removed = _by_cell(
            network, x_adv, x, norms > 0, adversarial, (target, true), grid, chunk, both or "remove" in effects
        )
        added = _by_cell(network, x, x_adv, norms > 0, real, (target, true), grid, chunk, both or "add" in effects)
    return CellScores(real, adversarial, removed, added, norms)


def _by_cell(
    network: nn.Module,
    images: Tensor,
    sources: Tensor,
    active: Tensor,
    unchanged: Tensor,
    classes: tuple[Tensor, Tensor],
    grid: Grid,
    chunk: int,
    measured: bool,
) -> Tensor:
    """Return the scores of ``images`` with one cell's pixels taken from ``others``, ``[B, m, 3, 2]``."""
    if not measured:
        return unchanged.new_full((*active.shape, len(LOGITS), 2), torch.nan)
    scores = unchanged[:, None].repeat(1, active.shape[1], 1, 1)
    numbers = grid.numbers(images.device)
    for image, cell in (pairs.unbind(1) for pairs in torch.split(active.nonzero(), chunk)):
        # Taken from the other image: x' − δ_i would not be x0 within the cell to the last bit.
        inside = (numbers == cell[:, None, None])[:, None]
        logits = network(torch.where(inside, sources[image], images[image]))
        scores[image, cell] = class_scores(logits, classes[0][image], classes[1][image])
    return scores


def class_gradients(network: nn.Module, x: Tensor, classes: Sequence[Tensor]) -> list[Tensor]:
    """Return ∂z_c/∂x by pixels in [0, 1] for several classes, ``[B, C, H, W]`` each, from one forward pass.

    Args:
        network: as for :class:`~lightning_advinterp.explanations.explanation.Method`.
        x: ``[B, C, H, W]`` in [0, 1].
        classes: int64 ``[B]`` each.
    """
    keys = sample_keys(torch.arange(len(x), device=x.device))
    gradients = []
    with asking(network, x, classes[0], keys, create_graph=False) as question:
        z = question.leaf()
        logits = question.logits(z)
        for place, target in enumerate(classes):
            score = logits.gather(1, target[:, None])[:, 0]
            (gradient,) = torch.autograd.grad(score.sum(), z, retain_graph=place + 1 < len(classes))
            gradients.append((gradient / question.std).to(x.dtype).detach())
    return gradients


def adversarial_saliency(promoting: Tensor, suppressed: Tensor) -> Tensor:
    """Return ∂z_c · |∂z_c'|, for every value of an image, from both gradients ``[B, C, H, W]``.

    With c the target and c' the true class it is the adversarial saliency map of StrAttack; with both exchanged, which
    is this project's reading, the map of the true class.
    """
    return promoting * suppressed.abs()


def screened_sensitivity(
    delta: Tensor, at_adversarial: Sequence[Tensor], at_real: Sequence[Tensor], grid: Grid
) -> Tensor:
    """Return δ_i·∇(z_t − z_t0), the first order of s_i = T_i + S_i, float64 ``[B, 3, m]`` by ``EFFECTS``.

    It takes gradients at x' for *remove*, at x0 for *add*: two backward passes in place of a forward pass per cell.

    Args:
        delta: ``[B, C, H, W]``.
        at_adversarial: ∂z_t and ∂z_t0 at x'.
        at_real: likewise at x0.
        grid: the cells.
    """
    slopes = [(delta * (target - true)).double().sum(1) for target, true in (at_adversarial, at_real)]
    sensitivity = torch.stack([grid.sums(slope) for slope in slopes], dim=1)
    return torch.cat([sensitivity, sensitivity.mean(1, keepdim=True)], dim=1)
