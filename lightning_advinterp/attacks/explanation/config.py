"""One attack on explanations as YAML, flags and Python say it."""

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from lightning_advinterp.attacks.explanation.builders import AIMS, AimedBuilder, aim_of
from lightning_advinterp.attacks.explanation.dissimilarity import Target
from lightning_advinterp.attacks.explanation.explanation import ExplanationAttack
from lightning_advinterp.attacks.loop.budget import Eps
from lightning_advinterp.core.signatures import Setting, documentation
from lightning_advinterp.core.typed_settings import TypedSettings, with_settings
from lightning_advinterp.explanations import Explanation, Gradient


@with_settings(builder.settings for builder in AIMS.values())
class ExplanationAttackConfig(TypedSettings):
    """One attack on explanations: its type, and what is said of that type's settings.

    What is left out is the default, and what the type has no use for is refused; see
    :mod:`lightning_advinterp.core.typed_settings`. The settings are the keyword arguments of
    :func:`~lightning_advinterp.attacks.explanation.builders.climb` and of the type's dissimilarity, which also say what
    they mean; ``--fragility.attacks.help TYPE`` prints them.

    Attributes:
        type: ``random_sign``, ``topk``, ``mass_centre``, ``target_region`` (Ghorbani et al. 2019) or ``target_map``
            (Dombrowski et al. 2019).
        name: what tables and log keys call it; the type when left out.
        of: in an analysis of several methods, the name of the one whose maps are attacked; each its own when left out.
            Another one's show whether what fools it fools the others.
    """

    type: str = "topk"
    name: str | None = None
    eps: Eps | None = None
    steps: int | None = None
    step_size: float | str | None = None
    step: Literal["sign", "adam"] | None = None
    softplus: float | tuple[float, float] | None = None
    region: tuple[float, float, float, float] | None = None
    target: Target | None = None
    label: Literal["predicted", "true"] = "predicted"
    of: str | None = None

    @classmethod
    def takes(cls, kind: str) -> dict[str, Setting]:
        """Return the settings of a type, by name."""
        texts = documentation(cls)
        return aim_of(kind).settings | {name: Setting(name, str | None, None, texts[name]) for name in ("name", "of")}

    @classmethod
    def types(cls) -> dict[str, Callable[..., Any]]:
        """Return what the registered types climb."""
        return {name: builder.aim for name, builder in AIMS.items()}

    def check(self) -> None:
        """Refuse values that the type does not take, by building the attack on some explanation."""
        if self.get("text") is not None and self.target != "text":
            raise ValueError(f"text is written by target: text alone, got target {self.target!r}.")
        self.create(Gradient())

    @property
    def builder(self) -> AimedBuilder:
        """What builds the type."""
        return aim_of(self.type)

    @property
    def radius(self) -> Eps:
        """ε, the type's own where it is left out."""
        radius: Eps = self.builder.settings["eps"].default if self.eps is None else self.eps
        return radius

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in self.given().items() if name not in ("type", "name", "of")}

    def create(self, explanation: Explanation, target: Tensor | None = None) -> ExplanationAttack:
        """Build the attack on one explanation; see :func:`create_explanation_attack`."""
        settings = self._settings()
        if target is not None:
            if self.type != "target_map" or self.target is not None:
                raise ValueError("target maps are for attacks of type target_map without a target of their own.")
            settings["target"] = target
        return self.builder.build(explanation, name=self.label_name, **settings)


def create_explanation_attack(
    config: ExplanationAttackConfig, explanation: Explanation, *, target: Tensor | None = None
) -> ExplanationAttack:
    """Build the attack that a configuration describes, on one explanation.

    Args:
        config: its settings.
        explanation: whose maps are attacked.
        target: maps of other images ``[N, H, W]``, for target_map.

    Raises:
        ValueError: naming the argument, the value and what was expected.
    """
    return config.create(explanation, target)
