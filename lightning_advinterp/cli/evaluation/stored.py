"""Stored adversarial images in an evaluation: checked before any work, and named for whom they were made."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console

from lightning_advinterp.analyses.base.question import Data
from lightning_advinterp.analyses.base.shared_images import shared_images
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.cli.evaluation.calibration import uncalibrated
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.inputs import Images
from lightning_advinterp.networks.network import Network

_MADE_HERE = "this network"


def without_missing(evaluation: Evaluation, opened: Mapping[Data, Images], console: Console) -> dict[Data, Images]:
    """Leave out the images that stored attacks with ``missing: drop`` do not have, and say how many."""
    remaining: dict[Data, Images] = {}
    for data, images in opened.items():
        attacks = evaluation.attacks().values() if _attacked(evaluation, data) else ()
        reported = shared_images(attacks, images.reported, data)
        if len(reported) < len(images.reported):
            dropped = len(images.reported) - len(reported)
            console.print(f"  missing: drop leaves out {dropped} of {len(images.reported)} images of {data}")
        remaining[data] = replace(images, reported=reported)
    return remaining


def stored_attacks(evaluation: Evaluation, opened: Mapping[Data, Images]) -> dict[Data, dict[str, Attack]]:
    """Return the attacks that depend on which images are shown, checked for these.

    Raises:
        ValueError, FileNotFoundError: saying what does not fit.
    """
    bound: dict[Data, dict[str, Attack]] = {}
    calibrated = uncalibrated(evaluation.attack_configs())
    for data, images in opened.items():
        bound[data] = {}
        for name, attack in evaluation.attacks().items() if _attacked(evaluation, data) else ():
            if images.calibration is not None and name in calibrated:
                attack.for_images(images.calibration, data)
            for_these = attack.for_images(images.reported, data)
            if for_these is not attack and name not in calibrated:  # the weight of that one is still to be found
                bound[data][name] = for_these
    return bound


def made_for(attacks: Mapping[Data, Mapping[str, Attack]], network: Network) -> dict[str, Any]:
    """Return for which network the images of each attack are made, by data set and attack."""
    return {
        data: {name: attack.made_for(network) for name, attack in by_name.items()} for data, by_name in attacks.items()
    }


def print_made_for(origins: Mapping[str, Any], console: Console) -> None:
    """Print a line for every attack whose images are not made for the network that is shown them."""
    lines: dict[str, None] = {}  # once, where data and concepts have the same
    for by_name in origins.values():
        for name, origin in by_name.items():
            if origin["made_for"] != _MADE_HERE or "path" in origin:
                lines[f"  {name}: made for {_described(origin)}"] = None
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _described(origin: Mapping[str, Any]) -> str:
    kind = {"unknown": "an unknown network", "ensemble": "an ensemble"}.get(origin["made_for"], origin["made_for"])
    details = [
        f"{source['network']}, weights {str(source['weights_sha256'])[:12]}" for source in origin.get("sources", ())
    ]
    details += [origin["path"]] if "path" in origin else []
    return f"{kind} ({'; '.join(details)})"


def _attacked(evaluation: Evaluation, data: Data) -> bool:
    return any(evaluation.questions[name].attacked for name in evaluation.question_names(data))
