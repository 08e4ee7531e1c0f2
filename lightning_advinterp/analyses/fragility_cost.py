"""What fragility costs, for ``--dry_run``: forward and backward passes of one image."""

from collections.abc import Mapping, Sequence

from lightning_advinterp.analyses.fragility_config import Case, FragilityConfig
from lightning_advinterp.explanations import IntegratedGradients, Method, Occlusion, SmoothGrad


def map_cost(method: Method, size: int) -> tuple[int, int]:
    """Return the forward and backward passes of one map, with propagation rules counted as passes.

    Args:
        method: the explanation.
        size: side of the image in pixels.
    """
    if isinstance(method, Occlusion):
        windows = max(1, -(-(size - method.size) // method.stride) + 1)
        return windows**2 + 1, 0
    repeats = 1
    if isinstance(method, IntegratedGradients):
        repeats = method.steps
    elif isinstance(method, SmoothGrad):
        repeats = method.samples
    return repeats, repeats


def cost(cases: Sequence[Case], methods: Mapping[str, Method], config: FragilityConfig, size: int) -> tuple[int, int]:
    """Return about how many passes a correctly classified image takes.

    A step differentiates a map, which goes back through its forward and backward passes; a check is a prediction and a
    map of the network itself.

    Args:
        cases: all that is run.
        methods: by name.
        config: faithfulness.
        size: side of the image in pixels.
    """
    forwards = 1 + 2 * (config.faithfulness + 1) * (len(methods) + 1) * bool(config.faithfulness)
    backwards = 0
    for method in methods.values():
        forward, backward = map_cost(method, size)
        forwards, backwards = forwards + forward, backwards + backward
    for case in cases:
        forward, backward = map_cost(methods[case.method], size)
        steps = case.attack.steps or 100
        checks = -(-steps // (case.attack.check_every or 1))
        climbed = 0 if case.attack.type == "random_sign" else steps
        forwards += climbed * forward + (checks + 2) * (forward + 1)
        backwards += climbed * (backward + forward + backward) + (checks + 2) * backward
    return forwards, backwards
