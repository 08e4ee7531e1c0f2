"""A network that an attack is made on instead of the one under test."""

from dataclasses import dataclass

from lightning_advinterp.networks.choice import NetworkChoice
from lightning_advinterp.networks.network import Network


@dataclass(frozen=True, repr=False)
class Member(NetworkChoice):
    """One network that an attack is made on instead of the one under test; without weights it has random ones."""

    def __post_init__(self) -> None:
        if (self.network is None) == (self.checkpoint is None):
            raise ValueError(
                "a member needs either network (with weights) or checkpoint, "
                f"got network={self.network!r} and checkpoint={self.checkpoint!r}."
            )
        if self.checkpoint is not None and self.weights is not None:
            raise ValueError(
                f"member {self.checkpoint}: a checkpoint takes no weights; leave weights={self.weights!r} out."
            )
        self.check_network()

    def __repr__(self) -> str:
        """Name the network and what is said of it; sets of adversarial images are told apart by it."""
        settings = {"network": self.network, "weights": self.weights, "checkpoint": self.checkpoint, **self.settings}
        return f"Member({', '.join(f'{name}={value!r}' for name, value in settings.items())})"

    def load(self) -> Network:
        """Return the network."""
        return self.load_network().network
