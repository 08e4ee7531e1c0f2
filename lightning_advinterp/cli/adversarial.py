"""``python -m lightning_advinterp.adversarial``: a set of adversarial images on disk."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import torch

from lightning_advinterp.analyses.base.adversarial_plan import Targets, plan_set
from lightning_advinterp.analyses.base.adversarial_trial import estimate_set
from lightning_advinterp.analyses.base.attack_counts import warn_of_few
from lightning_advinterp.analyses.base.classes import TargetClasses, aim_within
from lightning_advinterp.analyses.base.make_adversarial import make_adversarial_set
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.grammar import OneAttack
from lightning_advinterp.attacks.prediction.presets import create_attack
from lightning_advinterp.cli.evaluation.config import FLAGS_OF_IMAGES, Evaluation
from lightning_advinterp.cli.evaluation.inputs import check_subject, load_concepts, load_images, load_subject
from lightning_advinterp.cli.evaluation.skipped import report_bad_images
from lightning_advinterp.cli.evaluation.trial import describe, requested_processes
from lightning_advinterp.cli.parser import read_settings, settings_parser
from lightning_advinterp.cli.processes import ProcessChoice, device_of, joined, one_speaks
from lightning_advinterp.cli.suggestions import SuggestingParser
from lightning_advinterp.core.devices import choose_device
from lightning_advinterp.core.errors import RunStoppedError, plain_errors, stops_explained, termination_explained
from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.core.processes import ALONE, Processes
from lightning_advinterp.core.terminal import PlainConsole, terminal
from lightning_advinterp.core.trust import OnBadWeights, trusting, vouch_for
from lightning_advinterp.data.adversarial_parts import Pixels
from lightning_advinterp.data.adversarial_set import missing_items
from lightning_advinterp.data.decode import BadImageError
from lightning_advinterp.data.image_folder import Orientation
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.networks.choice import NetworkChoice
from lightning_advinterp.networks.formats import EvaluationNetworks, PassChoice

_EQUATION_4 = AttackConfig("targeted_optimization", weight=0.1)


@dataclass(frozen=True)
class SetPlan(NetworkChoice, ProcessChoice, PassChoice):
    """What is attacked, how, and where it is written.

    Attributes:
        data: folder of images: DIR/<class>/*.jpg or DIR/val/<class>/*.jpg, or "concept_world".
        concepts: folder or tar file of a set in Broden's format, whose images are attacked instead, or "concept_world".
        split: which split of such a folder; of the concept world it is the test pictures.
        image_column: of shards and tables, which part of a sample is the image, as in evaluate.py.
        label_column: likewise the label.
        classes: what the outputs are called, where neither checkpoint nor weights say: a text file with one name for
            each output, imagenet, cifar10, or "folders" where the sorted order of the class folders is theirs.
        attack: how; null is Eq. 4 of Dong et al. 2022 with λ = 0.1. With the type ensemble, its members, and targets
            10 this is the set of Dong et al. 2017.
        targets: aim at so many least likely classes of every image, one adversarial image each; null for the attack's
            own rule; auto for one class, or for the attack's own rule where it has a target or moves away from the
            prediction, or takes no targets.
        target_classes: all outputs are targets to choose among; dataset: the images' classes alone, as semantics and
            distances choose.
        least_success: warn if a smaller share of the set reaches its goal.
        limit: attack so many images, a seeded choice, even over the classes; of the concept world 1,000 unless said.
        crop: side of the images.
        batch_size: images at a time.
        orientation: stored takes pixels as they lie in the file, as torchvision does; exif turns images by their EXIF
            orientation.
        part: adversarial images per file.
        pixels: uint8 keeps images as PNG, rounded to 8 bits; float32 keeps them just as the attack made them, in four
            times the room or more.
        device: auto, cpu, cuda, …
        seed: of the choice and of the attack's random numbers.
        process: this process's number, from 0, where several that are started one by one share the work.
        processes: how many these are; devices starts several together.
        output: folder of the set; what is in it already is not made again.
        dry_run: attack a few images, print the hours, memory and disk that the missing ones take, and stop.
        trial_seconds: about how long that may take.
        trust: import the classes that checkpoints name; without it those alone that flags or configuration name too.
        on_bad_weights: error refuses weights that hold NaN, infinity or negative variances; use takes them as they are.
    """

    data: str | None = None
    concepts: str | None = None
    split: str = "val"
    image_column: str | None = None
    label_column: str | None = None
    classes: str | None = None
    attack: OneAttack | None = None
    targets: Targets = "auto"
    target_classes: TargetClasses = "all"
    least_success: float = 0.1
    limit: int | None = None
    crop: int | None = None
    batch_size: int = 64
    orientation: Orientation = "stored"
    part: int = 512
    pixels: Pixels = "uint8"
    device: str = "auto"
    seed: int = 0
    process: int = 0
    processes: int = 1
    output: str = "adversarial_set"
    dry_run: bool = False
    trial_seconds: float = 60.0
    trust: bool = False
    on_bad_weights: OnBadWeights = "error"


def parser() -> SuggestingParser:
    """Return the parser: every field of :class:`SetPlan` is a flag."""
    return settings_parser(
        SetPlan, "Write adversarial images as lossless files with a manifest; an interrupted set goes on."
    )


def main(args: Sequence[str] | None = None) -> None:
    """Make what is missing of the set, verify its files, and say what it holds.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with stops_explained(BadImageError) as command, termination_explained():
        with plain_errors(), one_speaks(command):
            plan = read_settings(SetPlan, parser(), args)
        with ExitStack() as stack:
            with plain_errors():
                command.folder = None if plan.dry_run else Path(plan.output)
                _check(plan)
                processes = ALONE
                if not plan.dry_run:
                    processes = stack.enter_context(joined(plan, device_of(plan, plan.device), command))
                if processes.size > 1 and plan.processes > 1:
                    raise ValueError(f"processes={plan.processes}: devices starts the processes; leave processes out.")
            _make(plan, terminal(quiet=not command.first), processes)


def _check(plan: SetPlan) -> None:
    """Refuse numbers that are out of range.

    Raises:
        ValueError: naming the flag.
    """
    if not 0 <= plan.process < plan.processes:
        raise ValueError(f"process must be 0 to {plan.processes - 1}, processes less one, got {plan.process}.")
    if plan.data is not None and plan.concepts is not None:
        raise ValueError(f"give either data or concepts, got data={plan.data!r} and concepts={plan.concepts!r}.")
    if not 0 <= plan.least_success <= 1:
        raise ValueError(f"least_success must be a share from 0 to 1, got {plan.least_success}.")
    if not plan.trial_seconds > 0:
        raise ValueError(f"trial_seconds must be above 0, got {plan.trial_seconds}.")


@trusting()
def _make(plan: SetPlan, console: PlainConsole, processes: Processes) -> None:
    vouch_for(plan, files=plan.trust, on_bad_weights=plan.on_bad_weights)
    with plain_errors():
        same = [entry.name for entry in fields(NetworkChoice)]
        same += [*FLAGS_OF_IMAGES, "classes", "limit", "seed"]
        evaluation = Evaluation(analyses="predictions", attack=None, **{name: vars(plan)[name] for name in same})
        subject = load_subject(evaluation)
        for line in subject.network.origin.lines(subject.network.mean, subject.network.std, subject.recipe.input_size):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        device = choose_device(plan.device) if processes.device is None else processes.device
        load = load_images if plan.concepts is None else partial(load_concepts, check=processes.first)
        images = load(evaluation, subject).reported
        attack = create_attack(plan.attack or _EQUATION_4)
        if plan.target_classes == "dataset" and images.labels:
            attack = aim_within({"": attack}, images.labels, subject.network.num_classes)[""]
        subject.network.to(device)
        check_subject(evaluation, subject, [attack])
    if (labels := images.labelling) is not None:
        console.print(labels)
    formats = EvaluationNetworks(subject.network, plan.pass_format, plan.precision)
    console.print(f"passes         {formats.line}", markup=False, highlight=False, soft_wrap=True)
    if plan.dry_run:
        _print_estimate(plan, formats, images, attack, device, console)
        return
    adversarial_set = make_adversarial_set(
        subject.network,
        images,
        attack,
        plan.output,
        targets=plan.targets,
        batch_size=plan.batch_size,
        part=plan.part,
        pixels=plan.pixels,
        device=device,
        seed=plan.seed,
        rank=plan.process,
        world_size=plan.processes,
        progress=True,
        checking=plain_errors,
        processes=processes,
        formats=formats,
    )
    report_bad_images(images, processes)
    share = (plan.process, plan.processes) if processes.size == 1 else (processes.rank, processes.size)
    rows, shares = adversarial_set.rows, processes.gathered(adversarial_set.verify(*share))
    wrong = sorted(name for names in shares for name in names)
    if wrong:
        raise RunStoppedError(
            f"{', '.join(wrong)} in {plan.output} is not what was written; remove it and start again."
        )
    missing = adversarial_set.missing()
    if missing:
        console.print(f"{len(missing)} of the set's parts are not made yet, from {missing[0]}: other processes' shares")
    success = sum(row.success for row in rows) / max(1, len(rows))
    console.print(
        f"{plan.output}: {len(rows)} adversarial images, {100 * success:.1f} % reach their goal, checksums right"
    )
    warn_of_few(attack.name, success, len(rows), plan.least_success if rows else 0)


def _print_estimate(
    plan: SetPlan,
    formats: EvaluationNetworks,
    images: ImageSet,
    attack: Attack,
    device: torch.device,
    console: PlainConsole,
) -> None:
    """Say what is missing of the set, and what that takes; nothing is written."""
    with plain_errors():
        settled = plan_set(
            formats.network.eval(),
            images,
            attack,
            plan.targets,
            None,
            plan.batch_size,
            plan.part,
            plan.pixels,
            device,
            plan.seed,
            formats,
        )
        missing = missing_items(plan.output, settled.manifest)
    console.print(
        f"{plan.output}: {missing:,} of {settled.manifest.items:,} adversarial images are missing", soft_wrap=True
    )
    if missing:
        total, tried = estimate_set(settled, missing, plan.trial_seconds)
        guessed = "" if tried else "; by passes alone"
        console.print(f"  {describe(total, max(plan.processes, requested_processes(plan)))}{guessed}", soft_wrap=True)


if __name__ == "__main__":
    main()
