"""The evaluation of one network: its images, its attacks, its analyses, its folder."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.analysis import Result
from lightning_advinterp.analyses.provenance import digest, provenance
from lightning_advinterp.attacks.calibration import Calibration
from lightning_advinterp.attacks.config import AttackConfig
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.data.loaders import worker_count
from lightning_advinterp.evaluation.calibration import calibrate_attacks, most_passes, uncalibrated
from lightning_advinterp.evaluation.config import Evaluation
from lightning_advinterp.evaluation.context import Context
from lightning_advinterp.evaluation.groups import SkippedImages, groups_of
from lightning_advinterp.evaluation.inputs import Images, Subject, load_concepts, load_images
from lightning_advinterp.evaluation.registry import ANALYSES, Data, analysis_names
from lightning_advinterp.files import write_text
from lightning_advinterp.networks import Network
from lightning_advinterp.report import save_results
from lightning_advinterp.report.save import name_images

Checking = Callable[[], AbstractContextManager[None]]
"""Around what looks at the input; the command line makes plain messages of the errors there, and there alone."""


@dataclass(frozen=True)
class Evaluated:
    """What was found of one network.

    Attributes:
        results: by analysis; none in a dry run.
        journals: what an interrupted evaluation would go on from.
        note: says that this network is done with, and what was found; to be deleted once all networks are.
    """

    results: dict[str, Result] = field(default_factory=dict)
    journals: list[Path] = field(default_factory=list)
    note: Path | None = None

    def finish(self) -> None:
        """Put the results, which are small, into the place of the journals, which are not."""
        if self.note is not None:
            found = {name: {"scalars": one.scalars, "tables": one.tables} for name, one in self.results.items()}
            write_text(self.note, json.dumps(found, default=float))
        for journal in self.journals:
            for path in journal.parent.glob(f"{journal.name}.*"):
                path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Delete the note."""
        if self.note is not None:
            self.note.unlink(missing_ok=True)


def evaluate_one(
    evaluation: Evaluation, subject: Subject, folder: Path, console: Console, checking: Checking = nullcontext
) -> Evaluated:
    """Run the analyses on one network and write its folder; nothing in a dry run."""
    device = choose_device(evaluation.device)
    network = subject.network.to(device)
    open_weights = uncalibrated(evaluation.attack_configs())
    with checking():
        opened = _open(evaluation, subject, evaluation.calibration_images if open_weights else 0)
    console.print(f"{subject.title}: {', '.join(analysis_names(evaluation))} on {device}")
    for line in network.origin.lines(network.mean, network.std, subject.recipe.input_size):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    for images in opened.values():
        if (labels := getattr(images.reported, "labelling", None)) is not None:
            console.print(f"  {labels}", markup=False, highlight=False)
    settings = {
        key: value for key, value in asdict(evaluation).items() if key not in ("rows", "output", "dry_run", "trust")
    }
    settings |= {"preparation": asdict(subject.recipe)}
    origin = provenance(network, {data: images.reported for data, images in opened.items()}, settings)
    key = digest(origin, subject.outputs, _member_files(evaluation), _stamps(opened))
    note = None if evaluation.dry_run else folder / f".unfinished-{key}.json"
    if note is not None and note.exists():
        console.print("  done already, before the interruption")
        found = json.loads(note.read_text(encoding="utf-8"))
        return Evaluated({name: Result(name, one["scalars"], one["tables"]) for name, one in found.items()}, note=note)
    if network.untrained:
        console.print(f"  random weights in {network.untrained}: give --weights for a trained network")
    calibration = {data: _calibrate(evaluation, network, images, console) for data, images in opened.items()}
    shared = evaluation.attacks()
    attacks = {
        data: evaluation.attacks({name: one.weight for name, one in found.items()}) if found else shared
        for data, found in calibration.items()
    }
    made = {data: {name: repr(one) for name, one in some.items()} for data, some in attacks.items()}
    origin["settings"]["attacks"] = made
    if any(calibration.values()):
        origin["calibration"] = {
            data: {
                "images": getattr(opened[data].calibration, "fingerprint", None),
                "attacks": {name: asdict(one) for name, one in found.items()},
            }
            for data, found in calibration.items()
        }
    if not evaluation.dry_run:
        folder.mkdir(parents=True, exist_ok=True)
    done = Evaluated(note=note)
    figures: dict[str, Figure] = {}
    labels = {data: getattr(images.reported, "labels", None) for data, images in opened.items()}
    for group in groups_of(evaluation, attacks, network.num_classes, labels):
        with checking():
            dataset = group.images(opened[group.data].reported, evaluation)
        for attack in attacks[group.data].values():
            attack.classes = None  # a group before may have narrowed them
        context = Context(
            network, subject.title, subject.outputs, attacks[group.data], dataset, group.names, evaluation
        )
        with checking():
            built = {name: ANALYSES[name].build(context) for name in group.names}
        skipped = [SkippedImages(dataset)] if isinstance(dataset, ImageFolderDataset) else []
        # The name carries all that the states depend on: an interrupted evaluation goes on only as itself.
        journal = folder / f".unfinished-{digest(key, made, asdict(group))}"
        own = _run_group(evaluation, built, skipped, context, journal, console, checking)
        if evaluation.dry_run:
            continue
        done.journals.append(journal)
        for name in group.names:
            figures |= ANALYSES[name].figures([one for some in built.values() for one in some], own, context)
        for one in skipped:
            one.dataset.report_bad_images()
            origin[group.data]["skipped"] = sorted({*origin[group.data].get("skipped", []), *one.paths})
        name_images(own, dataset)
        done.results.update({name: result for name, result in own.items() if result.scalars or result.tables})
    if done.results:
        own_origins = {name: result.provenance for name, result in done.results.items() if result.provenance}
        save_results(folder, done.results, figures, origin | ({"analyses": own_origins} if own_origins else {}))
        done.finish()
    return done


