"""Attacks made on other networks than the one that is shown their images."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn

from lightning_advinterp.attacks.loop.attack import Attack, AttackResult
from lightning_advinterp.attacks.loop.goal import Goal
from lightning_advinterp.attacks.loop.gradient import GradientAttack
from lightning_advinterp.attacks.prediction.ensemble import Combine, Ensemble, check_ensemble
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.networks import weights_hash
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.same_outputs import require_same_outputs
from lightning_advinterp.networks.trial import try_network


def source_of(network: Network) -> dict[str, Any]:
    """Return what tells a network that images are made for from others."""
    return {"network": network.name, "weights_sha256": weights_hash(network)}


def origin_of(sources: Sequence[Mapping[str, Any]], network: Network) -> dict[str, Any]:
    """Return whether images that were made for some networks are made for this one, and which they are."""
    if len(sources) > 1:
        kind = "ensemble"
    else:
        same_network = [source["weights_sha256"] for source in sources] == [weights_hash(network)]
        kind = "this network" if same_network else "another network"
    return {"made_for": kind, "sources": [dict(source) for source in sources]}


class TransferAttack(Attack):
    """An attack on one or more source networks, whose images any network can be shown (Papernot et al. 2016).

    The network that the attack is called with is not looked at, unless the class question is about its prediction
    (:meth:`~lightning_advinterp.attacks.loop.attack.Attack.aim`). ``success`` is success against the sources.

    Args:
        inner: the attack made on the sources, with the loss ``negative_log``.
        members: networks, or how to load them; they are loaded when first needed.
        beside: whether the attacked network is a member too.
        weights: shares of the members, see :class:`~lightning_advinterp.attacks.prediction.ensemble.Ensemble`.
        combine: what is averaged, likewise.
        **common: as in :class:`~lightning_advinterp.attacks.loop.attack.Attack`.
    """

    def __init__(
        self,
        inner: Attack,
        members: Sequence[Network | Member],
        *,
        beside: bool = False,
        weights: Sequence[float] | None = None,
        combine: Combine = "loss",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        check_ensemble(len(members), weights, combine)
        if beside and weights is not None:
            raise ValueError("weights: beside the attacked network all members have equal shares; leave them out.")
        self.beside = beside
        self.inner, self.members, self.weights, self.combine = inner, tuple(members), weights, combine
        self._ensemble: Ensemble | None = None

    @property
    def ensemble(self) -> Ensemble:
        """The members together, loaded at the first use."""
        if self._ensemble is None:
            networks = [member if isinstance(member, Network) else member.load() for member in self.members]
            self._ensemble = Ensemble(networks, self.weights, self.combine)
        return self._ensemble

    def check_network(self, network: Network) -> None:
        """Load the members, and refuse those of other classes, or that do not take images of their own size."""
        super().check_network(network)
        for number, member in enumerate(self.ensemble.members):
            assert isinstance(member, Network)
            what = f"members[{number}] ({member.origin.weights or member.name})"
            if member.num_classes != network.num_classes:
                raise ValueError(
                    f"{what} has {member.num_classes} outputs, the attacked network {network.num_classes}; take "
                    "members of the same classes."
                )
            require_same_outputs(
                member.origin, network.origin, f"{what} and the attacked network", "take members of its classes"
            )
            try_network(member, member.input_size, remedy=f"Give {what} the input_size that it takes.")

    def made_for(self, network: Network) -> dict[str, Any]:
        """Return which networks the images are made for: one other, or an ensemble."""
        return origin_of([*([source_of(network)] if self.beside else []), *self.sources], network)

    @property
    def sources(self) -> list[dict[str, Any]]:
        """The members by their names and the hashes of their weights."""
        return [source_of(member) for member in self.ensemble.members if isinstance(member, Network)]

    @property
    def takes_mask(self) -> bool:
        """Whether the attack on the sources does."""
        return self.inner.takes_mask

    @property
    def eps(self) -> float | None:
        """The radius, where it is smaller than the box."""
        return self.inner.eps

    @property
    def eps_low(self) -> float | None:
        """The smallest radius that is drawn; the largest where all are alike."""
        return self.inner.eps_low

    @property
    def eps_norm(self) -> str | None:
        """The ball's norm."""
        return self.inner.eps_norm

    @property
    def passes(self) -> tuple[int, int]:
        """Those of the attack, by every member."""
        forwards, backwards = self.inner.passes
        networks = len(self.members) + self.beside
        return networks * forwards, networks * backwards

    @property
    def iterations(self) -> int:
        """The number of steps."""
        return self.inner.iterations

    def search(self, network: nn.Module, x: Tensor, goal: Goal, keys: Tensor, *, finish: bool) -> AttackResult:
        """Attack the sources."""
        self.ensemble.to(x.device)
        sources = self.ensemble
        if self.beside:
            if not isinstance(network, Network):
                raise ValueError(
                    f"{self.name}: beside needs a network of create_network, got {type(network).__name__}."
                )
            members = [member for member in self.ensemble.members if isinstance(member, Network)]
            sources = Ensemble([network, *members], None, self.combine)
        with frozen_eval(self.ensemble):
            return self.inner.search(sources, x, goal, keys, finish=finish)

    def weighted(self, weight: float) -> Self:
        """Return the same attack with another λ; the members are shared."""
        inner = self.inner.weighted(weight)
        members = self.ensemble  # loaded here, so that all copies share them
        copied = copy.copy(self)
        copied._ensemble, copied.inner = members, inner
        return copied


def made_on(inner: Attack, members: Sequence[Network | Member], combine: Combine, *, beside: bool) -> TransferAttack:
    """Return an attack made on other networks, which are asked for the same loss of their joint answer.

    Args:
        inner: the attack, whose class question stays as it is.
        members: the networks.
        combine: what is averaged over them.
        beside: whether the attacked network is one more of them.
    """
    if isinstance(inner, GradientAttack) and inner.loss == "cross_entropy":
        inner = copy.copy(inner)
        inner.loss = "negative_log"  # an ensemble answers with log-probabilities, or means of these
    question: dict[str, Any] = {"label": inner.label, "target": inner.target, "bn": inner.bn, "name": inner.name}
    return TransferAttack(inner, members, beside=beside, combine=combine, **question)
