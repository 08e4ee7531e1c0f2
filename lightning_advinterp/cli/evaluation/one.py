"""The evaluation of one network: its images, its attacks, its analyses, its folder."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from rich.console import Console

from lightning_advinterp.analyses.base.provenance import digest, provenance
from lightning_advinterp.analyses.base.question import Data
from lightning_advinterp.cli.evaluation.calibration import attacks_on, uncalibrated
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.dependence import depends_on, flags_of
from lightning_advinterp.cli.evaluation.groups import groups_of
from lightning_advinterp.cli.evaluation.inputs import Images, Subject, check_subject, load_concepts, load_images
from lightning_advinterp.cli.evaluation.left_out import LeftOut
from lightning_advinterp.cli.evaluation.place import Outcome, Place, forget_states, journal_of, note_of, save_evaluation
from lightning_advinterp.cli.evaluation.running import Checking, evaluate_group
from lightning_advinterp.core.files import read_sealed, write_sealed
from lightning_advinterp.core.result import Result
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.report.store import differing, read_record


@dataclass(frozen=True)
class Evaluated:
    """What was found of one network.

    Attributes:
        results: by analysis; none in a dry run.
        folder: where its files are.
        key: names what an interrupted evaluation would go on from.
    """

    results: dict[str, Result] = field(default_factory=dict)
    folder: Path | None = None
    key: str = ""

    def finish(self) -> None:
        """Put the results, which are small, into the place of the journals, which are not."""
        assert self.folder is not None
        found = {name: {"scalars": one.scalars, "tables": one.tables} for name, one in self.results.items()}
        write_sealed(note_of(self.folder, self.key), json.dumps(found, default=float).encode())
        for path in self.folder.glob(f"{journal_of(self.folder, self.key, '').name}*"):
            path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Delete what is left for the case of an interruption."""
        if self.folder is not None:
            forget_states(self.folder, self.key)


def evaluate_one(
    evaluation: Evaluation,
    subject: Subject,
    folder: Path,
    console: Console,
    checking: Checking = nullcontext,
    *,
    place: Place | None = None,
    record: Mapping[str, Any] = MappingProxyType({}),
) -> Evaluated:
    """Run the analyses on one network and write its folder; nothing in a dry run.

    Args:
        evaluation: what is asked for.
        subject: the network.
        folder: held by this process.
        console: where to print.
        checking: made anew around everything that looks at the input.
        place: of the command, where the folder is one of several.
        record: what else stands in the folder's record.
    """
    device = choose_device(evaluation.device)
    network = subject.network.to(device)
    left_out = LeftOut(evaluation, console)
    open_weights = uncalibrated(evaluation.attack_configs())
    with checking():
        opened = _open(evaluation, subject, evaluation.calibration_images if open_weights else 0, left_out)
        check_subject(evaluation, subject)
    names = left_out.remaining(evaluation.question_names())
    console.print(f"{subject.title}: {', '.join(names)} on {device}")
    for line in network.origin.lines(network.mean, network.std, subject.recipe.input_size):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    for images in opened.values():
        if (labels := getattr(images.reported, "labelling", None)) is not None:
            console.print(f"  {labels}", markup=False, highlight=False)
    settings = flags_of(evaluation)
    settings = {key: settings[key] for key in settings if key not in ("rows", "output", "dry_run", "trust")}
    settings |= {"preparation": asdict(subject.recipe)}
    origin = provenance(network, {data: images.reported for data, images in opened.items()}, settings)
    members = _member_files(evaluation)
    key = digest(origin, subject.outputs, members, _stamps(opened))
    done = Evaluated(folder=None if evaluation.dry_run else folder, key=key)
    depends = depends_on(evaluation, names, origin, subject, opened, members)
    if not evaluation.dry_run:
        (place or Place(folder, console)).make_way(folder, key, depends)
        if (before := _done_before(folder, key)) is not None:
            console.print("  done already, before the interruption")
            return replace(done, results=before)
    if network.untrained:
        console.print(f"  random weights in {network.untrained}: give --weights for a trained network")
    attacks, calibrated = attacks_on(evaluation, network, opened, device, console)
    made = {data: {name: repr(one) for name, one in some.items()} for data, some in attacks.items()}
    origin["settings"]["attacks"] = made
    origin |= calibrated
    outcomes: dict[str, Outcome] = {}
    labels = {data: getattr(images.reported, "labels", None) for data, images in opened.items()}
    for group in groups_of(evaluation, attacks, network.num_classes, labels, names):
        found = evaluate_group(
            evaluation, subject, opened, attacks, group, (key, made), folder, console, checking, left_out
        )
        if found is not None:
            ended, skipped = found
            outcomes |= ended
            if isinstance(opened[group.data].reported, ImageFolderDataset):
                origin[group.data]["skipped"] = sorted({*origin[group.data].get("skipped", []), *skipped})
    with checking():
        left_out.refuse_if_all(names)
    for outcome in outcomes.values():
        done.results.update(outcome.results)
    if done.results:
        own_origins = {name: result.provenance for name, result in done.results.items() if result.provenance}
        origin |= {"analyses": own_origins} if own_origins else {}
        extra = {"depends_on": depends, **record} | ({"left_out": left_out.reasons} if left_out.reasons else {})
        save_evaluation(evaluation, folder, outcomes, origin, extra)
        done.finish()
    return done


def _done_before(folder: Path, key: str) -> dict[str, Result] | None:
    """Return what an interrupted command found of this network, where its files are all there."""
    content = read_sealed(note_of(folder, key), "what was found before the interruption")
    record = read_record(folder)
    if content is None or not record or differing(folder, record):
        return None
    found = json.loads(content)
    return {name: Result(name, one["scalars"], one["tables"]) for name, one in found.items()}


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


def _open(evaluation: Evaluation, subject: Subject, calibration: int, left_out: LeftOut) -> dict[Data, Images]:
    """Open what the analyses look at, with further images for a calibration."""
    load = {"data": load_images, "concepts": load_concepts}
    opened: dict[Data, Images] = {}
    for data in dict.fromkeys(evaluation.questions[name].data for name in evaluation.question_names()):
        with left_out.whole(evaluation.question_names(data)):
            opened[data] = load[data](evaluation, subject, calibration)
    left_out.refuse_if_all(evaluation.question_names())
    return opened


def choose_device(name: str) -> torch.device:
    """Return the device, or say which there are.

    Raises:
        ValueError: if the device is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        (torch.ones(1, device=device) + 1).item()  # the device meta has tensors, and no values
    except Exception:  # each kind of device that is not there says so in its own way
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise ValueError(f"device {name!r} cannot be used here; there are {', '.join(there)}.") from None
    return device
