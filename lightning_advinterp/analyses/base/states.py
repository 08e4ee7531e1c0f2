"""The state of an analysis; see :mod:`lightning_advinterp.core.states`."""

from lightning_advinterp.core.states import Part, Summed

__all__ = ["Part", "Summed"]
