"""Ablation of units in a basis: of the layer's output only the part that they make is exchanged."""

from torch import Tensor

from lightning_advinterp.networks.behind import Behind
from lightning_advinterp.units.ablation import Ablation
from lightning_advinterp.units.bases import Basis
from lightning_advinterp.units.spaces import UnitLayer


class BasisAblation(Ablation):
    """Computes what a network says where units in a basis have other values.

    The layer's output x becomes ``x + r(z') − r(z)``: z are its values, z' those with the units replaced, r the basis'
    reconstruction. So what the basis does not explain of x stays. For :meth:`first_order` the gradient is that of z'.

    Args:
        behind: the rest of the network.
        unit: the layer.
        basis: that it is read in.
    """

    def __init__(self, behind: Behind, unit: UnitLayer, basis: Basis) -> None:
        super().__init__(behind, unit.layout, closed=False)
        self.unit, self.basis = unit, basis

    def values(self, activation: Tensor) -> Tensor:
        """Return the latents' values of one image, in the form of the layer's output."""
        return self.unit.values(activation[None])[0]

    def outputs(self, activation: Tensor, values: Tensor) -> Tensor:
        """Return what the layer returns where latents have other values, ``[n, ...]``; see :class:`Ablation`."""
        rows = activation.movedim(self._axis, -1)
        before = self.basis.reconstruct(rows, self.basis.encode(rows))
        after = self.basis.reconstruct(rows, values.movedim(self._axis + 1, -1))
        return activation + (after - before).movedim(-1, self._axis + 1)


def ablation_of(behind: Behind, unit: UnitLayer) -> Ablation:
    """Return what ablates a layer's units, in its basis if it has one."""
    return Ablation(behind, unit.layout) if unit.basis is None else BasisAblation(behind, unit, unit.basis)
