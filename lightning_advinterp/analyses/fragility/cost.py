"""What fragility costs, for ``--dry_run``: forward and backward passes of one image."""

from collections.abc import Mapping, Sequence

from lightning_advinterp.analyses.fragility.config import Case, FragilityConfig
from lightning_advinterp.attacks.explanation.config import create_explanation_attack
from lightning_advinterp.explanations import Method


def cost(cases: Sequence[Case], methods: Mapping[str, Method], config: FragilityConfig, size: int) -> tuple[int, int]:
    """Return the passes that a correctly classified image takes, besides the few maps of other images.

    Args:
        cases: all that is run; each takes its attack, and a prediction and a map of what it found.
        methods: by name.
        config: faithfulness.
        size: side of the image in pixels.
    """
    curves = 2 * (config.faithfulness + 1) * (len(methods) + 1) if config.faithfulness else 0
    parts = [(1 + curves, 0), *(method.passes(size) for method in methods.values())]
    parts += [(1, 0) for method in methods.values() if method.softplus is not None]  # does it keep the class?
    for case in cases:
        attack = create_explanation_attack(case.attack, methods[case.attacked])
        parts += [attack.passes_at(size), (1, 0), methods[case.method].passes(size)]
    forwards, backwards = (sum(counts) for counts in zip(*parts, strict=True))
    return forwards, backwards
