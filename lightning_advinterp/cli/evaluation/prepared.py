"""Everything that an evaluation of one network settles before its analyses run."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lightning_advinterp.analyses.base.provenance import digest, provenance
from lightning_advinterp.analyses.base.question import Data, Question
from lightning_advinterp.analyses.base.trial import Estimate
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.cli.evaluation.bases_used import bases_used, basis_lines
from lightning_advinterp.cli.evaluation.calibration import uncalibrated
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.dependence import depends_on, said_flags
from lightning_advinterp.cli.evaluation.inputs import Images, Subject, check_subject, load_concepts, load_files
from lightning_advinterp.cli.evaluation.left_out import LeftOut
from lightning_advinterp.cli.evaluation.memory import InMemory
from lightning_advinterp.cli.evaluation.stored import stored_attacks, without_missing
from lightning_advinterp.cli.processes import FLAGS as PROCESS_FLAGS
from lightning_advinterp.core.devices import choose_device
from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.processes import ALONE, Processes
from lightning_advinterp.networks.formats import EvaluationNetworks

Checking = Callable[[], AbstractContextManager[None]]
"""Around what looks at the input; the command line makes plain messages of the errors there, and there alone."""

_NOT_RECORDED = ("rows", "figures", "output", "dry_run", "trial_seconds", "memory", "trust", *PROCESS_FLAGS)
"""Flags that stand in no provenance."""


@dataclass(frozen=True)
class Prepared:
    """A network on its device, its images, and what its numbers depend on.

    Attributes:
        evaluation: the settings.
        subject: the network.
        opened: the images that the analyses look at.
        stored: attacks whose images are there already, checked for the images.
        names: the analyses that can run.
        device: where to compute.
        origin: the provenance; calibrated attacks and skipped images are added while the analyses run.
        key: names the states that an interrupted evaluation goes on from.
        depends: a digest of everything that the numbers depend on, by what it is called.
        left_out: notes what cannot be run.
        console: where to print.
        checking: made anew around everything that looks at the input.
        processes: this process among those that share the work.
        estimates: what a dry run found that the groups of analyses will take.
        formats: the network in the formats that its passes are computed in; None: as it is.
    """

    evaluation: Evaluation
    subject: Subject
    opened: Mapping[Data, Images]
    stored: Mapping[Data, Mapping[str, Attack]]
    names: list[str]
    device: torch.device
    origin: dict[str, Any]
    key: str
    depends: dict[str, str]
    left_out: LeftOut
    console: Console
    checking: Checking
    processes: Processes = ALONE
    estimates: list[Estimate] = field(default_factory=list)
    formats: EvaluationNetworks | None = None

    @property
    def shows_progress(self) -> bool:
        """Whether this process draws bars."""
        return self.processes.first and not self.console.quiet


def prepare(
    evaluation: Evaluation,
    subject: Subject,
    console: Console,
    checking: Checking,
    memory: InMemory,
    processes: Processes = ALONE,
) -> Prepared:
    """Open the images of an evaluation, look at network, attacks and analyses, and print what is used.

    Args:
        evaluation: the settings.
        subject: the network; it is moved to its device.
        console: where to print.
        checking: made anew around everything that looks at the input.
        memory: images in the place of those that are named.
        processes: this process among those that share the work.

    Raises:
        ValueError, FileNotFoundError: naming the argument, before any work is done.
        RunStoppedError: if processes see different things.
    """
    device = choose_device(evaluation.device) if processes.device is None else processes.device
    network = subject.network.to(device)
    left_out = LeftOut(evaluation, console, processes)
    calibration = evaluation.calibration_images if uncalibrated(evaluation.attack_configs()) else 0
    with checking():
        opened = _open(evaluation, subject, calibration, left_out, memory, console, check=processes.first)
        opened = without_missing(evaluation, opened, console)
        stored = stored_attacks(evaluation, opened)
        check_subject(evaluation, subject, channels=memory.channels)
    names = left_out.remaining(evaluation.question_names())
    console.print(f"{subject.title}: {', '.join(names)} on {device}")
    formats = EvaluationNetworks(network, evaluation.pass_format, evaluation.precision)
    _print_sources(subject, opened, formats, console)
    origin = _origin(evaluation, subject, opened, formats)
    with checking():
        if bases := bases_used(evaluation):
            origin["bases"] = bases
    for line in basis_lines(bases, origin["weights_sha256"]):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    members, named = _member_files(evaluation), _question_files(evaluation, names)
    prepared = Prepared(
        evaluation,
        subject,
        opened,
        stored,
        names,
        device,
        origin,
        key=digest(_without_threads(origin), subject.outputs, members + named, _stamps(opened)),
        depends=depends_on(evaluation, names, origin, subject, opened, members, named),
        left_out=left_out,
        console=console,
        checking=checking,
        processes=processes,
        formats=formats,
    )
    _require_same(prepared)
    return prepared


def _origin(
    evaluation: Evaluation, subject: Subject, opened: Mapping[Data, Images], formats: EvaluationNetworks
) -> dict[str, Any]:
    """Return the provenance."""
    settings = {flag: value for flag, value in said_flags(evaluation).items() if flag not in _NOT_RECORDED}
    settings["preparation"] = asdict(subject.recipe)
    origin = provenance(subject.network, {data: images.reported for data, images in opened.items()}, settings)
    return origin | {"passes": formats.described}


def _without_threads(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return what names an evaluation's states, from which other numbers of processes, and so of threads, go on."""
    return {name: value for name, value in origin.items() if name != "threads"}


