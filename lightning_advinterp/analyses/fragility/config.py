"""What fragility measures: which explanations, under which attacks, at which radii; and the papers' settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lightning_advinterp.attacks.explanation.config import ExplanationAttackConfig
from lightning_advinterp.attacks.explanation.presets import EXPLANATION_ATTACKS
from lightning_advinterp.attacks.loop.budget import Eps, parse_budget
from lightning_advinterp.core.settings import require_least
from lightning_advinterp.core.typed_lists import typed_list
from lightning_advinterp.explanations import PAPERS, ExplanationConfig

Preset = Literal["short", "recommended", "quick", "ghorbani2019", "dombrowski2019"]
SWEEP: tuple[Eps, ...] = ("1/255", "2/255", "4/255", "8/255")
"""ε of Ghorbani et al. 2019."""

SHORT_SWEEP: tuple[Eps, ...] = ("2/255", "8/255")
"""A small and a large radius of these."""

METHODS: dict[str, tuple[ExplanationConfig, ...]] = PAPERS | {
    "recommended": (
        ExplanationConfig("gradient"),
        ExplanationConfig("integrated_gradients", steps=10, recompute=True),
        ExplanationConfig("deeplift"),
        ExplanationConfig("lrp"),
    ),
    # Integrated gradients of n points cost n times as much as a gradient, three quarters of all in the next preset.
    "short": (ExplanationConfig("gradient"), ExplanationConfig("deeplift"), ExplanationConfig("lrp")),
    "quick": (ExplanationConfig("gradient"), ExplanationConfig("integrated_gradients", steps=8)),
}
"""The presets' explanations."""

ATTACKS: dict[str, tuple[ExplanationAttackConfig, ...]] = EXPLANATION_ATTACKS | {
    "recommended": tuple(
        ExplanationAttackConfig(kind, steps=20) for kind in ("random_sign", "topk", "mass_centre", "target_region")
    ),
    "short": tuple(ExplanationAttackConfig(kind, steps=10) for kind in ("random_sign", "topk", "mass_centre")),
    "quick": tuple(ExplanationAttackConfig(kind, steps=10) for kind in ("random_sign", "topk", "mass_centre")),
}
"""The presets' attacks."""

DOMBROWSKI: dict[str, tuple[int, float]] = {
    "gradient": (1500, 1e-3),
    "gradient_times_input": (1500, 1e-3),
    "integrated_gradients": (500, 5e-3),
    "guided_backprop": (1500, 1e-3),
    "lrp": (1500, 2e-4),
    "pattern_attribution": (1500, 2e-3),
}
"""Steps and Adam's step size, in normalised units, of every method in Dombrowski et al. 2019."""
_STD = 0.225
"""Mean standard deviation of ImageNet's channels: 1 normalised unit in pixels of the [0, 1] range."""

_ALIKE = ("short", "recommended", "quick")
"""Presets whose attacks all have the same steps, and reach the ball's surface."""


@dataclass(frozen=True)
class Case:
    """One cell of the table: an attack on one method at one radius.

    Attributes:
        method: the method's name.
        attack: settings of the attack, its ``eps`` included.
        eps: the radius, a fraction of the [0, 1] range.
    """

    method: str
    attack: ExplanationAttackConfig
    eps: float

    @property
    def attacked(self) -> str:
        """The method whose maps the attack changes."""
        return self.attack.of or self.method


