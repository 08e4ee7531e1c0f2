"""One attack as YAML, flags and Python say it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import Distribution, Eps, parse_budget
from lightning_advinterp.attacks.loop.goal import LabelRule, TargetRule
from lightning_advinterp.attacks.loop.threat import Norm
from lightning_advinterp.attacks.prediction.builders import COMMON, Builder, builder_of
from lightning_advinterp.attacks.prediction.listed_targets import with_listed_targets
from lightning_advinterp.attacks.prediction.mask_config import MaskConfig
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.attacks.prediction.transfer import made_on
from lightning_advinterp.networks.modes import BatchNormMode

_RADIUS = ("eps", "eps_distribution")

CALIBRATE: Literal["calibrate"] = "calibrate"
NOT_MADE_ON_OTHERS = ("stored", "random_sign")
"""Types that look at no network."""
WEIGHTED = ("optimization", "targeted_optimization", "ensemble")
"""Types with a weight λ, which an evaluation finds where it is left out."""


@dataclass(frozen=True)
class AttackConfig:
    """One attack; what is left out is the type's own default, and what the type has no use for is refused.

    Attributes:
        type: ``fgsm`` (one step of length ε; Goodfellow et al. 2015, Dong et al. 2022 Eq. 1), ``bim`` (steps of 1/255
            from the image itself; Kurakin et al. 2017), ``pgd`` (random start; Madry et al. 2018), ``mifgsm``
            (momentum; Dong et al. 2018), ``fgsm_rs`` (one step of 1.25 ε from a random start; Wong et al. 2020),
            ``nfgsm`` (one step from noise of 2 ε, unclipped; de Jorge et al. 2022), ``rand_fgsm`` (a random step of
            ε/2, then FGSM with the rest; Tramèr et al. 2018), ``trades`` (climbs the KL divergence from the clean
            prediction; Zhang et al. 2019), ``optimization`` and ``targeted_optimization`` (distance and loss in one
            objective, by Adam; Dong, Su & Zhu 2022 Eq. 2 and Eq. 4), ``ensemble`` (Eq. 4 on several networks; Dong et
            al. 2017), ``transfer`` (PGD on other networks; Papernot et al. 2016), ``cw`` (the nearest adversarial image
            in L2; Carlini & Wagner 2017), ``ead`` (few pixels; Chen et al. 2018), ``autoattack`` (Croce & Hein 2020)
            and the four that it is made of: ``apgd`` (sets its own step size), ``apgd_t`` (the same towards each of the
            9 likeliest other classes, on the targeted DLR; needs 4 classes), ``fab_t`` (walks along the decision
            boundary towards these classes; unchanged where that is farther than ε), ``square`` (random search without
            gradients). ``random_sign`` is the control: every pixel moves by ε up or down at random. ``stored`` looks
            images up that are there already. Or the class path of an attack of your own, such as ``mine.Attack``: those
            of the settings below that its constructor takes are handed to it.
        eps: ε, a fraction of the [0, 1] range or a string such as "4/255", which is what left out means for every type
            with an L∞ ball; L2 has no default. [low, high] draws it per sample.
        name: what tables and log keys call it; the type when left out.
        norm: ``linf`` or ``l2``.
        steps: number of steps; left out: 1 for the single-step attacks, min(ε+4, 1.25ε) in 0-255 units for bim, 20 for
            the optimisation attacks, 1000 for cw and ead, 100 for apgd, apgd_t, fab_t and within autoattack, 10 for the
            others.
        step_size: a step's length, in the unit of ε; left out: ε for fgsm and nfgsm, 1.25 ε for fgsm_rs, 1/255 for
            bim, 2.5 ε / steps for pgd, ε / steps for mifgsm, 0.007 for trades, 5/255 for the optimisation attacks;
            Adam's in tanh space for cw and the first one of ead, 0.01 when left out.
        random_start: begin at a random point of the ball; left out: yes for pgd, no for fgsm and bim.
        restarts: repeat with new random starts and keep each sample's best.
        loss: what is maximised, ``cross_entropy`` (the default), ``margin`` (not by apgd) or ``dlr`` (the difference
            of logits ratio; needs 3 classes).
        label: the class to move away from: ``true``, ``predicted``, or ``least_likely`` (towards it).
        target: ``least_likely``, ``random`` or a class index makes the attack targeted.
        target_file: a CSV file with each image's own target, in the columns ``image`` (its path below the data's
            folder, or its file's name without the ending) and ``target`` (an output's number, from 0); or the
            ``images.csv`` of the NIPS 2017 competition.
        eps_distribution: how [low, high] is drawn: ``uniform`` or ``truncated_normal``.
        decay: μ of mifgsm's momentum; 1 when left out.
        stop_after: samples that have reached the goal after so many steps take no further ones; 10 for the
            optimisation attacks when left out.
        weight: λ of the optimisation attacks, before the loss; ``calibrate`` (the default) lets an evaluation find the
            smallest with 95 % success on other images.
        distance: ``mean`` (the default) or ``sum`` of the squared differences in 0-255 units.
        confidence: by how much the logit of cw and ead must win; 0 when left out.
        search_steps: steps of their search over the weight of the loss; 9 when left out.
        initial_weight: the first weight; 1e-3 when left out.
        regularization: β, the weight of L1 in ead; 0.01 when left out.
        decision: by what ead takes the nearest image: ``en`` (β L1 + L2², the default) or ``l1``.
        mask: the pixels that an attack along gradients may change, such as ``{type: cam, percentile: 70}`` or
            ``{type: cells, share: 0.3}``.
        members: the networks of an ensemble, and of transfer; any other attack is then made on these instead of the
            network under test.
        beside: make such an attack on the network under test and the members together.
        combine: what an ensemble averages: ``loss`` (the default), ``prob`` or ``logit``.
        targets: an ensemble aims at one of so many least likely classes; 10 when left out.
        target_rank: at which of them, 1 the least likely; drawn for every image when left out.
        queries: forward passes of square, also within autoattack; 5000 when left out.
        path: where stored images are: a set of ``python -m lightning_advinterp.adversarial``, or a folder of PNG files
            with the images' relative names; ``{data: DIR, concepts: DIR}`` where both are attacked. Of a set with
            several targets target_rank chooses one, and of a plain folder eps says what its images keep to.
        missing: images without a stored one: ``error`` (the default) refuses them, ``drop`` leaves them out of all.
        options: further arguments of an attack of your own.
    """

    type: str = "fgsm"
    eps: Eps | None = None
    name: str | None = None
    norm: Norm | None = None
    steps: int | None = None
    step_size: float | str | None = None
    random_start: bool | None = None
    restarts: int | None = None
    loss: Literal["cross_entropy", "margin", "dlr"] | None = None
    label: LabelRule = "true"
    target: TargetRule | int | None = None
    target_file: str | None = None
    eps_distribution: Distribution = "uniform"
    decay: float | None = None
    stop_after: int | None = None
    weight: float | Literal["calibrate"] | None = None
    distance: Literal["mean", "sum"] | None = None
    confidence: float | None = None
    search_steps: int | None = None
    initial_weight: float | None = None
    members: tuple[Member, ...] | None = None
    beside: bool | None = None
    combine: Literal["loss", "prob", "logit"] | None = None
    targets: int | None = None
    target_rank: int | None = None
    queries: int | None = None
    regularization: float | None = None
    decision: Literal["en", "l1"] | None = None
    mask: MaskConfig | None = None
    path: str | dict[str, str] | None = None
    missing: Literal["error", "drop"] | None = None
    options: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.calibrated:
            self.with_weight(1.0)  # which is checked as it is made
            return
        if self.norm == "l2" and self.eps is None:  # an evaluation may add it
            replace(self, eps=1.0)
            return
        self.create()

    def create(self, bn: BatchNormMode = "eval") -> Attack:
        """Build the attack.

        Args:
            bn: how BatchNorm behaves during the attack.

        Raises:
            ValueError: naming the argument, the value and what was expected.
        """
        builder, entries = builder_of(self.type), self.given()
        self._check(builder, entries)
        common = {"label": self.label, "target": self.target, "bn": bn, "name": self.label_name}
        settings = {name: value for name, value in entries.items() if name in builder.settings and name not in common}
        if builder.eps is None or "eps" in builder.settings:
            attack = builder.build(**settings, **common)
        else:
            eps = builder.eps if self.eps is None else self.eps
            budget = parse_budget(eps, self.eps_distribution, most=None if self.norm == "l2" else 1.0)
            attack = builder.build(budget, **settings, **common)
        if self.members and "members" not in builder.settings:
            attack = made_on(attack, self.members, self.combine or "loss", beside=bool(self.beside))
        attack = attack if self.mask is None else attack.masked(self.mask.create(attack))
        if self.target_file is None:
            return attack
        return with_listed_targets(attack, self.target_file, kind=self.type, target=self.target, label=self.label)

    def _check(self, builder: Builder, entries: Mapping[str, Any]) -> None:
        """Refuse what the type has no use for."""
        radius = _RADIUS if builder.eps is not None else ()
        allowed_settings = {"type", "mask", "target_file", *COMMON, *builder.settings, *radius} - {"bn"}
        if self.members and self.type not in NOT_MADE_ON_OTHERS and "members" not in allowed_settings:
            allowed_settings |= {"members", "combine", "beside"}
        for setting in entries:
            if setting not in allowed_settings:
                setting_list = ", ".join(sorted(allowed_settings - {"type"}))
                raise ValueError(f"{setting} is no setting of a {self.type} attack, which takes {setting_list}.")
        if builder.single and self.steps not in (None, 1):
            raise ValueError(f"{self.type} takes a single step, got steps={self.steps}; use bim or pgd for more.")
        if self.calibrated:
            raise ValueError(
                f"weight of a {self.type} attack: an evaluation can calibrate it, on images that it does not report "
                f"on; here it must be a number, got {self.weight!r}. Set weight: to the one that an evaluation found."
            )
        if self.eps is None and self.norm == "l2":
            raise ValueError(
                f"eps of a {self.type} attack in L2 has no default: give it, such as 0.5 for images of 32 px or 3 for "
                "224 px, in units of the [0, 1] range."
            )

    @property
    def label_name(self) -> str:
        """What tables and log keys call the attack."""
        return self.name or self.type.rpartition(".")[2]

    @property
    def calibrated(self) -> bool:
        """Whether the attack has a weight that is to be found on images, and so cannot be created yet."""
        return self.weight == CALIBRATE or (self.weight is None and self.type in WEIGHTED)

    def with_weight(self, weight: float) -> "AttackConfig":
        """Return the same attack with λ."""
        return replace(self, weight=weight)

    def given(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}
