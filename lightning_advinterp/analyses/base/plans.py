"""The plans of the analyses of one network: each analysis is bound to it once."""

from typing import Protocol, runtime_checkable

from lightning_advinterp.analyses.base.protocol import Analysis, Plan
from lightning_advinterp.networks.network import Network


@runtime_checkable
class _Binding(Protocol):
    def bind(self, network: Network) -> Plan: ...


@runtime_checkable
class _Former(Protocol):
    """An analysis written for an earlier version, in which ``needs`` was called several times."""

    def needs(self, network: Network) -> Plan: ...


class Plans:
    """Binds analyses to a network, each at most once, and remembers their plans.

    Share it between what says the cost, what checks and what runs the analyses.

    Args:
        network: that the analyses are asked of.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        # The analysis itself is held too: without it, its id could come back as that of a later analysis.
        self._plans: dict[int, tuple[Analysis, Plan]] = {}

    def of(self, analysis: Analysis) -> Plan:
        """Return the plan of an analysis, which is bound by the first call.

        Raises:
            ValueError: if the analysis has no ``bind``, or one that returns no plan.
        """
        if id(analysis) not in self._plans:
            self._plans[id(analysis)] = analysis, _bound(analysis, self.network)
        return self._plans[id(analysis)][1]


def _bound(analysis: Analysis, network: Network) -> Plan:
    kind = type(analysis)
    path = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(analysis, _Former):
        raise ValueError(
            f"analysis {analysis.name!r}: {path} defines needs(network), which is called no more; rename needs to "
            "bind and Needs to Plan. bind is called once, before the first batch."
        )
    if not isinstance(analysis, _Binding):
        raise ValueError(
            f"analysis {analysis.name!r}: {path} has no bind(network), which returns its Plan: the sweeps over the "
            "data that it wants. Define it."
        )
    plan = analysis.bind(network)
    if not isinstance(plan, Plan):
        raise ValueError(
            f"analysis {analysis.name!r}: {path}.bind must return a Plan, such as Plan((Sweep(),)), got "
            f"{type(plan).__name__}."
        )
    return plan
