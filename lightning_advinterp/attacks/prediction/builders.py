"""Attacks by name: callables whose keyword arguments are the settings of their type, with its defaults."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import Budget, Eps, parse_pixels
from lightning_advinterp.attacks.loop.noise import RandomSign
from lightning_advinterp.attacks.loop.threat import Norm
from lightning_advinterp.attacks.prediction.apgd import APGD
from lightning_advinterp.attacks.prediction.auto import AutoAttack
from lightning_advinterp.attacks.prediction.fab import FAB
from lightning_advinterp.attacks.prediction.gradient_presets import (
    bim,
    fgsm,
    fgsm_rs,
    mifgsm,
    nfgsm,
    pgd,
    rand_fgsm,
    tifgsm,
    trades,
    transfer,
)
from lightning_advinterp.attacks.prediction.optimization_presets import (
    carlini_wagner,
    elastic_net,
    ensemble,
    optimization,
    targeted_optimization,
)
from lightning_advinterp.attacks.prediction.square import Square
from lightning_advinterp.attacks.prediction.stored import Missing, StoredAttack, StoredPath
from lightning_advinterp.core.registry import class_of_path, entry_of
from lightning_advinterp.core.signatures import Setting, settings_of

DEFAULT_EPS = "4/255"
"""ε of every attack within an L∞ ball that is not told another."""

COMMON = ("label", "target", "bn", "name")
"""What every attack takes."""


@dataclass(frozen=True)
class Builder:
    """How one type of attack is built.

    Attributes:
        build: takes the type's settings by name, then what every attack takes, and the ``budget`` where there is a
            radius. Settings that are left out are its defaults.
        eps: the default ε; None where the type has no radius.
        single: whether it takes one step and no more.
        described: the callable whose signature and docstring say the settings; ``build`` by default.
    """

    build: Callable[..., Attack]
    eps: Eps | None = DEFAULT_EPS
    single: bool = False
    described: Callable[..., Attack] | None = None

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """The type's settings beside the radius, by name: the keyword arguments of ``build``."""
        settings = settings_of(self.described or self.build)
        return {name: setting for name, setting in settings.items() if name not in COMMON}


def _apgd(
    budget: Budget,
    *,
    norm: Norm = "linf",
    steps: int = 100,
    loss: Literal["cross_entropy", "dlr"] = "cross_entropy",
    **common: Any,
) -> Attack:
    """Steps whose size follows their success (Croce & Hein 2020); ``loss`` is ``cross_entropy`` or ``dlr``."""
    return APGD(budget, norm=norm, steps=steps, loss=loss, **common)


def _apgd_t(budget: Budget, *, norm: Norm = "linf", steps: int = 100, **common: Any) -> Attack:
    """APGD towards each of the 9 likeliest other classes, on the targeted DLR (Croce & Hein 2020); needs 4 classes."""
    return APGD(budget, norm=norm, steps=steps, loss="dlr_targeted", **common)


def _fab_t(budget: Budget, *, norm: Norm = "linf", steps: int = 100, **common: Any) -> Attack:
    """Walks along the boundary towards the 9 likeliest other classes (Croce & Hein 2020); unchanged beyond ε."""
    return FAB(budget, norm=norm, steps=steps, **common)


def _square(budget: Budget, *, norm: Norm = "linf", queries: int = 5000, **common: Any) -> Attack:
    """Random search without gradients (Andriushchenko et al. 2020).

    Args:
        budget: the radius.
        norm: ``linf`` or ``l2``.
        queries: forward passes for an image.
        **common: what every attack takes.
    """
    return Square(budget, norm=norm, queries=queries, **common)


def _autoattack(budget: Budget, *, norm: Norm = "linf", steps: int = 100, queries: int = 5000, **common: Any) -> Attack:
    """APGD, APGD-T, FAB-T and Square one after the other, each on what is left (Croce & Hein 2020)."""
    return AutoAttack(budget, norm=norm, steps=steps, queries=queries, **common)


def _stored(
    *,
    path: StoredPath = "",
    missing: Missing = "error",
    target_rank: int | None = None,
    eps: Eps | None = None,
    **common: Any,
) -> Attack:
    """Images that are there already.

    Args:
        path: where they are: a set of ``python -m lightning_advinterp.adversarial``, or a folder of PNG files with the
            images' relative names; ``{data: DIR, concepts: DIR}`` where both are attacked.
        missing: images without a stored one: ``error`` refuses them, ``drop`` leaves them out of all.
        target_rank: which of several targets of a set, 1 the least likely.
        eps: what the images of a plain folder keep to.
        **common: what every attack takes.
    """
    if isinstance(eps, list | tuple):
        raise ValueError(f"eps of a stored attack must be one radius, which no image exceeds, got {eps!r}.")
    radius = None if eps is None else parse_pixels(eps, "eps")
    return StoredAttack(path, missing=missing, rank=target_rank, eps=radius, **common)


def _random_sign(budget: Budget, **common: Any) -> Attack:
    """The control: every pixel moves by ε up or down at random."""
    return RandomSign(budget, **common)


BUILDERS: dict[str, Builder] = {
    "fgsm": Builder(fgsm, single=True),
    "bim": Builder(bim),
    "pgd": Builder(pgd),
    "mifgsm": Builder(mifgsm),
    "tifgsm": Builder(tifgsm),
    "fgsm_rs": Builder(fgsm_rs, single=True),
    "nfgsm": Builder(nfgsm, single=True),
    "rand_fgsm": Builder(rand_fgsm, single=True),
    "trades": Builder(trades),
    "optimization": Builder(optimization, 1.0),
    "targeted_optimization": Builder(targeted_optimization, 1.0),
    "ensemble": Builder(ensemble, 1.0),
    "transfer": Builder(transfer),
    "cw": Builder(carlini_wagner, None),
    "ead": Builder(elastic_net, None),
    "apgd": Builder(_apgd),
    "apgd_t": Builder(_apgd_t),
    "fab_t": Builder(_fab_t),
    "square": Builder(_square),
    "random_sign": Builder(_random_sign, single=True),
    "stored": Builder(_stored, None),
    "autoattack": Builder(_autoattack),
}
"""Every type of attack by its name in a configuration."""


def _builder_of_class(path: str) -> Builder:
    """Return what builds an attack of the user's own: its constructor's arguments are its settings."""
    kind = class_of_path(path, Attack, "attack type")

    def build(**settings: Any) -> Attack:
        try:
            attack: Attack = kind(**settings)
        except TypeError as error:  # an argument that it needs is missing
            raise ValueError(f"attack {path}: {error}") from None
        return attack

    return Builder(build, DEFAULT_EPS if "eps" in settings_of(kind) else None, described=kind)


def builder_of(name: str) -> Builder:
    """Return the builder of a type.

    Raises:
        ValueError: if there is no such type; the nearest is named.
    """
    return _builder_of_class(name) if "." in name else entry_of(name, BUILDERS, "attack type")
