"""Adversarial training for free (Shafahi et al. 2019): one backward pass moves the weights and the perturbation."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lightning_advinterp.attacks.loop.budget import parse_pixels
from lightning_advinterp.attacks.loop.goal import cross_entropy
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks.modes import BatchNormMode
from lightning_advinterp.objectives.objective import Loss, Objective, accuracy


class Free(Objective):
    """``L(f(clip(x + δ)), y)``, whose own backward pass also gives δ ← clip(δ + step · sign ∇_δ L, ±ε).

    There is one δ per position in the batch. It starts at zero and is carried from one step to the next, also into
    the next batch, as in the authors' code. The idea lives on replays: **set the data module's** ``replays`` **to m**
    (8 on CIFAR-10, 4 on ImageNet in the paper), and divide ``max_epochs`` by m: each batch then comes m times in a
    row, with the same augmentation, and each time both δ and the weights move.

    A step costs 1 forward pass and 1 full backward pass (which goes on to the input), a standard step; so m replays of
    an epoch cost m standard epochs.

    The state is part of the checkpoint, so that a resumed run goes on exactly; it takes the memory of one float batch.
    Several processes keep a δ each, and all resume from the first one's. With gradient accumulation over k steps δ
    moves k times for one move of the weights, which is no longer the paper's algorithm: use a smaller batch.

    Departure: δ starts anew where the images change their size.

    Args:
        eps: ε, a fraction of the [0, 1] range or a string such as "8/255".
        step_size: the step of δ; left out, ε as in the paper.
        bn: ``frozen`` keeps BatchNorm's running statistics; attack and loss are one pass, so that ``train`` and
            ``eval`` are the same.

    Reference:
        Shafahi et al., Adversarial Training for Free!, 2019, Algorithm 1.
    """

    def __init__(
        self, eps: float | str = "8/255", step_size: float | str | None = None, bn: BatchNormMode = "train"
    ) -> None:
        super().__init__(bn)
        self.eps = parse_pixels(eps)
        self.step_size = self.eps if step_size is None else parse_pixels(step_size, "step_size")
        self._delta: Tensor | None = None

    def loss(self, network: nn.Module, batch: Batch, *, epoch: int) -> Loss:
        """One forward pass at x + δ; δ moves when the backward pass reaches it."""
        carried = self._carried(batch.image)
        delta = carried.clone().requires_grad_()

        def ascend(gradient: Tensor) -> None:
            # A loss that overflowed in half precision must not leave NaN behind for all later steps.
            move = gradient.sign().nan_to_num_(0.0)
            carried.add_(move, alpha=self.step_size).clamp_(-self.eps, self.eps)

        delta.register_hook(ascend)  # type: ignore[no-untyped-call]
        logits = network((batch.image + delta).clamp(0, 1))
        total = cross_entropy(logits, batch.label).mean()
        return Loss(total, {"adv_acc": accuracy(logits, batch.label)}, inputs=(delta,))

    def advice(self, replays: int) -> str | None:
        """Name the setting where each batch comes once."""
        if replays > 1:
            return None
        return (
            "The objective is Free, but each batch comes once: set data.init_args.replays (8 in the paper, 4 on "
            "ImageNet) and divide trainer.max_epochs by it."
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return δ, ``[B, C, H, W]``, once there is one."""
        return {} if self._delta is None else {"delta": self._delta}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take δ up."""
        self._delta = state["delta"].clone() if "delta" in state else None

    def _carried(self, image: Tensor) -> Tensor:
        """The part of the state that belongs to this batch's positions: a view, which the step moves."""
        delta = image.new_zeros((0, *image.shape[1:])) if self._delta is None else self._delta.to(image)
        if delta.shape[1:] != image.shape[1:]:
            delta = image.new_zeros((0, *image.shape[1:]))
        missing = len(image) - len(delta)  # the first batch, or one longer than those before
        if missing > 0:
            delta = torch.cat([delta, image.new_zeros((missing, *image.shape[1:]))])
        self._delta = delta
        return delta[: len(image)]
