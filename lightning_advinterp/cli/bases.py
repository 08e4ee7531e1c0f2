"""``python -m lightning_advinterp.bases``: the basis of a layer, as a file that ``--layers LAYER@FILE`` reads."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch

from lightning_advinterp.analyses.base.progress import image_progress
from lightning_advinterp.analyses.base.provenance import package_versions
from lightning_advinterp.cli.basis_plan import BasisPlan
from lightning_advinterp.cli.basis_trial import estimate_basis
from lightning_advinterp.cli.evaluation.inputs import Subject, check_subject, load_concepts, load_images, load_subject
from lightning_advinterp.cli.evaluation.skipped import report_bad_images
from lightning_advinterp.cli.evaluation.trial import describe, requested_processes
from lightning_advinterp.cli.parser import read_settings, settings_parser
from lightning_advinterp.cli.processes import device_of, joined, one_speaks
from lightning_advinterp.cli.suggestions import SuggestingParser
from lightning_advinterp.core.devices import choose_device
from lightning_advinterp.core.errors import plain_errors, stops_explained, termination_explained
from lightning_advinterp.core.files import check_writable
from lightning_advinterp.core.locks import held
from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.core.processes import ALONE, Processes
from lightning_advinterp.core.randomness import mixed_seed
from lightning_advinterp.core.terminal import PlainConsole, terminal
from lightning_advinterp.core.trust import trusting, vouch_for
from lightning_advinterp.data.broden import BrodenError
from lightning_advinterp.data.decode import BadImageError
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.networks import weights_hash
from lightning_advinterp.units.activation_rows import ActivationSource
from lightning_advinterp.units.autoencoder_training import AutoencoderSettings
from lightning_advinterp.units.bases import Basis
from lightning_advinterp.units.basis_files import BasisOrigin, save_basis
from lightning_advinterp.units.basis_fitting import (
    Fitting,
    basis_without_data,
    fit_autoencoder,
    fit_components,
    fit_parts,
)
from lightning_advinterp.units.basis_quality import BasisQuality, basis_quality
from lightning_advinterp.units.foreign_autoencoders import Convention, read_autoencoder
from lightning_advinterp.units.spaces import UnitLayer, unit_space

_HELD_OUT = 0x68656C64  # "held"


def parser() -> SuggestingParser:
    """Return the parser: every field of :class:`BasisPlan` is a flag."""
    return settings_parser(
        BasisPlan, "Fit a basis to a layer's activations, and write it; evaluate.py --layers LAYER@FILE reads it."
    )


def main(args: Sequence[str] | None = None) -> None:
    """Make a basis, write it, and say how well it stands for the layer.

    Args:
        args: the command line, ``sys.argv`` if left out.
    """
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with stops_explained(BadImageError, BrodenError) as command, termination_explained():
        with plain_errors(), one_speaks(command):
            plan = read_settings(BasisPlan, parser(), args)
            plan.check()
        if plan.dry_run:
            _make(plan, terminal(quiet=not command.first), ALONE)
            return
        output = Path(plan.output)
        with ExitStack() as stack:
            with plain_errors():
                command.folder = output.parent
                processes = stack.enter_context(joined(plan, device_of(plan, plan.device), command))
                if processes.first:
                    check_writable(output.parent, "output")
            if processes.first:
                stack.enter_context(held(output.parent, name=f".{output.name}.lock", what=output))
            _make(plan, terminal(quiet=not command.first), processes)


@trusting()
def _make(plan: BasisPlan, console: PlainConsole, processes: Processes) -> None:
    vouch_for(plan, files=plan.trust, on_bad_weights=plan.on_bad_weights)
    with plain_errors(BrodenError):
        subject, unit, images = _opened(plan, console, processes)
        fitted, measured = (None, None) if images is None else held_apart(images, plan.held_out, plan.seed)
    units = cast(int, unit.width)
    if plan.dry_run:
        with plain_errors():
            line = _said(plan, subject, unit, fitted, measured)
        console.print(f"{plan.output}: {line}", soft_wrap=True, highlight=False)
        return
    with plain_errors():  # what does not suit a kind shows in the activations, as the layer's sign does
        basis = _basis(plan, subject, unit, fitted, units, processes)
    recipe: dict[str, Any] = {"settings": _settings(plan), "seed": plan.seed, "versions": package_versions()}
    lines = [f"{plan.output}: {basis.kind} of {unit.layer}, {units:,} units to {basis.latents:,} latents"]
    if plan.source is not None:  # part of it may be a default that no file said
        lines.append("  read as " + ", ".join(f"{name} {value}" for name, value in basis.settings().items()))
    if measured is not None and fitted is not None:
        source = _source(plan, subject, unit, measured, processes)
        quality = basis_quality(basis.to(torch.zeros((), device=_device(subject))), source.epoch(0))
        apart = len(measured) if measured is not fitted else 0
        recipe |= {"images": {"fingerprint": fitted.fingerprint, "images": len(fitted)}, "quality": vars(quality)}
        lines.append(quality_line(basis, quality, apart))
        report_bad_images(measured, processes)
    if not processes.first:
        return
    origin = BasisOrigin(unit.tap, subject.network.name, weights_hash(subject.network), recipe)
    save_basis(plan.output, basis, origin)
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


def _said(
    plan: BasisPlan, subject: Subject, unit: UnitLayer, fitted: ImageSet | None, measured: ImageSet | None
) -> str:
    """Return what the basis takes, in words; without images it is made in no time."""
    if fitted is None or measured is None:
        return "it needs no images, and is made at once"
    source = _source(plan, subject, unit, fitted, ALONE)
    settings = plan.completed()
    fitting = Fitting(settings.get("rows", 1), plan.buffer_mb, plan.seed)
    kind = plan.kind if plan.needs_images else "ready"
    ready = partial(_basis, plan, subject, unit, fitted, cast(int, unit.width), ALONE)
    return describe(estimate_basis(source, measured, kind, settings, fitting, ready), requested_processes(plan))


def _opened(plan: BasisPlan, console: PlainConsole, processes: Processes) -> tuple[Subject, UnitLayer, ImageSet | None]:
    """Return the network on its device, the layer, and the images; say what is used.

    Raises:
        ValueError, FileNotFoundError: naming the argument.
    """
    evaluation = plan.evaluation()
    subject = load_subject(evaluation)
    network = subject.network
    for line in network.origin.lines(network.mean, network.std, subject.recipe.input_size):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    device = choose_device(plan.device) if processes.device is None else processes.device
    images: ImageSet | None = None
    if plan.needs_images or plan.data is not None or plan.concepts is not None:
        load = load_images if plan.concepts is None else partial(load_concepts, check=processes.first)
        images = load(evaluation, subject).reported
        if images.labelling is not None:
            console.print(images.labelling, markup=False, highlight=False, soft_wrap=True)
    network.to(device)
    check_subject(evaluation, subject, [])
    (unit, *further_units) = unit_space(network, plan.layer)
    if further_units or unit.basis is not None:
        raise ValueError(
            f"layer: a basis is of one layer itself, got {plan.layer!r}, which names "
            f"{', '.join(layer.layer for layer in (unit, *further_units))}; name one."
        )
    if unit.width is None:
        raise ValueError(
            f"layer: how many units {unit.layer!r} has is not known, since the network takes no image of its own size; "
            "give --input_size."
        )
    return subject, unit, images


def held_apart(images: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Return the images to fit to, and those to measure on: the same ones where none are held out.

    Args:
        images: all.
        share: of those to measure on; at least one image, if it is above 0.
        seed: of their choice.

    Raises:
        ValueError: if there are too few.
    """
    if share == 0:
        return images, images
    if len(images) < 2:
        raise ValueError(f"held_out: {len(images)} image cannot be divided; give --held_out 0 or more images.")
    generator = torch.Generator().manual_seed(mixed_seed(seed, _HELD_OUT))
    order = torch.randperm(len(images), generator=generator).tolist()
    count = min(len(images) - 1, max(1, round(share * len(images))))
    return images.only(sorted(order[count:])), images.only(sorted(order[:count]))


