"""The evaluation of one network: its images, its attacks, its analyses, its folder."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from torch.utils.data import Subset

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.analysis import Result
from lightning_advinterp.analyses.provenance import digest, provenance
from lightning_advinterp.analyses.runner import subset_indices
from lightning_advinterp.attacks.calibration import Calibration
from lightning_advinterp.attacks.config import AttackConfig
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.data.labels import balanced_subset
from lightning_advinterp.data.loaders import worker_count
from lightning_advinterp.evaluation.calibration import calibrate_attacks, most_passes, uncalibrated
from lightning_advinterp.evaluation.config import Evaluation
from lightning_advinterp.evaluation.context import Context
from lightning_advinterp.evaluation.inputs import Images, Subject, load_concepts, load_images
from lightning_advinterp.evaluation.registry import ANALYSES, Data
from lightning_advinterp.report import save_results

Checking = Callable[[], AbstractContextManager[None]]
"""Around what looks at the input; the command line makes plain messages of the errors there, and there alone."""


def evaluate_one(
    evaluation: Evaluation, subject: Subject, folder: Path, console: Console, checking: Checking = nullcontext
) -> dict[str, Result]:
    """Run the analyses on one network and write its folder; nothing in a dry run."""
    device = choose_device(evaluation.device)
    network = subject.network.to(device)
    open_weights = uncalibrated(evaluation.attack_configs())
    with checking():
        groups = _open(evaluation, subject, evaluation.calibration_images if open_weights else 0)
    console.print(f"{subject.title}: {', '.join(evaluation.analysis_names())} on {device}")
    if network.untrained:
        console.print(f"  random weights in {network.untrained}: give --weights for a trained network")
    calibration: dict[str, Calibration] = {}
    first = next(iter(groups.values()))
    if open_weights:
        _announce(first, open_weights, console)
    if open_weights and not evaluation.dry_run:
        calibration = calibrate_attacks(
            open_weights,
            network,
            first.calibration,
            device=device,
            batch_size=evaluation.batch_size,
            seed=evaluation.seed,
            console=console,
        )
    attacks = evaluation.attacks({name: one.weight for name, one in calibration.items()})
    settings = {key: value for key, value in asdict(evaluation).items() if key not in ("rows", "output", "dry_run")}
    settings |= {"attacks": {name: repr(attack) for name, attack in attacks.items()}}
    origin = provenance(network, {name: images.reported for name, images in groups.items()}, settings)
    if calibration:
        found = {name: asdict(one) for name, one in calibration.items()}
        origin["calibration"] = {"images": getattr(first.calibration, "fingerprint", None), "attacks": found}
    if not evaluation.dry_run:
        folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Result] = {}
    figures: dict[str, Figure] = {}
    for (data, limit, _), names in _groups(evaluation).items():
        with checking():
            dataset = _chosen(evaluation, groups[data].reported, names[0], limit)
        # The name carries all that the states depend on: an interrupted evaluation goes on only as itself.
        journal = folder / f".unfinished-{digest(origin, data, limit, names)}"
        context = Context(network, subject.title, subject.outputs, attacks, dataset, evaluation)
        with checking():
            built = {name: ANALYSES[name].build(context) for name in names}
        own = _run_group(evaluation, built, context, journal, console, checking)
        for name in names if own else ():
            figures |= ANALYSES[name].figures([one for some in built.values() for one in some], own, context)
        if isinstance(dataset, ImageFolderDataset):
            dataset.report_bad_images()
            origin[data]["skipped"] = sorted({*origin[data].get("skipped", []), *dataset.bad_images})
        name_images(own, dataset)
        results |= {name: result for name, result in own.items() if result.scalars or result.tables}
    if results:
        save_results(folder, results, figures, origin)
    return results


def _open(evaluation: Evaluation, subject: Subject, calibration: int) -> dict[Data, Images]:
    """Open what the analyses look at; the first set gives the images of a calibration."""
    wanted = list(dict.fromkeys(ANALYSES[name].data for name in evaluation.analysis_names()))
    opened: dict[Data, Images] = {}
    for data in wanted:
        load = load_images if data == "data" else load_concepts
        opened[data] = load(evaluation, subject, 0 if opened else calibration)
    return opened


def _groups(evaluation: Evaluation) -> dict[tuple[Data, int | None, str], list[str]]:
    """Return the analyses by what they look at: the set, how many of its images at most, and whose own choice."""
    found: dict[tuple[Data, int | None, str], list[str]] = {}
    for name in evaluation.analysis_names():
        entry = ANALYSES[name]
        found.setdefault((entry.data, entry.limit(evaluation), name if entry.choose else ""), []).append(name)
    return found


def _chosen(evaluation: Evaluation, dataset: Any, name: str, limit: int | None) -> Any:
    """Return the images that an analysis chooses, or a seeded choice, even over the classes where there are some."""
    choose = ANALYSES[name].choose
    if choose is not None:
        places = choose(evaluation, dataset)
    elif limit is None or limit >= len(dataset):
        return dataset
    elif hasattr(dataset, "only"):
        labels = getattr(dataset, "labels", None) or [0] * len(dataset)
        places = balanced_subset(labels, limit, evaluation.seed)
    else:
        places = subset_indices(len(dataset), limit, evaluation.seed).tolist()
    return dataset.only(places) if hasattr(dataset, "only") else Subset(dataset, places)


def _run_group(
    evaluation: Evaluation,
    built: Mapping[str, list[Any]],
    context: Context,
    journal: Path,
    console: Console,
    checking: Checking,
) -> dict[str, Result]:
    """Run the analyses that look at the same images; in a dry run say what it would cost."""
    analyses = [analysis for own in built.values() for analysis in own]
    with checking():
        runner = Runner(
            context.network,
            context.dataset,
            attacks=context.attacks,
            batch_size=evaluation.batch_size,
            device=context.runner["device"],
            seed=evaluation.seed,
            num_workers=worker_count(evaluation.num_workers),
            progress=True,
            journal=journal,
        )
        cost = runner.passes(analyses)
    costs = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in cost.items())
    console.print(f"  {', '.join(built)}: {costs}")
    return {} if evaluation.dry_run else runner.run(analyses)


def _announce(images: Images, configs: Mapping[str, AttackConfig], console: Console) -> None:
    """Say what a calibration looks at, and at what cost."""
    count = len(images.calibration)
    forwards, backwards = most_passes(configs, count)
    console.print(
        f"  calibration of {', '.join(configs)} on {count} images that are not reported on: "
        f"up to {forwards:,} forward passes, {backwards:,} backward passes"
    )
    if images.taken:
        console.print(
            f"  too few other images: {images.taken} are taken from those to be reported on, "
            f"which leaves {len(images.reported)}"
        )


def name_images(results: Mapping[str, Result], dataset: Any) -> None:
    """Put paths relative to the data's folder for the images' numbers in all tables, where images have paths."""
    path_of = getattr(dataset, "path_of", None)
    if path_of is None:
        return
    for result in results.values():
        for rows in result.tables.values():
            for row in rows:
                if isinstance(row.get("image"), int):
                    row["image"] = path_of(row["image"])


def choose_device(name: str) -> torch.device:
    """Return the device, or say which there are.

    Raises:
        ValueError: if the device is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise ValueError(f"device {name!r} cannot be used here; there are {', '.join(there)}.") from None
    return device
