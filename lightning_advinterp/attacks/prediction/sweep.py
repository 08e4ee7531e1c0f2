"""One attack for each of several radii, as a robustness curve needs them."""

from collections.abc import Sequence

from lightning_advinterp.attacks.loop.budget import Eps, parse_pixels
from lightning_advinterp.attacks.prediction.builders import builder_of
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import attack_list


def swept_attacks(attacks: object, eps: Eps | None, steps: int | None) -> tuple[AttackConfig, ...]:
    """Return attacks with a radius, or one attack for each of several radii, and a number of steps.

    Args:
        attacks: as :func:`~lightning_advinterp.attacks.prediction.grammar.attack_list` reads them.
        eps: a radius, or several as a list or separated by commas; an attack of each then has its radius in its name,
            in 255ths (``fgsm4``) or, in L2, as it is. None: the attacks' own.
        steps: for all attacks that take several; None: their own.

    Raises:
        ValueError: where an attack has settings of its own for these, there is no attack, or a radius comes twice.
    """
    radii = _radii(eps)
    found: list[AttackConfig] = []
    configs = attack_list(attacks)
    for name, value in (("eps", eps), ("steps", steps)):
        if value is not None and not configs:
            raise ValueError(f"{name}={value!r} belongs to an attack given by its name, and attack names none.")
    for attack in configs:
        builder = builder_of(attack.type)
        if steps is not None and not builder.single and "steps" in builder.settings:
            _check_free(attack, "steps", steps)
            attack = attack.changed(steps=steps)
        if not radii or attack.type == "stored":  # whose radius is that of its making
            found.append(attack)
            continue
        _check_free(attack, "eps", eps)
        single = len(radii) == 1
        found += [
            attack.changed(eps=radius, name=attack.name if single else f"{attack.label_name}{_shown(radius, attack)}")
            for radius in radii
        ]
    return tuple(found)


def _radii(eps: Eps | None) -> Sequence[float | str]:
    if eps is None:
        return []
    given = eps.strip("[]").split(",") if isinstance(eps, str) else eps if isinstance(eps, list | tuple) else [eps]
    radii = [radius.strip() if isinstance(radius, str) else radius for radius in given]
    numbers = [parse_pixels(radius, "eps", most=None) for radius in radii]
    if not radii or len(set(numbers)) < len(numbers):
        raise ValueError(f"eps must be one radius, or several that differ, got {eps!r}.")
    return radii


def _shown(radius: float | str, attack: AttackConfig) -> str:
    number = parse_pixels(radius, "eps", most=None)
    return f"{number:g}" if attack.get("norm") == "l2" else f"{255 * number:.6g}"


def _check_free(attack: AttackConfig, setting: str, value: object) -> None:
    if attack.get(setting) is not None:
        raise ValueError(
            f"{setting}={value!r}: the attack {attack.label_name} has {setting}: {attack.get(setting)} of its "
            f"own; say it once, by --{setting} or in the attack."
        )
