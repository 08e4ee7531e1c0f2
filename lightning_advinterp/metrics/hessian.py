"""How strongly a scalar function of an image bends: Hessian-vector products, eigenvalues, curvature of level sets.

Nothing here forms a Hessian. A network of ReLU has the Hessian 0 almost everywhere; call these inside
:func:`~lightning_advinterp.networks.smoothing.smoothed_relu`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_advinterp.core.randomness import mix, normal
from lightning_advinterp.networks.attention import twice_differentiable_attention

Score = Callable[[Tensor], Tensor]
"""Images ``[B, C, H, W]`` to numbers ``[B]``, image by image and twice differentiable."""

Product = Callable[[Tensor], Tensor]
"""Vectors ``[B, D]`` to the products with each image's symmetric matrix, ``[B, D]``."""

_START, _PROBES = 0x6C616E63, 0x70726F62  # "lanc", "prob"


class Hessian:
    """The Hessian of a score at each image of a batch, as a product with vectors.

    The gradient's graph is made once (a forward and a backward pass) and kept; each product is a backward pass
    through it.

    Args:
        score: the function.
        x: images ``[B, C, H, W]``.
        create_graph: make the products differentiable with respect to the parameters, for training objectives. The
            third derivative of batch statistics needs
            :func:`~lightning_advinterp.networks.batch_norm.composed_batch_norm`.

    Attributes:
        value: the score, ``[B]``.
        gradient: ∇ of the score, ``[B, D]`` with D = C·H·W.
    """

    def __init__(self, score: Score, x: Tensor, *, create_graph: bool = False) -> None:
        self._create_graph = create_graph
        self._x = x.detach().clone().requires_grad_()
        with torch.enable_grad(), twice_differentiable_attention():
            value = score(self._x)
            gradient: Tensor | None = None
            if value.requires_grad:
                (gradient,) = torch.autograd.grad(value.sum(), self._x, create_graph=True, allow_unused=True)
        if gradient is None:
            raise ValueError(
                "the score has no gradient with respect to the image, and so no curvature: the network works under "
                "no_grad, detaches or quantises on the way, or does not look at the image."
            )
        self._gradient = gradient
        self.value = value.detach()
        self.gradient = self._gradient.detach().flatten(1)

    def __call__(self, v: Tensor) -> Tensor:
        """Return H·v, ``[B, D]``."""
        if not self._gradient.requires_grad:  # a linear score
            return torch.zeros_like(v)
        inner = (self._gradient * v.view_as(self._gradient)).sum()
        product: Tensor | None
        (product,) = torch.autograd.grad(
            inner, self._x, retain_graph=True, create_graph=self._create_graph, allow_unused=True
        )
        return torch.zeros_like(v) if product is None else product.flatten(1)

    def level_set(self) -> Product:
        """Return the product with the shape operator of the level set, ``S = P H P / ‖∇‖`` with ``P = 1 − n nᵀ``.

        Its eigenvalues across n are the principal curvatures of {score = const} (up to the sign of the normal).
        """
        length = self.gradient.norm(dim=1, keepdim=True)
        n = self.gradient / length.clamp(min=torch.finfo(length.dtype).tiny)

        def project(v: Tensor) -> Tensor:
            along: Tensor = (v * n).sum(1, keepdim=True) * n
            return v - along

        return lambda v: project(self(project(v))) / length.clamp(min=torch.finfo(length.dtype).tiny)


@dataclass(frozen=True)
class Extreme:
    """An eigenvalue of largest magnitude.

    Attributes:
        value: ``[B]``, with its sign.
        vector: ``[B, D]``, of length 1.
        residual: ``[B]``, ‖A v − λ v‖: an eigenvalue of A lies within so much of λ.
    """

    value: Tensor
    vector: Tensor
    residual: Tensor


