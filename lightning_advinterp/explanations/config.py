"""One explanation as YAML, flags and Python say it."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from lightning_advinterp.explanations.explanation import Method
from lightning_advinterp.explanations.pattern_attribution import PatternAttribution
from lightning_advinterp.explanations.registry import kind_of, settings_of


@dataclass(frozen=True)
class ExplanationConfig:
    """One explanation; what is left out is the type's own default, and what the type has no use for is refused.

    Attributes:
        type: ``gradient``, ``gradient_times_input``, ``smoothgrad``, ``integrated_gradients``, ``guided_backprop``,
            ``deeplift``, ``lrp``, ``pattern_attribution``, ``cam``, ``gradcam`` or ``occlusion``; or the class path of
            an explanation of your own, such as ``mine.Explanation``.
        name: what tables and log keys call it; the type when left out.
        softplus: β of the softplus that stands for relu while the explanation is computed.
        output: what is explained, ``logit`` (the default; integrated_gradients: softmax) or ``softmax``.
        space: gradients by ``normalised`` images (the default) or by ``pixel`` in [0, 1].
        baseline: ``mean`` (the default), ``black``, ``white`` or a grey level in [0, 1].
        steps: of integrated_gradients; 30 when left out.
        samples: of smoothgrad; 50 when left out.
        sigma: noise of smoothgrad, in pixels of the [0, 1] range; 0.15 when left out.
        chunk: the most images in one pass; 32 when left out.
        recompute: whether smoothgrad and integrated_gradients keep one pass's graph instead of all, for more time.
        start: guided_backprop starts with ``one`` (the default) or the output's ``value``.
        pool: deeplift's rule for max-pools, ``complete`` (the default) or ``winner``.
        rule: of lrp, ``alpha_beta`` (the default), ``epsilon`` or ``gamma``.
        dense_rule: of lrp in linear layers; as ``rule`` when left out.
        first: of lrp at the image, ``z_b`` (the default) or ``same``.
        alpha: α of alpha_beta; 1 when left out, which is z⁺.
        epsilon: ε; 1e-6 when left out.
        gamma: γ; 0.25 when left out.
        bounds: of z_b, ``channel`` (the default) or ``image``.
        layer: of gradcam; φ when left out.
        interpolation: how cam and gradcam are enlarged, ``bilinear`` (the default) or ``bicubic``.
        size: of occlusion's patches in pixels; 16 when left out.
        stride: between them; 8 when left out.
        patterns: the file of pattern_attribution.
        options: further arguments of an explanation of your own.
    """

    type: str = "gradient"
    name: str | None = None
    softplus: float | None = None
    output: Literal["logit", "softmax"] | None = None
    space: Literal["normalised", "pixel"] | None = None
    baseline: Literal["mean", "black", "white"] | float | None = None
    steps: int | None = None
    samples: int | None = None
    sigma: float | None = None
    chunk: int | None = None
    recompute: bool | None = None
    start: Literal["one", "value"] | None = None
    pool: Literal["complete", "winner"] | None = None
    rule: Literal["alpha_beta", "epsilon", "gamma"] | None = None
    dense_rule: Literal["alpha_beta", "epsilon", "gamma"] | None = None
    first: Literal["z_b", "same"] | None = None
    alpha: float | None = None
    epsilon: float | None = None
    gamma: float | None = None
    bounds: Literal["channel", "image"] | None = None
    layer: str | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    size: int | None = None
    stride: int | None = None
    patterns: str | None = None
    options: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        kind = kind_of(self.type)
        if kind is not PatternAttribution:
            self.create()  # a wrong value shows when it is read
            return
        _settings(self, kind)
        if self.patterns is None:
            raise ValueError("pattern_attribution needs patterns: a file written by learn_patterns(…).save(FILE).")

    @property
    def label_name(self) -> str:
        """What tables and log keys call the explanation."""
        return self.name or self.type.rpartition(".")[2]

    def given(self) -> dict[str, Any]:
        """Return the type's own settings that are given."""
        common = ("type", "name", "options")
        return {
            f.name: value for f in fields(self) if f.name not in common and (value := getattr(self, f.name)) is not None
        }

    def create(self) -> Method:
        """Build the explanation.

        Raises:
            ValueError: naming the argument, the value and what was expected.
            FileNotFoundError: if the file of patterns does not exist.
        """
        kind = kind_of(self.type)
        settings = _settings(self, kind)
        try:
            return kind(name=self.label_name, **settings)
        except TypeError as error:  # an argument that it needs is missing
            raise ValueError(f"explanation {self.type}: {error}") from None


def _settings(config: ExplanationConfig, kind: type[Method]) -> dict[str, Any]:
    """Return what the class is told, which must be its own."""
    settings, names = config.given() | (config.options or {}), settings_of(kind)
    for setting in settings:
        if setting not in names:
            raise ValueError(f"{setting} is no setting of {config.type}, which takes {', '.join(sorted(names))}.")
    return settings
