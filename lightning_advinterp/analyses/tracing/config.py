"""The settings of tracing."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from lightning_advinterp.core.settings import require_least
from lightning_advinterp.metrics.prediction_difference import FORMS, Form

Baseline = Literal["zero", "mean", "sampled"]
Which = Literal["errors", "right", "attacked"]


@dataclass(frozen=True)
class TracingConfig:
    """Which predictions are traced, to which units, and how a unit is taken away.

    Attributes:
        of: images of the data set that are traced where ``--images`` names none: ``errors`` of the network beside as
            many matched images that it gets ``right``, these alone, or those that an attack makes it err on
            (``attacked``). Files of ``--images`` are all traced.
        limit: at most so many of them, a seeded choice; as many matched ones come beside errors.
        show: so many of them get a page; null for five of the data's images, and for all files of ``--images``.
        layers: whose units are traced: ``last``, ``all_conv`` or names, ``layer4.1.bn1`` for a layer inside a block.
            Pages and summaries are about the last one.
        forms: of the evidence for a class: ``probability``, ``logit``, ``log_odds``. The first ranks units for pages
            and summaries.
        baselines: what takes a unit's place: ``zero``; ``mean``, its mean over the data's images and places;
            ``sampled``, its maps on other images of the data. The first one counts for pages and summaries.
        samples: so many images are sampled.
        classes: whose evidence is traced: ``predicted``, ``true``, or numbers of outputs.
        units: so many of the strongest units are written for each class.
        together: so many of the strongest are removed together.
        support: semantic support is that of so many units.
        screen: trace exactly only so many units a class, those strongest by first order (gradient × activation); null
            for all.
        recalled: on so many images all units are traced beside, to report how many of the strongest units a screening
            keeps.
        dissection: an evaluation's folder with a dissection of this network, for the units' concepts.
    """

    of: Which = "errors"
    limit: int = 100
    show: int | None = None
    layers: str | tuple[str, ...] = "last"
    forms: list[Form] = field(default_factory=lambda: list(FORMS))
    baselines: list[Baseline] = field(default_factory=lambda: ["zero"])
    samples: int = 8
    classes: list[str] = field(default_factory=lambda: ["predicted", "true"])
    units: int = 10
    together: int = 5
    support: int = 10
    screen: int | None = None
    recalled: int = 4
    dissection: str | None = None

    def __post_init__(self) -> None:
        counts = ("limit", "samples", "units", "together", "support", "recalled")
        require_least(self, dict.fromkeys(counts, 1))
        if self.show is not None and self.show < 0:
            raise ValueError(f"show must be 0 or more pages, got {self.show}.")
        if self.screen is not None and self.screen < self.units:
            raise ValueError(f"screen must be at least units, which are written ({self.units}), got {self.screen}.")
        for name, allowed in (("forms", FORMS), ("baselines", get_args(Baseline))):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values) or not set(values) <= set(allowed):
                raise ValueError(f"{name} must be one or more of {', '.join(allowed)}, each once, got {list(values)}.")
        if self.of not in get_args(Which):
            raise ValueError(f"of must be one of {', '.join(get_args(Which))}, got {self.of!r}.")
        wrong = [entry for entry in self.classes if entry not in ("predicted", "true") and not entry.isdecimal()]
        if wrong or not self.classes:
            raise ValueError(f"classes must be predicted, true or numbers of outputs, got {list(self.classes)}.")
