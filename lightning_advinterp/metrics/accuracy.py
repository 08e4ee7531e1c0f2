"""Top-k hits."""

import torch
from torch import Tensor


def top_k_hits(logits: Tensor, label: Tensor, k: int) -> Tensor:
    """Whether the label is among the k largest logits.

    Args:
        logits: ``[B, K]``.
        label: int64 ``[B]``.
        k: how many; K or more always hits.

    Returns:
        bool ``[B]``. A NaN among the logits never hits.
    """
    best = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (best == label[:, None]).any(dim=1) & ~torch.isnan(logits).any(dim=1)
