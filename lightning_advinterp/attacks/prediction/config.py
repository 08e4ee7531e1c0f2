"""One attack as YAML, flags and Python say it."""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any, Literal

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import Distribution, Eps, parse_budget
from lightning_advinterp.attacks.loop.goal import LabelRule, TargetRule
from lightning_advinterp.attacks.prediction.builders import BUILDERS, builder_of
from lightning_advinterp.attacks.prediction.ensemble import Combine
from lightning_advinterp.attacks.prediction.listed_targets import with_listed_targets
from lightning_advinterp.attacks.prediction.mask_config import MaskConfig
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.attacks.prediction.transfer import made_on
from lightning_advinterp.core.signatures import Setting, documentation
from lightning_advinterp.core.typed_settings import TypedSettings, with_settings
from lightning_advinterp.networks.modes import BatchNormMode

CALIBRATE: Literal["calibrate"] = "calibrate"
NOT_MADE_ON_OTHERS = ("stored", "random_sign")
"""Types that look at no network."""
WEIGHTED = ("optimization", "targeted_optimization", "ensemble")
"""Types with a weight λ, which an evaluation finds where it is left out."""

_EVERY = ("name", "label", "target", "target_file", "mask")
"""Settings of every attack."""
_RADIUS = ("eps", "eps_distribution")
_ON_OTHERS = ("members", "combine", "beside")


