"""One command for every analysis: from an :class:`Evaluation` to files."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.analysis import Result, Row
from lightning_advinterp.analyses.provenance import digest, provenance
from lightning_advinterp.attacks.calibration import Calibration
from lightning_advinterp.attacks.config import AttackConfig
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.data.loaders import worker_count
from lightning_advinterp.evaluation.calibration import calibrate_attacks, most_passes, uncalibrated
from lightning_advinterp.evaluation.config import ANALYSES, Evaluation
from lightning_advinterp.evaluation.inputs import Images, Subject, load_images, load_subject
from lightning_advinterp.report import accuracy_bars, accuracy_table, save_results


Checking = Callable[[], AbstractContextManager[None]]
"""Around what looks at the input; the command line makes plain messages of the errors there, and there alone."""


def run_evaluation(
    evaluation: Evaluation, console: Console, checking: Checking = nullcontext
) -> dict[str, dict[str, Result]]:
    """Evaluate every network asked for, write its files, and print the tables.

    Args:
        evaluation: what is asked for.
        console: where to print.
        checking: made anew around everything that looks at the input.

    Returns:
        Results by analysis, by network.

    Raises:
        ValueError, FileNotFoundError: naming the argument, before any work is done for it.
    """
    with checking():
        subjects = _check(evaluation, console)
    found: dict[str, dict[str, Result]] = {}
    for name, one in subjects.items():
        with checking():
            try:
                subject = load_subject(one)
            except OSError as error:  # no such file, or weights that cannot be downloaded
                if not evaluation.rows:
                    raise
                console.print(f"{name}: left out, {error}")
                continue
        output = Path(evaluation.output)
        results = _evaluate_one(one, subject, output / name if name else output, console, checking)
        if results:
            found[name or subject.title] = results
    if found:
        _print_tables(evaluation, found, console)
        console.print(f"written to     {evaluation.output}/ (tables, figures, results.json, index.html)")
    return found


def _check(evaluation: Evaluation, console: Console) -> dict[str, Evaluation]:
    """Look at all that can be looked at before any work is done; return what is to be evaluated, by its name."""
    evaluation.analysis_names()
    evaluation.attack_configs()
    choose_device(evaluation.device)
    worker_count(evaluation.num_workers)
    subjects = {"": evaluation}
    if evaluation.compare:
        other = replace(evaluation, checkpoint=evaluation.compare, network=None, weights=None, num_classes=None, stem=None)
        load_subject(other)  # what is wrong with the second shows before the first is evaluated
        subjects["compare"] = other
    if evaluation.rows:
        subjects = {
            row.name: replace(evaluation, network=row.network, weights=row.weights, checkpoint=row.checkpoint)
            for row in evaluation.rows
        }
    _check_files(evaluation, Path(evaluation.output), console)
    return subjects


def _check_files(evaluation: Evaluation, output: Path, console: Console) -> None:
    """Refuse an output that cannot be written and inputs that are not there, before any work is done."""
    place = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ValueError(f"output: cannot write to {evaluation.output!r}, since {str(place)!r} is no writable folder.")
    for flag, paths in (("images", evaluation.images), ("concepts", [evaluation.concepts or "."])):
        for path in paths:
            if not Path(path).exists():
                raise FileNotFoundError(f"{flag}: there is no {path!r}.")
    unused = [flag for flag in ("images", "concepts", "layers") if getattr(evaluation, flag)]
    if unused:
        console.print(f"{', '.join(unused)}: no use to {', '.join(evaluation.analysis_names())}")


def _evaluate_one(
    evaluation: Evaluation, subject: Subject, folder: Path, console: Console, checking: Checking
) -> dict[str, Result]:
    """Run the analyses on one network and write its folder; nothing in a dry run."""
    device = choose_device(evaluation.device)
    network = subject.network.to(device)
    open_weights = uncalibrated(evaluation.attack_configs())
    with checking():
        images = load_images(evaluation, subject, evaluation.calibration_images if open_weights else 0)
    console.print(f"{subject.title}: {', '.join(evaluation.analysis_names())} on {device}")
    if network.untrained:
        console.print(f"  random weights in {network.untrained}: give --weights for a trained network")
    calibration: dict[str, Calibration] = {}
    if open_weights:
        _announce(images, open_weights, console)
    if open_weights and not evaluation.dry_run:
        calibration = calibrate_attacks(
            open_weights,
            network,
            images.calibration,
            device=device,
            batch_size=evaluation.batch_size,
            seed=evaluation.seed,
            console=console,
        )
    dataset = images.reported
    attacks = evaluation.attacks({name: one.weight for name, one in calibration.items()})
    analyses = [ANALYSES[name](attacks) for name in evaluation.analysis_names()]
    settings = {key: value for key, value in asdict(evaluation).items() if key not in ("rows", "output", "dry_run")}
    origin = provenance(network, dataset, settings | {"attacks": {k: repr(v) for k, v in attacks.items()}})
    if calibration:
        found = {name: asdict(one) for name, one in calibration.items()}
        origin["calibration"] = {"images": getattr(images.calibration, "fingerprint", None), "attacks": found}
    with checking():
        runner = Runner(
            network,
            dataset,
            attacks=attacks,
            batch_size=evaluation.batch_size,
            device=device,
            seed=evaluation.seed,
            num_workers=worker_count(evaluation.num_workers),
            progress=True,
            # The name carries all that the states depend on: an interrupted evaluation goes on only as itself.
            journal=folder / f".unfinished-{digest(origin)}",
        )
    cost = runner.passes(analyses)
    console.print("  " + ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in cost.items()))
    if evaluation.dry_run:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    results = runner.run(analyses)
    if isinstance(dataset, ImageFolderDataset):
        dataset.report_bad_images()
        origin["data"]["skipped"] = dataset.bad_images
    figures = {}
    if "accuracy" in results:
        figures["accuracy"] = accuracy_bars(results["accuracy"].tables["accuracy"], subject.title)
    name_images(results, dataset)
    save_results(folder, results, figures, origin)
    return results


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


def _print_tables(evaluation: Evaluation, found: Mapping[str, Mapping[str, Result]], console: Console) -> None:
    tables: dict[str, list[Row]] = {
        name: results["accuracy"].tables["accuracy"] for name, results in found.items() if "accuracy" in results
    }
    if not tables:
        return
    console.print(accuracy_table(tables))
    printed: dict[str, Any] = {row.name: row.printed for row in evaluation.rows if row.printed}
    for name, kinds in printed.items():
        for row in tables.get(name, []):
            values = kinds.get(row["images"], {})
            text = ", ".join(f"{key} {100 * row[key]:.2f} (printed {100 * value:.2f})" for key, value in values.items())
            if text:
                console.print(f"{name}, {row['images']}: {text}")