def largest_eigenvalue(product: Product, like: Tensor, keys: Tensor, *, steps: int = 30) -> Extreme:
    """Return the eigenvalue of largest magnitude by Lanczos' method, with full reorthogonalisation.

    (Power iteration stalls where λ and −λ are both eigenvalues.) Costs ``steps + 1`` products.

    Args:
        product: with a symmetric matrix for every sample.
        like: ``[B, D]``, gives shape, type and device.
        keys: int64 ``[B]``, where the start vectors come from.
        steps: dimension of the Krylov space, at most D.
    """
    steps = min(steps, like.shape[1])
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}.")
    start = normal(keys, like.shape[1:], stream=_START).to(like)
    basis = [start / start.norm(dim=1, keepdim=True)]
    diagonal, beside = [], []
    tiny = torch.finfo(like.dtype).eps
    for step in range(steps):
        w = product(basis[-1])
        diagonal.append((w * basis[-1]).sum(1))
        space = torch.stack(basis, 1)
        for _ in range(2):  # once is not enough in floating point
            w = w - torch.einsum("bk,bkd->bd", torch.einsum("bkd,bd->bk", space, w), space)
        if step + 1 == steps:
            break
        length = w.norm(dim=1)
        scale = torch.stack(diagonal, 1).abs().amax(1)
        done = length <= 100 * tiny * scale.clamp(min=torch.finfo(like.dtype).tiny)
        beside.append(torch.where(done, 0.0, length))  # an invariant space is complete: what follows is another block
        fresh = normal(mix(keys, step), like.shape[1:], stream=_START).to(like)
        fresh = fresh - torch.einsum("bk,bkd->bd", torch.einsum("bkd,bd->bk", space, fresh), space)
        w = torch.where(done[:, None], fresh, w)
        basis.append(w / w.norm(dim=1, keepdim=True).clamp(min=torch.finfo(like.dtype).tiny))
    matrix = torch.diag_embed(torch.stack(diagonal, 1).double())
    if beside:
        off = torch.stack(beside, 1).double()
        matrix = matrix + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    values, vectors = torch.linalg.eigh(matrix)
    which = values.abs().argmax(1)
    value = values.gather(1, which[:, None]).squeeze(1).to(like)
    coefficients = vectors.gather(2, which[:, None, None].expand(-1, vectors.shape[1], 1)).squeeze(2).to(like)
    vector = torch.einsum("bk,bkd->bd", coefficients, torch.stack(basis, 1))
    vector = vector / vector.norm(dim=1, keepdim=True)
    residual = (product(vector) - value[:, None] * vector).norm(dim=1)
    return Extreme(value, vector, residual)


def frobenius_norm(product: Product, like: Tensor, keys: Tensor, *, probes: int = 64) -> tuple[Tensor, Tensor]:
    """Estimate ‖A‖_F from random probes, ``‖A‖²_F = E ‖A v‖²`` for v ~ N(0, 1).

    Args:
        product: with a symmetric matrix for every sample.
        like: ``[B, D]``, gives shape, type and device.
        keys: int64 ``[B]``, where the probes come from.
        probes: products; at rank one the relative standard error of ‖A‖_F is 1/√(2·probes), 9 % for 64.

    Returns:
        The norm ``[B]`` and its standard error ``[B]`` (of the square, by the delta method).
    """
    if probes < 2:
        raise ValueError(f"probes must be 2 or more, for there to be a standard error, got {probes}.")
    squares = _probed_squares(product, like, keys, probes).double()
    mean, spread = squares.mean(0), squares.std(0) / math.sqrt(probes)
    norm = mean.sqrt()
    return norm, torch.where(norm > 0, spread / (2 * norm), 0.0)


def squared_frobenius_norm(product: Product, like: Tensor, keys: Tensor, *, probes: int = 1) -> Tensor:
    """Estimate ‖A‖²_F without bias from few random probes, for training objectives: the mean of ‖A v‖², v ~ N(0, 1).

    Arguments as for :func:`frobenius_norm`, of which this is the square; one probe will do. Differentiable if the
    product is.

    Returns:
        ``[B]``.
    """
    if probes < 1:
        raise ValueError(f"probes must be 1 or more, got {probes}.")
    return _probed_squares(product, like, keys, probes).mean(0)


def _probed_squares(product: Product, like: Tensor, keys: Tensor, probes: int) -> Tensor:
    """‖A v‖² of every probe v ~ N(0, 1), ``[P, B]``."""
    draws = (normal(mix(keys, probe), like.shape[1:], stream=_PROBES).to(like) for probe in range(probes))
    return torch.stack([product(v).square().sum(1) for v in draws])


def smoothgrad_sigma(beta: float) -> float:
    """Return the σ of SmoothGrad that smooths a ReLU as softplus_β does, σ = ln 2·√(2π)/β, in pre-activation units.

    With it Gaussian-smoothed ReLU equals softplus_β at 0 (Dombrowski et al. 2019, Theorem 2, for the shape).
    """
    if not beta > 0:
        raise ValueError(f"beta must be above 0, got {beta}.")
    return math.log(2) * math.sqrt(2 * math.pi) / beta