@with_settings(builder.settings for builder in BUILDERS.values())
class AttackConfig(TypedSettings):
    """One attack: its type, and what is said of that type's settings (:mod:`lightning_advinterp.core.typed_settings`).

    What is left out is the type's own default, and what the type has no use for is refused. The settings are the
    keyword arguments of the callables in :mod:`lightning_advinterp.attacks.prediction.builders`, which also say what
    they mean; ``--attack.help TYPE`` prints them. Below stand those of every attack.

    Attributes:
        type: a name in :data:`~lightning_advinterp.attacks.prediction.builders.BUILDERS`, or the class path of an
            attack of your own, such as ``mine.Attack``: the arguments of its constructor are its settings.
        eps: ε, a fraction of the [0, 1] range or a string such as "4/255", which is what left out means for every type
            with an L∞ ball; L2 has no default. [low, high] draws it per sample.
        name: what tables and log keys call it; the type when left out.
        label: the class to move away from: ``true``, ``predicted``, or ``least_likely`` (towards it).
        target: ``least_likely``, ``random`` or a class index makes the attack targeted.
        target_file: a CSV file with each image's own target, in the columns ``image`` (its path below the data's
            folder, or its file's name without the ending) and ``target`` (an output's number, from 0); or the
            ``images.csv`` of the NIPS 2017 competition.
        eps_distribution: how [low, high] is drawn: ``uniform`` or ``truncated_normal``.
        mask: the pixels that an attack along gradients may change, such as ``{type: cam, percentile: 70}`` or
            ``{type: cells, share: 0.3}``.
        members: the networks of an ensemble, and of transfer; any other attack is then made on these instead of the
            network under test.
        beside: make such an attack on the network under test and the members together.
        combine: what is averaged over the members: ``loss`` (the default), ``prob`` or ``logit``.
        options: further arguments of an attack of your own, which may as well stand beside the others.
    """

    type: str = "fgsm"
    eps: Eps | None = None
    name: str | None = None
    label: LabelRule = "true"
    target: TargetRule | int | None = None
    target_file: str | None = None
    eps_distribution: Distribution = "uniform"
    mask: MaskConfig | None = None
    members: tuple[Member, ...] | None = None
    combine: Combine | None = None
    beside: bool | None = None
    options: dict[str, Any] | None = None

    @classmethod
    def takes(cls, kind: str) -> dict[str, Setting]:
        """Return the settings of a type, those of every attack included, by name."""
        builder = builder_of(kind)
        names = _EVERY if builder.eps is None or "eps" in builder.settings else (*_EVERY, *_RADIUS)
        names = (*names, "options") if "." in kind else names
        return {name: _shared()[name] for name in names} | builder.settings

    @classmethod
    def types(cls) -> dict[str, Callable[..., Any]]:
        """Return the callables that build the registered types."""
        return {name: builder.build for name, builder in BUILDERS.items()}

    @property
    def title(self) -> str:
        """What messages call the attack."""
        return f"a {self.type} attack"

    def allowed(self) -> dict[str, Setting]:
        """Return the settings that may stand beside those that are said."""
        takes = self.takes(self.type)
        if not self.members or self.type in NOT_MADE_ON_OTHERS or "members" in takes:
            return takes
        return takes | {name: _shared()[name] for name in _ON_OTHERS}

    def check(self) -> None:
        """Refuse values that the type does not take, by building the attack; what an evaluation adds may be missing."""
        if self.calibrated:
            self.with_weight(1.0)  # which is checked as it is made
        elif self.get("norm") == "l2" and self.eps is None:
            self.changed(eps=1.0)
        else:
            self.create()

    def create(self, bn: BatchNormMode = "eval") -> Attack:
        """Build the attack.

        Args:
            bn: how BatchNorm behaves during the attack.

        Raises:
            ValueError: naming the argument, the value and what was expected.
        """
        attack = self._built(bn)
        attack._config = self
        return attack

    def _built(self, bn: BatchNormMode) -> Attack:
        self._require_complete()
        builder, entries = builder_of(self.type), self.given() | (self.options or {})
        common = {"label": self.label, "target": self.target, "bn": bn, "name": self.label_name}
        settings = {name: value for name, value in entries.items() if name in builder.settings}
        if builder.eps is None or "eps" in builder.settings:
            attack = builder.build(**settings, **common)
        else:
            eps = builder.eps if self.eps is None else self.eps
            budget = parse_budget(eps, self.eps_distribution, most=None if self.get("norm") == "l2" else 1.0)
            attack = builder.build(budget, **settings, **common)
        if self.members and "members" not in builder.settings:
            attack = made_on(attack, self.members, self.combine or "loss", beside=bool(self.beside))
        attack = attack if self.mask is None else attack.masked(self.mask.create(attack))
        if self.target_file is None:
            return attack
        return with_listed_targets(attack, self.target_file, kind=self.type, target=self.target, label=self.label)

    def _require_complete(self) -> None:
        """Refuse a lack of what only an evaluation finds, and steps of a type with a single one."""
        if builder_of(self.type).single and self.get("steps") not in (None, 1):
            raise ValueError(
                f"{self.type} takes a single step, got steps={self.get('steps')}; use bim or pgd for more."
            )
        if self.calibrated:
            raise ValueError(
                f"weight of a {self.type} attack: an evaluation can calibrate it, on images that it does not report "
                f"on; here it must be a number, got {self.get('weight')!r}. Set weight: to the one that an evaluation "
                "found."
            )
        if self.eps is None and self.get("norm") == "l2":
            raise ValueError(
                f"eps of a {self.type} attack in L2 has no default: give it, such as 0.5 for images of 32 px or 3 for "
                "224 px, in units of the [0, 1] range."
            )

    @property
    def calibrated(self) -> bool:
        """Whether the attack has a weight that is to be found on images, and so cannot be created yet."""
        weight = self.get("weight")
        return weight == CALIBRATE or (weight is None and self.type in WEIGHTED)

    def with_weight(self, weight: float) -> "AttackConfig":
        """Return the same attack with λ."""
        return self.changed(weight=weight)


@cache
def _shared() -> dict[str, Setting]:
    """Return the settings that the configuration itself declares."""
    texts = documentation(AttackConfig)
    kinds = {field.name: field.type for field in fields(AttackConfig)}
    return {name: Setting(name, kinds[name], None, texts[name]) for name in (*_EVERY, *_RADIUS, *_ON_OTHERS, "options")}


def config_of(attack: Attack) -> AttackConfig | None:
    """Return the settings that an attack was built from; None where it was built without any."""
    return attack._config if isinstance(attack._config, AttackConfig) else None
