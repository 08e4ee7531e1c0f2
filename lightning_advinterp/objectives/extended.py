"""Objectives that stand on another one, such as the consistent loss, and add to it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks.compiled import compiled
from lightning_advinterp.networks.modes import BatchNormMode, attack_mode
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.smoothing import smoothed_relu
from lightning_advinterp.objectives.objective import Loss, Objective


class Based(Objective):
    """An objective that stands on another one: what that refuses, advises and remembers is this one's too.

    Attributes:
        base: the other objective; None where this one stands alone.
    """

    base: Objective | None

    def check(self, network: Network) -> None:
        """As of the base."""
        super().check(network)
        if self.base is not None:
            self.base.check(network)

    def check_even_passes(self) -> None:
        """As of the base."""
        super().check_even_passes()
        if self.base is not None:
            self.base.check_even_passes()

    def advice(self, replays: int) -> str | None:
        """As of the base."""
        return None if self.base is None else self.base.advice(replays)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the base's state."""
        return {} if self.base is None else self.base.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the base's state up."""
        if self.base is not None:
            self.base.load_state_dict(state)

    def base_loss(self, network: Network, batch: Batch, *, epoch: int) -> Loss:
        """Return the base's loss, with the same seed."""
        assert self.base is not None
        self.base.seed = self.seed
        return self.base(network, batch, epoch=epoch)


class Extended(Based):
    """Another objective with a term beside it, in which the network is differentiated more than once.

    The term sees the network as an attack does: eager, without dropout, BatchNorm as ``bn`` says, nothing updated.

    Attributes:
        softplus: β of the softplus that stands for relu in the term; None for relu itself.
    """

    softplus: float | None = None

    def check_even_passes(self) -> None:
        """See :class:`~lightning_advinterp.objectives.objective.Objective`; and what the term cannot be taken of."""
        super().check_even_passes()
        if self.bn == "train":
            raise ValueError(
                f"sync_batchnorm: statistics that are shared by processes have no second derivatives, which "
                f"{type(self).__name__} needs; set the objective's bn to eval."
            )

    @contextmanager
    def term_mode(self, network: Network) -> Iterator[None]:
        """The mode in which the term sees the network; see the class."""
        with compiled(network, None), attack_mode(network, self.bn), smoothed_relu(self.softplus):
            yield


def agreed(bn: BatchNormMode | None, base: Objective | None) -> BatchNormMode:
    """Return the one mode of an objective and its base."""
    if bn is not None and base is not None and bn != base.bn:
        raise ValueError(f"bn is {bn} here and {base.bn} in the base: one network has one mode; set it in the base.")
    return bn or ("train" if base is None else base.bn)


def not_negative(argument: str, value: float) -> float:
    """Refuse negative and infinite numbers."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"{argument} must be a finite number, 0 or more, got {value}.")
    return value


def check_beta(softplus: float | None) -> float | None:
    """Refuse what is no β."""
    with smoothed_relu(softplus):
        return softplus
