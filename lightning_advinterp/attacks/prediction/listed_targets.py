"""Attacks towards each image's own target."""

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.loop.goal import LabelRule, TargetRule
from lightning_advinterp.data.target_list import TargetList


def with_listed_targets(
    attack: Attack, target_file: str, *, kind: str, target: TargetRule | int | None, label: LabelRule
) -> Attack:
    """Return an attack that moves every image towards its target in a list.

    Args:
        attack: built from the other settings.
        target_file: the list.
        kind: the attack's type.
        target: its rule for targets, which must not be set.
        label: its rule for labels, likewise.

    Raises:
        ValueError: if the attack takes no targets, or has another rule.
        FileNotFoundError: if there is no such list.
    """
    if not attack.takes_target_list:
        raise ValueError(f"target_file is no setting of a {kind} attack, which takes no targets.")
    if kind == "optimization":
        raise ValueError("optimization has no target, got a target_file; use targeted_optimization.")
    if target is not None or label != "true":
        rule = f"label={label!r}" if target is None else f"target={target!r}"
        raise ValueError(f"target_file says each image's target, and {rule} another; leave one of them out.")
    return attack.towards(TargetList(target_file))
