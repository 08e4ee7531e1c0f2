"""Which training images a prediction rests on: influence functions of the last layer (Koh & Liang 2017).

Used as an explanation, and attacked, by Ghorbani et al. 2019, Section 2 and 3.
"""

import torch
from torch import Tensor

_LARGEST = 12_000
"""Parameters of a layer whose Hessian is still formed: 1.2 GB in float64."""


def layer_size(classes: int, inputs: int, bias: bool = True) -> int:
    """Return how many parameters a last layer has.

    Raises:
        ValueError: if they are too many for their Hessian.
    """
    size = classes * (inputs + bias)
    if size > _LARGEST:
        raise ValueError(
            f"weight: {classes} classes of {inputs + bias} parameters are {size:,}, whose Hessian is not formed above "
            f"{_LARGEST:,}; retrain a last layer for fewer classes."
        )
    return size


class LastLayerInfluence:
    """Influence of every training image on the loss at a test image, through a linear layer with softmax.

    With ``φ̃ = (φ, 1)``, ``p = softmax(θ φ̃)`` and the cross-entropy L, the gradient at one image is
    ``∇_θ L = (p − e_y) φ̃ᵀ`` and the Hessian of the mean loss ``H = 1/N Σ (diag p − p pᵀ) ⊗ φ̃ φ̃ᵀ``. The influence of
    training image i on test image t is ``I(i, t) = −∇_θ L(t)ᵀ (H + damping·1)⁻¹ ∇_θ L(i)``: to first order N times the
    change of the loss at t when i is given more weight, and −N times its change when i is left out.

    Exact for the layer: nothing is sampled. The softmax leaves H singular (the same vector may be added to the
    weights of all classes), hence ``damping``; it is also the Hessian of a penalty ``damping/2 ‖θ‖²``, with which the
    layer should have been trained for leave-one-out to agree. The authors' code has the other sign and no damping,
    and its layer is one unit trained on squared differences.

    Args:
        features: φ of the training images, ``[N, F]``, the layer's input.
        labels: int64 ``[N]``.
        weight: ``[K, F]``, the trained layer.
        bias: ``[K]``; None for a layer without, for which φ̃ = φ.
        damping: added to the Hessian's diagonal, above 0.

    Raises:
        ValueError: if shapes do not fit, ``damping`` is not above 0, or the layer has more than 12,000 parameters.
    """

    def __init__(
        self, features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None = None, *, damping: float = 0.01
    ) -> None:
        classes, inputs = weight.shape
        if features.dim() != 2 or features.shape[1] != inputs or len(labels) != len(features) or len(features) == 0:
            raise ValueError(
                f"features must be [N, {inputs}], the layer's inputs, with N labels, got {tuple(features.shape)} and "
                f"{tuple(labels.shape)}."
            )
        if not damping > 0:
            raise ValueError(f"damping must be above 0, for the softmax leaves the Hessian singular; got {damping}.")
        self._biased = bias is not None
        size = layer_size(classes, inputs, self._biased)
        theta = weight if bias is None else torch.cat([weight, bias[:, None]], 1)
        self.theta = theta.detach().double()
        self.labels = labels
        self._inputs = self._augmented(features.detach().double())
        self._residuals = self._residual(self._inputs, labels)
        probabilities = (self._inputs @ self.theta.T).softmax(1)
        width = self._inputs.shape[1]
        hessian = self._inputs.new_zeros(classes, width, classes, width)
        for a in range(classes):
            for b in range(a, classes):
                share = probabilities[:, a] * (float(a == b) - probabilities[:, b])
                block = self._inputs.T @ (share[:, None] * self._inputs) / len(features)
                hessian[a, :, b] = hessian[b, :, a] = block
        matrix = hessian.view(size, size)
        matrix.diagonal().add_(damping)
        self._factor: Tensor = torch.linalg.cholesky(matrix)

    def _augmented(self, features: Tensor) -> Tensor:
        """Return φ̃ = (φ, 1), whose last weight is the bias; φ where there is none."""
        return torch.cat([features, torch.ones_like(features[:, :1])], 1) if self._biased else features

    def _residual(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """P − e_y, ``[B, K]``."""
        p = (inputs @ self.theta.to(inputs).T).softmax(1)
        return p - torch.nn.functional.one_hot(labels, len(self.theta)).to(p)

    def logits(self, features: Tensor) -> Tensor:
        """Return the layer's logits ``[B, K]`` of features ``[B, F]``, as part of their graph."""
        return self._augmented(features) @ self.theta.to(features).T

    def influence(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return I(i, t), float64 ``[T, N]``.

        Args:
            features: φ of the test images, ``[T, F]``.
            labels: int64 ``[T]``, the classes whose loss is asked about.
        """
        return self._influence(self._augmented(features.detach().double()), labels)

    def _influence(self, inputs: Tensor, labels: Tensor) -> Tensor:
        gradients = (self._residual(inputs, labels)[:, :, None] * inputs[:, None]).flatten(1)
        solved = torch.cholesky_solve(gradients.T, self._factor).T.view(len(inputs), *self.theta.shape)
        # ∇L(i) is an outer product: contract its two parts one after the other, never forming [N, K, F].
        return -torch.einsum("tkn,nk->tn", solved @ self._inputs.T, self._residuals)

    def length(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return ‖I(·, t)‖₂ over all training images, ``[T]``, as part of the features' graph.

        Args:
            features: φ of the test images, ``[T, F]``.
            labels: int64 ``[T]``.
        """
        length: Tensor = self._influence(self._augmented(features.double()), labels).norm(dim=1)
        return length.to(features.dtype)

    def directions(self, training: Tensor) -> Tensor:
        """Return ``Σ_m H⁻¹ ∇_θ L(i_m)``, float64 ``[T, K, F + 1]`` (F without a bias).

        Args:
            training: int64 ``[T, M]``, the training images i_m of each test image.
        """
        residuals, inputs = self._residuals[training], self._inputs[training]
        gradients = torch.einsum("tmk,tmf->tkf", residuals, inputs).flatten(1)
        return torch.cholesky_solve(gradients.T, self._factor).T.view(len(training), *self.theta.shape)

    def summed(self, features: Tensor, labels: Tensor, directions: Tensor) -> Tensor:
        """Return the summed influence of the images behind ``directions``, ``[T]``, as part of the features' graph.

        Args:
            features: φ of the test images, ``[T, F]``.
            labels: int64 ``[T]``.
            directions: of :meth:`directions`.
        """
        inputs = self._augmented(features)
        return -torch.einsum("tk,tkf,tf->t", self._residual(inputs, labels), directions.to(inputs), inputs)
