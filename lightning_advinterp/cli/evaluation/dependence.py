"""What an evaluation's numbers depend on, and whether two evaluations may stand in one folder."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from lightning_advinterp.analyses.base.protocol import Analysis
from lightning_advinterp.analyses.base.provenance import digest
from lightning_advinterp.analyses.base.question import Data, Question, Scene
from lightning_advinterp.cli.evaluation.config import Evaluation
from lightning_advinterp.cli.evaluation.inputs import Images, Subject
from lightning_advinterp.cli.processes import FLAGS as PROCESS_FLAGS
from lightning_advinterp.cli.suggestions import written_out
from lightning_advinterp.networks.choice import NetworkChoice

_NO_NUMBERS = (
    "analyses",
    "rows",
    "compare",
    "figures",
    "output",
    "dry_run",
    "trial_seconds",
    "memory",
    "device",
    *PROCESS_FLAGS,
    "num_workers",
    "batch_size",
    "least_success",
)
"""Flags that choose what is done, where and how fast, and leave every single number as it is."""

_NETWORK = (*(entry.name for entry in fields(NetworkChoice)), "resize", "crop")
"""Flags that name the network and its images; what counts is the network itself, by its hash."""

_ATTACK = ("attack", "transfer_from", "eps", "steps", "calibration_images")
_OF_DATA = ("data", "split", "image_column", "label_column", "on_bad_image", "classes")


def flags_of(evaluation: Evaluation) -> dict[str, Any]:
    """Return all settings as the command line has them: a question's under its name."""
    flags: dict[str, Any] = asdict(evaluation)
    questions: dict[str, Any] = flags.pop("questions")
    return flags | questions


def said_flags(evaluation: Evaluation) -> dict[str, Any]:
    """Return the same, with what is said of attacks and explanations alone."""
    flags: dict[str, Any] = written_out(evaluation)
    questions: dict[str, Any] = flags.pop("questions")
    return flags | questions


def settings_of(evaluation: Evaluation, name: str) -> set[str]:
    """Return the flags that a question reads; a flag that nothing is known of is read by all."""
    question = _question(evaluation, name)
    unread = {*_NO_NUMBERS, *_NETWORK, "images", "layers", "concepts", *evaluation.questions}
    unread -= {*question.uses, name, *question.companions}
    unread |= set() if question.attacked else set(_ATTACK)
    unread |= set(_OF_DATA) if question.data == "concepts" else {"concepts"} - question.uses
    return set(flags_of(evaluation)) - unread


class _Unknown(Question):
    """A question that this command knows by name alone."""

    def build(self, scene: Scene) -> list[Analysis]:
        """Return nothing: it is not asked here."""
        return []


def _question(evaluation: Evaluation, name: str) -> Question:
    """Return a question; one of a user's own that another evaluation asked is taken for one without settings."""
    question: Question = evaluation.questions.get(name, _Unknown())
    return question


def depends_on(
    evaluation: Evaluation,
    names: Sequence[str],
    origin: Mapping[str, Any],
    subject: Subject,
    opened: Mapping[Data, Images],
    files: Any,
    named: Any = (),
) -> dict[str, str]:
    """Return a digest of everything that the numbers of analyses depend on, by what it is called.

    Args:
        evaluation: the settings.
        names: the analyses.
        origin: the provenance, with the network's hash and the versions.
        subject: the network.
        opened: the images that are looked at.
        files: what else decides about attacks, such as when files were changed.
        named: likewise of files that the analyses' settings name.
    """
    settings = flags_of(evaluation)
    flags = set[str]().union(*(settings_of(evaluation, name) for name in names)) - {"data", "concepts"}
    parts: dict[str, Any] = {flag: settings[flag] for flag in sorted(flags)}
    settings_text = " ".join(str(settings[flag]) for flag in flags)
    bases = {name: basis["sha256"] for name, basis in origin.get("bases", {}).items() if basis["file"] in settings_text}
    if bases:
        parts["bases"] = bases
    named = [images.files for images in opened.values() if images.files is not None]
    if "images" in parts and named:
        parts["images"] = [images.stamp for images in named] + [parts["images"]]
    network = {key: origin[key] for key in ("network", "weights_sha256")}
    parts["network"] = [network, subject.outputs, asdict(subject.recipe)]
    parts["versions"] = origin["versions"]
    looked_at = {evaluation.questions[name].data for name in names}
    looked_at |= {"concepts"} if any("concepts" in evaluation.questions[name].uses for name in names) else set()
    for data in looked_at & set(opened):
        reported = opened[data].reported
        parts[data] = [reported.fingerprint, reported.stamp, len(reported)]
    if any(evaluation.questions[name].attacked for name in names):
        parts["members"] = files
    if named:
        parts["files"] = named
    return {key: digest(value) for key, value in parts.items()}


def differences(before: Any, now: Mapping[str, str]) -> list[str]:
    """Return what two evaluations both depend on and do not share; everything where nothing is known of the first."""
    if not isinstance(before, Mapping) or not before:
        return ["settings"]
    return [key for key in now if key in before and before[key] != now[key]]


def joined_provenance(
    evaluation: Evaluation,
    before: Mapping[str, Any],
    staying: Sequence[str],
    now: Mapping[str, Any],
    names: Sequence[str],
) -> dict[str, Any]:
    """Return the provenance of the analyses that were done before and stay, and of those done now.

    Args:
        evaluation: the settings of what was done now.
        before: the provenance in the folder's record.
        staying: the analyses that stay.
        now: the provenance of what was done now.
        names: the analyses done now.
    """
    flags = set[str]().union(*(settings_of(evaluation, name) for name in names))
    earlier = set[str]().union(*(settings_of(evaluation, name) for name in staying)) - flags
    settings = dict(now["settings"])
    settings |= {flag: before["settings"][flag] for flag in earlier if flag in before.get("settings", {})}
    settings["analyses"] = [*staying, *names]
    joined: dict[str, Any] = {**now, "settings": settings}
    for name in staying:
        data = _question(evaluation, name).data
        if data in before:
            joined.setdefault(data, before[data])
    for entry in ("analyses", "calibration", "made_for"):
        both = {**before.get(entry, {}), **now.get(entry, {})}
        if both:
            joined[entry] = both
    return joined
