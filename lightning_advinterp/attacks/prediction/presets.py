"""Attacks from what a user says: by name, by settings, or by a function of that name."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.budget import Eps
from lightning_advinterp.attacks.loop.goal import LabelRule, TargetRule
from lightning_advinterp.attacks.loop.threat import Norm
from lightning_advinterp.attacks.prediction.builders import DEFAULT_EPS
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import Attacks, OneAttack, attack_list, one_attack
from lightning_advinterp.networks.modes import BatchNormMode


def create_attack(attack: OneAttack | Mapping[str, Any], *, bn: BatchNormMode = "eval", **settings: Any) -> Attack:
    """Build the attack that a configuration describes.

    Args:
        attack: its settings, or its type's name; see :mod:`~lightning_advinterp.attacks.prediction.grammar`.
        bn: how BatchNorm behaves during the attack.
        **settings: further settings of its type, which ``evaluate.py --attack.help TYPE`` prints.

    Raises:
        ValueError: naming the argument, the value and what was expected.

    Example:
        >>> attack = create_attack("pgd", eps="8/255", steps=3)
        >>> attack.name, attack.iterations, round(255 * attack.eps)
        ('pgd', 3, 8)
    """
    config = one_attack(attack)
    return (config.changed(**settings) if settings else config).create(bn)


def named_attacks(configs: Sequence[AttackConfig]) -> dict[str, AttackConfig]:
    """Return several attacks by their names, which must differ from each other and from "real"."""
    names = [config.label_name for config in configs]
    repeated = sorted({name for name in names if names.count(name) > 1 or name == "real"})
    if repeated:
        raise ValueError(f'Every attack needs a name of its own other than "real", got {names}; set name: in each.')
    return {config.label_name: config for config in configs}


def create_attacks(attacks: Attacks | Sequence[AttackConfig]) -> dict[str, Attack]:
    """Build any number of attacks, by their names, from what ``attack_list`` of ``grammar.py`` reads."""
    return {name: create_attack(config) for name, config in named_attacks(attack_list(attacks)).items()}


def fgsm(eps: Eps = DEFAULT_EPS, *, label: LabelRule = "true", target: TargetRule | int | None = None) -> Attack:
    """Fast gradient sign method, x* = clip(x + ε·sign ∇ₓL(f(x), y)) (Dong et al. 2022, Eq. 1).

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 2))
        >>> x = torch.full((1, 3, 4, 4), 0.5)
        >>> x_adv = fgsm("8/255")(network, x, 0)
        >>> round(255 * float((x_adv - x).abs().max()))
        8
    """
    return create_attack(AttackConfig("fgsm", eps, label=label, target=target))


def bim(
    eps: Eps = DEFAULT_EPS,
    *,
    steps: int | None = None,
    step_size: float | str | None = None,
    label: LabelRule = "true",
    target: TargetRule | int | None = None,
) -> Attack:
    """Basic iterative method: FGSM in small steps, projected (Kurakin et al. 2017)."""
    return create_attack(AttackConfig("bim", eps, steps=steps, step_size=step_size, label=label, target=target))


def pgd(
    eps: Eps = DEFAULT_EPS,
    *,
    norm: Norm = "linf",
    steps: int = 10,
    step_size: float | str | None = None,
    random_start: bool = True,
    restarts: int = 1,
    label: LabelRule = "true",
    target: TargetRule | int | None = None,
) -> Attack:
    """Projected gradient descent with a random start (Madry et al. 2018).

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 2))
        >>> result = pgd("8/255", steps=3).run(network, torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))
        >>> result.x_adv.shape, bool((result.linf <= 8 / 255 + 1e-6).all())
        (torch.Size([2, 3, 4, 4]), True)
    """
    return create_attack(
        AttackConfig(
            "pgd",
            eps,
            norm=norm,
            steps=steps,
            step_size=step_size,
            random_start=random_start,
            restarts=restarts,
            label=label,
            target=target,
        )
    )