@dataclass(frozen=True)
class FragilityConfig:
    """What is measured of every image.

    Attributes:
        preset: where methods, attacks and radii come from that are left out: ``short``, minutes on two cores of a CPU;
            ``recommended``, with integrated gradients, twice the radii and steps and one attack more; ``quick``, for
            epochs of a training; or the settings of the codes of ``ghorbani2019`` or ``dombrowski2019``.
        methods: explanations: names, settings of one, or a list of these.
        patterns: a file written by ``learn_patterns(…).save(FILE)``, which adds ``pattern_attribution`` to the
            explanations (of networks of relu): the sixth method of ``dombrowski2019``.
        pattern_images: where there is no such file, it is learnt from so many images of the data and written; 0: the
            file must be there.
        attacks: attacks on them, likewise. A ``target_map`` without a target aims at the maps of other images.
        eps: radii; attacks with an ``eps`` of their own in ``attacks`` have that one alone, and ``target_map`` has the
            box alone unless it says otherwise. Left out: the preset's, 2/255 and 8/255 in ``short``, else 1/255,
            2/255, 4/255 and 8/255.
        steps: steps of every attack, in place of its own; a ``random_sign`` of one step keeps that. Attacks by signs
            that do not say their ``step_size`` then take 2.5 ε/steps, so that they reach the ball's surface.
        k: places of the top-k intersection: 1,000; 100 below 100 × 100 pixels, a tenth below 1,000 places.
        faithfulness: steps of the deletion and insertion curves; 0 for none.
        pool: so many other images give the reference levels and the target maps, 2 or more.
        show: images in the figures.
        limit: number of images.
        batch_size: images at a time.
        seconds: no further images are taken when these would be used up, on every process; the first one always is;
            null for no limit.
        seed: of the attacks' random numbers and of the choice of other images.
    """

    preset: Preset = "short"
    methods: ExplanationConfig | tuple[ExplanationConfig | str, ...] | str | None = None
    patterns: str | None = None
    pattern_images: int = 0
    attacks: ExplanationAttackConfig | tuple[ExplanationAttackConfig | str, ...] | str | None = None
    eps: tuple[Eps, ...] | float | str | None = None
    steps: int | None = None
    k: int | None = None
    faithfulness: int = 16
    pool: int = 4
    show: int = 2
    limit: int = 12
    batch_size: int = 8
    seconds: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.preset not in get_args(Preset):
            raise ValueError(f"preset must be one of {', '.join(get_args(Preset))}, got {self.preset!r}.")
        least = {"limit": 1, "batch_size": 1, "pool": 2, "show": 0, "faithfulness": 0, "steps": 1, "k": 1}
        least["pattern_images"] = 0
        require_least(self, least)
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds must be above 0, or null for no limit, got {self.seconds}.")
        if self.pattern_images and self.patterns is None:
            raise ValueError(f"pattern_images={self.pattern_images} learns a file of patterns; say which, by patterns.")
        kinds = {"methods": ExplanationConfig, "attacks": ExplanationAttackConfig}
        for argument, kind in kinds.items():
            if getattr(self, argument) is not None:
                object.__setattr__(self, argument, typed_list(kind, getattr(self, argument), argument))
        if isinstance(self.eps, float | int | str):
            object.__setattr__(self, "eps", (self.eps,))
        for argument in ("methods", "attacks", "eps"):
            values = vars(self)[argument]
            if values is not None and len(values) == 0:
                raise ValueError(f"{argument}: expected at least one, or null for the preset's.")
        names = [attack.label_name for attack in self.chosen_attacks()]
        if len(set(names)) < len(names):
            raise ValueError(f"attacks: every attack needs a name of its own, got {names}; set name: in each.")
        method_names = [method.label_name for method in self.chosen_methods()]
        for attack in self.chosen_attacks():
            if attack.of is not None and attack.of not in method_names:
                raise ValueError(
                    f"attacks: of must name one of the methods {', '.join(method_names)}, got {attack.of!r}."
                )
        for eps in self._radii():
            parse_budget(eps)

    def _radii(self) -> tuple[Eps, ...]:
        return (self.eps,) if isinstance(self.eps, float | str) else self.eps or ()

    def chosen_methods(self) -> tuple[ExplanationConfig, ...]:
        """Return the explanations."""
        methods = (
            METHODS[self.preset] if self.methods is None else typed_list(ExplanationConfig, self.methods, "methods")
        )
        if self.patterns is None:
            return methods
        return (*methods, ExplanationConfig("pattern_attribution", patterns=self.patterns))

    def chosen_attacks(self) -> tuple[ExplanationAttackConfig, ...]:
        """Return the attacks; their ``eps`` is None where the sweep holds."""
        if self.attacks is not None:
            return typed_list(ExplanationAttackConfig, self.attacks, "attacks")
        attacks = ATTACKS[self.preset]
        if self.eps is None:
            return attacks
        return tuple(attack if attack.type == "target_map" else attack.changed(eps=None) for attack in attacks)

    def cases(self) -> list[Case]:
        """Return every attack on every method at every radius, in the order of the table."""
        return [
            Case(method.label_name, adapted, parse_budget(adapted.radius).high)
            for method in self.chosen_methods()
            for attack in self.chosen_attacks()
            for adapted in self._at_radii(self._adapted(attack, method))
        ]

    def _at_radii(self, attack: ExplanationAttackConfig) -> list[ExplanationAttackConfig]:
        preset_sweep = SHORT_SWEEP if self.preset == "short" and self.attacks is None else SWEEP
        sweep: Sequence[Eps] = preset_sweep if self.eps is None else self._radii()
        if attack.eps is not None or attack.type == "target_map":
            sweep = (attack.radius,)
        return [self._stepped(attack.changed(eps=eps)) for eps in sweep]

    def _stepped(self, attack: ExplanationAttackConfig) -> ExplanationAttackConfig:
        """Give the attack the number of steps that all have, and a step size with which they reach the surface."""
        one_shot = attack.type == "random_sign" and attack.steps == 1  # another control than the walk
        steps = attack.steps if self.steps is None or one_shot else self.steps
        alike = self.steps is not None or (self.attacks is None and self.preset in _ALIKE)
        by_sign = attack.type != "target_map" and attack.step != "adam"
        if not alike or not by_sign or steps in (None, 1) or attack.step_size is not None:
            return attack.changed(steps=steps)
        assert steps is not None
        return attack.changed(steps=steps, step_size=min(1.0, 2.5 * parse_budget(attack.radius).high / steps))

    def _adapted(self, attack: ExplanationAttackConfig, method: ExplanationConfig) -> ExplanationAttackConfig:
        """Return a preset's attack with what its authors set differently for some methods."""
        if self.attacks is not None:
            return attack
        if self.preset == "ghorbani2019" and method.type == "deeplift":
            surrogate = None if attack.type == "random_sign" else 0.0
            eps = attack.eps if self.eps is not None else "16/255"
            return attack.changed(softplus=surrogate, step_size="0.1/255", eps=eps)
        if self.preset == "dombrowski2019":
            steps, size = DOMBROWSKI.get(method.type, DOMBROWSKI["gradient"])
            softplus = 0.0 if method.type == "lrp" else attack.softplus
            return attack.changed(steps=steps, step_size=size * _STD, softplus=softplus)
        return attack