def _require_same(prepared: Prepared) -> None:
    """Refuse processes that see different things, such as another machine's copy of the images.

    Raises:
        RunStoppedError: naming what differs.
    """
    depends, key = prepared.processes.of_first((prepared.depends, prepared.key))
    differing = [name for name in prepared.depends if prepared.depends[name] != depends.get(name)]
    if differing or prepared.key != key:
        raise RunStoppedError(
            f"process {prepared.processes.rank} sees other {', '.join(differing or ['settings'])} than process 0; give "
            "all machines the same files and versions."
        )


def _open(
    evaluation: Evaluation,
    subject: Subject,
    calibration: int,
    left_out: LeftOut,
    memory: InMemory,
    console: Console,
    *,
    check: bool,
) -> dict[Data, Images]:
    """Open what the analyses look at, with further images for a calibration."""
    progress = not console.quiet
    load: dict[Data, Callable[[Evaluation, Subject, int], Images]] = {
        "data": memory.load_images,
        "concepts": partial(load_concepts, check=check, progress=progress),
    }
    opened: dict[Data, Images] = {}
    for data in dict.fromkeys(evaluation.questions[name].data for name in evaluation.question_names()):
        with left_out.whole(evaluation.question_names(data)):
            images = load[data](evaluation, subject, calibration)
            if data == "data" and evaluation.images and images.files is None:
                images = replace(images, files=load_files(evaluation, subject, images.reported))
            opened[data] = images
    beside = [name for name in evaluation.question_names("data") if "concepts" in evaluation.questions[name].uses]
    if beside and evaluation.concepts is not None and "concepts" not in opened:
        with left_out.whole(beside):
            opened["concepts"] = load_concepts(evaluation, subject, check=check, progress=progress)
    left_out.refuse_if_all(evaluation.question_names())
    return opened


def _print_sources(
    subject: Subject, opened: Mapping[Data, Images], formats: EvaluationNetworks, console: Console
) -> None:
    """Say which weights, which normalisation, which labels and which format of passes are used."""
    network = subject.network
    for line in network.origin.lines(network.mean, network.std, subject.recipe.input_size):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    if "data" in opened and opened["data"].files is opened["data"].reported and not subject.outputs.classes:
        console.print("  classes        have numbers alone: give --classes FILE, imagenet or cifar10 to name them")
    for images in opened.values():
        if (labelling := images.reported.labelling) is not None:
            console.print(f"  {labelling}", markup=False, highlight=False)
    console.print(f"  passes         {formats.line}", markup=False, highlight=False, soft_wrap=True)


def _member_files(evaluation: Evaluation) -> list[tuple[str, int, int]]:
    """Return size and time of files that only their paths name: of networks on which attacks are made, and targets."""
    members = [member for config in evaluation.attack_configs().values() for member in config.members or ()]
    paths = [path for member in members for path in (member.weights, member.checkpoint) if path]
    paths += [config.target_file for config in evaluation.attack_configs().values() if config.target_file]
    for config in evaluation.attack_configs().values():
        stored = config.get("path")
        folders = [stored] if isinstance(stored, str) else list((stored or {}).values())
        paths += [str(path) for folder in folders for path in sorted(Path(folder).rglob("*"))]
    return _stats(paths)


def _question_files(evaluation: Evaluation, names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return the same of files that questions' settings name, such as other networks and patterns."""
    questions: list[Question] = [evaluation.questions[name] for name in names]
    return _stats([path for question in questions for path in question.files])


def _stats(paths: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return size and time of those paths that are files."""
    stats = {path: Path(path).stat() for path in paths if Path(path).is_file()}
    return [(path, stats[path].st_size, stats[path].st_mtime_ns) for path in paths if path in stats]


def _stamps(opened: Mapping[Data, Images]) -> dict[str, list[str | None]]:
    """Return when images were last changed, where they are files; their fingerprints know paths alone, or sizes."""
    return {
        data: [None if split is None else split.stamp for split in (images.reported, images.calibration, images.files)]
        for data, images in opened.items()
    }
