"""What is said in words when the numbers of fragility rest on few images, or on maps that say nothing."""

import logging
from collections.abc import Mapping, Sequence

from lightning_advinterp.analyses.fragility.state import FragilityState
from lightning_advinterp.analyses.fragility.tables import ENOUGH_KEPT, named
from lightning_advinterp.core.result import Row
from lightning_advinterp.explanations import Method

logger = logging.getLogger(__name__)


def warn(state: FragilityState, methods: Mapping[str, Method], rows: Sequence[Row]) -> None:
    """Warn of few images or no time for them, of a softplus that loses the classes, and of images without a map.

    Args:
        state: complete.
        methods: by name.
        rows: the table ``fragility_methods``.
    """
    _warn_of_few(state)
    if state.left:
        logger.warning(
            "fragility: the time of fragility.seconds was up after %d images; %d are left out (%s). Give more seconds, "
            "or null for no limit.",
            len(state.rows),
            len(state.left),
            named(sorted(state.left)),
        )
    for row in rows:
        share = row.get("smooth_kept")
        if share is not None and share < ENOUGH_KEPT:
            logger.warning(
                "fragility: with softplus of beta = %g, of method %s, the network keeps the class of %.0f%% of %d "
                "images only; its maps are then of another prediction. Take a larger beta.",
                methods[row["method"]].softplus,
                row["method"],
                100 * share,
                row["n"],
            )
        if row["no_map"]:
            images = [image for image, silent in sorted(state.no_map.items()) if silent.get(row["method"])]
            logger.warning(
                "fragility: method %s has no map of %d of %d images (%s): it is constant, as of a saturated output "
                "or dead units, or not finite. Their measures are missing; see the columns no_map.",
                row["method"],
                row["no_map"],
                row["n"],
                named(images),
            )


def _warn_of_few(state: FragilityState) -> None:
    """Say how few images were taken, where the network is wrong about half of them or more, or right about one."""
    measured, wrong = len(state.rows), len(state.skipped)
    total = measured + wrong + len(state.left)
    if wrong and 2 * wrong >= total:
        logger.warning(
            "fragility: %d of %d images were taken; %d are classified wrongly and left out. Raise limit, or measure a "
            "network that is right more often.",
            measured,
            total,
            wrong,
        )
    if measured and len(state.pool) < 2:
        logger.warning(
            "fragility: no other image is classified rightly, so that there are no reference levels, and attacks "
            "towards another image's map are left out. Raise limit."
        )