def _member_files(evaluation: Evaluation) -> list[tuple[str, int, int]]:
    """Return size and time of the files of networks on which attacks are made, which only their paths name."""
    members = [one for config in evaluation.attack_configs().values() for one in config.members or ()]
    paths = [path for one in members for path in (one.weights, one.checkpoint) if path and Path(path).is_file()]
    return [(path, Path(path).stat().st_size, Path(path).stat().st_mtime_ns) for path in paths]


def _stamps(opened: Mapping[Data, Images]) -> dict[str, list[str | None]]:
    """Return when images were last changed, where they are files; their fingerprints know paths alone, or sizes."""
    return {
        data: [getattr(some, "stamp", None) for some in (images.reported, images.calibration)]
        for data, images in opened.items()
    }


def _open(evaluation: Evaluation, subject: Subject, calibration: int) -> dict[Data, Images]:
    """Open what the analyses look at, with further images for a calibration."""
    wanted = dict.fromkeys(ANALYSES[name].data for name in analysis_names(evaluation))
    load = {"data": load_images, "concepts": load_concepts}
    return {data: load[data](evaluation, subject, calibration) for data in wanted}


def _calibrate(evaluation: Evaluation, network: Network, images: Images, console: Console) -> dict[str, Calibration]:
    """Find the weights that are to be found, for one set; in a dry run say what that would cost."""
    configs = uncalibrated(evaluation.attack_configs())
    if not configs:
        return {}
    _announce(images, configs, console)
    if evaluation.dry_run:
        return {}
    return calibrate_attacks(
        configs,
        network,
        images.calibration,
        device=choose_device(evaluation.device),
        batch_size=evaluation.batch_size,
        seed=evaluation.seed,
        console=console,
    )


def _run_group(
    evaluation: Evaluation,
    built: Mapping[str, list[Any]],
    beside: list[Any],
    context: Context,
    journal: Path,
    console: Console,
    checking: Checking,
) -> dict[str, Result]:
    """Run the analyses that look at the same images; in a dry run say what it would cost."""
    analyses = [analysis for own in built.values() for analysis in own] + beside
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
            keep_journal=True,
        )
        cost = runner.passes(analyses)
    costs = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in cost.items())
    console.print(f"  {', '.join(built)}: {costs}")
    again = sum(ANALYSES[name].pictures(context) for name in built)
    if again:
        console.print(f"  figures: up to {min(again, len(context.dataset)):,} of these images once more")
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
