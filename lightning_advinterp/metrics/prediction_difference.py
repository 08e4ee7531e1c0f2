"""Prediction difference: what a unit contributes to the evidence for a class (the idea is Dong et al. 2017's).

The paper traces predictions "via a prediction-difference metric" and prints no formula. The reading here follows
Zintgraf et al. 2017: the evidence for class c with the unit, less the evidence without it,

    PD_i(x, c) = e_c(x) − e_c(x | A_i ← b).

Signs are kept: a positive unit speaks for the class, a negative one against it.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

Form = Literal["probability", "logit", "log_odds"]
"""What evidence is: p_c, z_c, or log₂ p_c/(1 − p_c), in bits."""

FORMS: tuple[Form, ...] = get_args(Form)


def evidence(logits: Tensor, classes: Tensor, form: Form) -> Tensor:
    """Return the evidence for classes, the mean over samples of what replaces a unit.

    Over samples, logits are averaged for ``logit`` and probabilities for the other two, as in Zintgraf et al.; log-odds
    are those of the mean probability. All is computed from log-probabilities in float64: a network that is sure loses
    no digits.

    Args:
        logits: ``[..., S, K]``, S samples; 1 where there is but one replacement.
        classes: int64 ``[M]``.
        form: of evidence.

    Returns:
        float64 ``[..., M]``; log-odds of the only class of a network are not defined: NaN.
    """
    z = logits.double()
    if form == "logit":
        return z[..., classes].mean(dim=-2)
    total, samples = z.logsumexp(dim=-1, keepdim=True), math.log(z.shape[-2])
    log_p = (z - total)[..., classes].logsumexp(dim=-2) - samples
    if form == "probability":
        return log_p.exp()
    if form != "log_odds":
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}.")
    if z.shape[-1] == 1:
        return torch.full_like(log_p, torch.nan)
    other_totals = torch.stack([_without(z, number).logsumexp(dim=-1) for number in classes.tolist()], dim=-1)
    log_q = (other_totals - total).logsumexp(dim=-2) - samples
    return (log_p - log_q) / math.log(2)


def _without(z: Tensor, number: int) -> Tensor:
    return torch.cat([z[..., :number], z[..., number + 1 :]], dim=-1)


def prediction_differences(logits: Tensor, ablated: Tensor, classes: Tensor, form: Form = "probability") -> Tensor:
    """Return the prediction difference of every ablation and class.

    Args:
        logits: ``[K]``, logits with all units.
        ablated: ``[n, S, K]``, logits of n ablations with S samples each of what replaces the units.
        classes: int64 ``[M]``.
        form: of evidence.

    Returns:
        float64 ``[n, M]``; a unit whose ablation changes no logit has 0.
    """
    difference = evidence(logits[None], classes, form) - evidence(ablated, classes, form)
    # Means over samples round differently from single values: what changed nothing has no difference.
    unchanged = (ablated == logits).all(dim=-1).all(dim=-1)
    return difference.masked_fill(unchanged[:, None] & ~difference.isnan(), 0.0)


def strongest(differences: Tensor, count: int) -> Tensor:
    """Return the units that speak most for each class, int64 ``[M, count]``; of equal ones the first.

    Args:
        differences: ``[U, M]``; NaN comes last.
        count: how many; all, where there are fewer.
    """
    ordered = differences.nan_to_num(nan=-torch.inf).sort(dim=0, descending=True, stable=True).indices
    return ordered[:count].T


def recall(exact: Tensor, screened: Tensor, count: int) -> float:
    """Return which share of the units that really are the strongest a screening has kept.

    Args:
        exact: ``[U]``, all differences.
        screened: int64 ``[n]``, the units that a screening kept.
        count: how many are the strongest.
    """
    best = set(strongest(exact[:, None], count)[0].tolist())
    return len(best & set(screened.tolist())) / len(best)