def _basis(
    plan: BasisPlan,
    subject: Subject,
    unit: UnitLayer,
    images: ImageSet | None,
    units: int,
    processes: Processes,
) -> Basis:
    """Return the basis that is asked for."""
    settings = plan.completed()
    if plan.source is not None:
        stated = Convention(plan.activation, plan.k, plan.subtracts_bias, plan.normalized)
        return read_autoencoder(plan.source, stated, units)
    if images is None or not plan.needs_images:
        return basis_without_data(cast(Literal["rotation", "identity"], plan.kind), units, plan.seed)
    source = _source(plan, subject, unit, images, processes)
    if plan.kind == "pca":
        return fit_components(source, settings["latents"])
    fitting = Fitting(settings.get("rows", 1), plan.buffer_mb, plan.seed)
    if plan.kind == "nmf":
        return fit_parts(source, settings["latents"], settings["steps"], fitting)
    settings.pop("rows")
    with image_progress(processes.first) as bar:
        task = bar.add_task("steps", total=settings["steps"])
        training = AutoencoderSettings(**settings, seed=plan.seed)
        return fit_autoencoder(source, training, fitting, lambda loss: bar.advance(task))


def _source(
    plan: BasisPlan, subject: Subject, unit: UnitLayer, images: ImageSet, processes: Processes
) -> ActivationSource:
    """Return the rows of these images, whose passes the processes share."""
    return ActivationSource(subject.network, unit, images, plan.places, plan.batch_size, plan.seed, processes)


def _settings(plan: BasisPlan) -> dict[str, Any]:
    """Return what decided the basis, as plain data."""
    if plan.source is not None:
        return {"source": Path(plan.source).name}
    return plan.completed() | {"places": plan.places, "buffer_mb": plan.buffer_mb, "held_out": plan.held_out}


def quality_line(basis: Basis, quality: BasisQuality, apart: int) -> str:
    """Return one line on how well a basis stands for the layer, and how sparse it is.

    Args:
        basis: what was measured.
        quality: the numbers.
        apart: of so many images that it was not fitted to; 0: it was measured on those it was fitted to.
    """
    where = f"of {apart:,} other images" if apart else "of the same images"
    return (
        f"  {100 * quality.explained:.1f} % of the variance explained, {quality.active:.1f} of {basis.latents:,} "
        f"latents active at a place, {quality.dead:,} dead; {quality.rows:,} places {where}"
    )


def _device(subject: Subject) -> torch.device:
    return next(subject.network.parameters()).device


if __name__ == "__main__":
    main()
