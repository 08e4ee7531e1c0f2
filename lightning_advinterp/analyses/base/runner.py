"""Runs analyses over data: one path for watching a training run and for reporting on a checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_advinterp.analyses.base.attack_counts import AttackCounts
from lightning_advinterp.analyses.base.costs import SweepCost, sweep_costs
from lightning_advinterp.analyses.base.failures import naming
from lightning_advinterp.analyses.base.journal import Journal, take_up_together
from lightning_advinterp.analyses.base.merging import merge_states
from lightning_advinterp.analyses.base.plans import Plans
from lightning_advinterp.analyses.base.progress import Course, SweepBar
from lightning_advinterp.analyses.base.protocol import (
    Analysis,
    Choosing,
    Expecting,
    Holding,
    Observation,
    Remembering,
    Settling,
    Sweep,
)
from lightning_advinterp.analyses.base.remembered import RememberedPasses
from lightning_advinterp.analyses.base.room import KindActivations, Room
from lightning_advinterp.analyses.base.schedule import Due, schedule, shows_all, unite
from lightning_advinterp.analyses.base.shard import Shard, checked, collate_readable
from lightning_advinterp.analyses.base.watch import Watch, WatchedSweep
from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.core.finite import FiniteOutputs
from lightning_advinterp.core.processes import Processes
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.core.result import REAL, Result, without_nan
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.labels import subset_indices
from lightning_advinterp.data.loaders import leave_signals_alone
from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.networks.formats import EvaluationNetworks
from lightning_advinterp.networks.from_module import as_network
from lightning_advinterp.networks.modes import batch_of_one_explained, frozen_eval, warn_of_batches


class Runner:
    """Shows a network's reactions to a data set to any number of analyses, in the fewest sweeps.

    Each image is attacked once per sweep and attack, and passes the network once per kind with all wanted layers
    read in that pass. The images are shared out by ``indices[rank::world_size]``, without padding, and the states
    are merged at the end of every sweep, so that N processes report what one reports.

    Args:
        network: seen in evaluation mode; it comes back as it was. Of a module that is no
            :class:`~lightning_advinterp.networks.network.Network`, a copy is seen, without normalisation.
        dataset: images of any kind, see :func:`~lightning_advinterp.data.user_images.as_image_set`.
        attacks: name to attack; only those that an analysis wants are run.
        batch_size: images at a time; fewer where an analysis asks for that.
        device: where the network is.
        seed: draws the subset and the attacks' random numbers.
        limit: at most so many images, see :func:`subset_indices`.
        num_workers: processes that load images.
        rank: this process's number.
        world_size: number of processes.
        progress: draw a progress bar, with the time that all sweeps together still take.
        journal: where an interrupted run left its states; see
        :class:`~lightning_advinterp.analyses.base.journal.Journal`.
        keep_journal: leave the states there, complete, for the caller to delete: what is made of them afterwards may
            be interrupted too.
        stop_at_no_numbers: raise an error where the network's outputs are NaN or infinite; else warn and count.
        least_success: attacks with a smaller share of successes are warned of.
        plans: of analyses that are bound to the network already, which are not bound again; see
            :class:`~lightning_advinterp.analyses.base.plans.Plans`.
        remember: so many bytes of the real images' activations are held from one sweep to the next, and as many by each
            analysis that makes passes of its own in several sweeps; results do not depend on it.
        processes: what ``rank`` and ``world_size`` say, with word of failures; these are not read then.
        watch: hears how the run goes on, in the place of the progress bar.
        memory: bytes that this process may hold; see :class:`~lightning_advinterp.analyses.base.room.Room`.
        formats: how the passes of the run are computed; None: by the network as it is. Passes that analyses make
            themselves are the network's own.
    """

    def __init__(
        self,
        network: nn.Module,
        dataset: Any,
        *,
        attacks: Mapping[str, Attack] | None = None,
        batch_size: int = 64,
        device: torch.device | str = "cpu",
        seed: int = 0,
        limit: int | None = None,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        progress: bool = False,
        journal: Path | None = None,
        keep_journal: bool = False,
        stop_at_no_numbers: bool = True,
        least_success: float = 0.1,
        plans: Plans | None = None,
        remember: int = 0,
        processes: Processes | None = None,
        watch: Watch | None = None,
        memory: int | None = None,
        formats: EvaluationNetworks | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}.")
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be 1 or more images, got {limit}.")
        self.images = as_image_set(dataset)
        self.attacks = {name: attack.for_images(self.images) for name, attack in (attacks or {}).items()}
        self.network = as_network(network, lambda: self.images[0].image.shape)
        if plans is not None and plans.network is not self.network:
            raise ValueError("plans must be of the network that is run, got those of another one; leave plans out.")
        if formats is not None and formats.network is not self.network:
            raise ValueError("formats must be of the network that is run, got those of another one; leave formats out.")
        self.plans = Plans(self.network) if plans is None else plans
        self._formats = EvaluationNetworks(self.network) if formats is None else formats
        self.batch_size, self.device, self.seed = batch_size, torch.device(device), seed
        self.processes = Processes(rank, world_size) if processes is None else processes
        self.num_workers, self.progress = num_workers, progress and self.processes.first
        self._keep, self._watch = keep_journal, watch
        self._room, self._memory = Room(None, self.device), memory
        self._remember, self._passes = remember, RememberedPasses(0)
        self.counts, self._least = AttackCounts(self.attacks), least_success
        self._finite = FiniteOutputs(stop=stop_at_no_numbers)
        self.indices = subset_indices(len(self.images), limit, seed)
        self._journal = Journal.of(journal, self.processes)

    def run(self, analyses: Sequence[Analysis]) -> dict[str, Result]:
        """Run the analyses and return their results by name; every process returns the same."""
        warn_of_batches(self.network, self.batch_size)
        runs = schedule(analyses, self.plans)
        for analysis in analyses:
            if isinstance(analysis, Expecting):
                analysis.expect(len(self.indices))
            if isinstance(analysis, Remembering):
                analysis.remember(self._remember)
        self._passes = RememberedPasses(self._remember)
        swept = {entry.analysis.name for due in runs for entry in due}
        bystanders = [analysis for analysis in analyses if analysis.name not in swept]
        take_up_together(self._journal, self.processes)
        costs = self.costs(analyses)
        watch = self._watch or SweepBar(Course(sum(cost.work for cost in costs)), shown=self.progress)
        ran, skipped, results = False, 0, dict[str, Result]()
        for number, due in enumerate(runs):
            # What this call has done itself need not be read back.
            first = 0 if ran else self._journal.resume(number, [*analyses, self.counts])
            if first is None:
                watch.leaves_out(costs[number])
                continue
            ran, places = True, self.indices.tolist()
            due = [entry for entry in due if not entry.skipped]
            if not due:
                skipped += 1
                watch.leaves_out(costs[number])
                continue
            if any(entry.sweep.chosen is not None for entry in due):
                results = _results([analysis for analysis in analyses if not isinstance(analysis, Choosing)])
                places = self._chosen_places(due, results)
            wants = unite([entry.sweep for entry in due])
            if not shows_all(runs[number + 1 :]):
                self._passes.let_go()
            title = f"sweep {number + 1 - skipped}, images"
            watched = WatchedSweep(watch, title, costs[number])
            for done, observation in self._sweep(wants, places, first, watched):
                if observation is not None:
                    for entry in due:
                        with naming(entry.analysis):
                            entry.analysis.update(entry.number, observation)
                        watch.updated(entry.analysis.name)
                self.processes.look()
                observation = None  # the next batch needs the memory
                if wants.resumable and done is not None:
                    self._journal.save(number, done, [*analyses, self.counts])
            self._conclude(due, bystanders)
            if number < len(runs) - 1 or self._keep:
                self._journal.settle(number + 1, [*analyses, self.counts])
        if not self._keep:
            self._journal.close()
        elif not ran:
            self._journal.resume(len(runs), [*analyses, self.counts])
        self._finite.merge(self.processes.gathered(self._finite.counts))
        if self.processes.first:
            self._finite.close()
            self.counts.warn(self._least)
        results |= _results([analysis for analysis in analyses if analysis.name not in results])
        self.counts.stand_beside(results)
        return {analysis.name: results[analysis.name] for analysis in analyses}

    def _conclude(self, due: Sequence[Due], bystanders: Sequence[Analysis]) -> None:
        """Merge what all processes saw in a run over the data; also what those have noted that look at no image."""
        merge_states(self.processes, [*(entry.analysis for entry in due), *bystanders, self.counts])
        for entry in due:
            if isinstance(entry.analysis, Settling):
                with naming(entry.analysis):
                    entry.analysis.settle(entry.number)

    def _chosen_places(self, due: Sequence[Due], results: Mapping[str, Result]) -> list[int]:
        """Return the places in the data set of the images that analyses choose from what the others found."""
        chosen: set[int] = set()
        for entry in due:
            assert isinstance(entry.analysis, Choosing)
            with naming(entry.analysis):
                chosen |= set(entry.analysis.choose(results))
        # Processes of other machines may round their results differently; what is shown must be one choice.
        chosen, numbers = self.processes.of_first(chosen), self.images.indices
        return [place for place in self.indices.tolist() if numbers[place] in chosen]

    def held(self, analyses: Sequence[Analysis]) -> list[int]:
        """Return the bytes that were held from one sweep to the next, by the runner and by each analysis that holds."""
        return [self._passes.held, *(analysis.held for analysis in analyses if isinstance(analysis, Holding))]

    def passes(self, analyses: Sequence[Analysis]) -> dict[str, int]:
        """Count what :meth:`run` would cost: images, forward passes and backward passes of an image."""
        costs = self.costs(analyses)
        forwards, backwards = (sum(cost.passes[kind] for cost in costs) for kind in (0, 1))
        return {"images": len(self.indices), "forward_passes": round(forwards), "backward_passes": round(backwards)}

    def costs(self, analyses: Sequence[Analysis]) -> list[SweepCost]:
        """Return what each run over the data would cost, see :func:`sweep_costs`."""
        return sweep_costs(analyses, self.plans, self.attacks, len(self.indices))

    def _sweep(
        self, wants: Sweep, places: Sequence[int], done: int, watched: WatchedSweep
    ) -> Iterator[tuple[int | None, Observation | None]]:
        """Yield how many images are done (None but at the last part of a batch) and what each part of a batch shows."""
        if not wants.kinds:
            return
        shard = places[self.processes.rank :: self.processes.size]
        size = min(self.batch_size, wants.batch or self.batch_size)
        loader = DataLoader(
            Shard(self.images, shard[done:]),
            batch_size=size,
            num_workers=self.num_workers,
            collate_fn=collate_readable,
            worker_init_fn=leave_signals_alone,
            # An own generator: drawing the workers' seeds must not move the training's random state.
            generator=torch.Generator().manual_seed(self.seed),
        )
        self._room = Room(self._memory, self.device)
        with frozen_eval(self.network), watched.over(len(shard), done) as watch:
            for batch in loader:
                seen, done = done, min(done + size, len(shard))
                ready = None if batch is None else checked(batch, wants, self.network.num_classes, self.device)
                for part, is_last in self._room.micro_batches(self.network, ready, wants.layers):
                    images = 0 if part is None else len(part.index)
                    with batch_of_one_explained(self.network, images):
                        observation = None if part is None else self._observe(part, wants)
                    watch.observed(images)
                    yield (done if is_last else None), observation
                    if observation is not None:
                        self._room.closes(observation.activations)
                    del observation
                    seen += images
                    watch.reached(done if is_last else seen)

    def _observe(self, batch: Batch, wants: Sweep) -> Observation:
        x = batch.image
        keys = sample_keys(batch.index, seed=self.seed)
        images, goals, success, attacked = {REAL: x}, {}, {}, {}
        shown = self._formats.showing(wants.layers)
        logits, activations = {}, KindActivations(shown, wants.layers, images, self._room.most)
        logits[REAL] = self._see(REAL, images, wants, activations, batch.index)
        for kind in wants.kinds:
            if kind == REAL:
                continue
            adversarials = self.counts.make(kind, self._formats.searching, batch, logits[REAL], keys)
            images[kind], goals[kind], attacked[kind] = adversarials.x_adv, adversarials.target, adversarials.attacked
            logits[kind] = self._see(kind, images, wants, activations, batch.index)
            success[kind] = self.counts.note(adversarials, batch.index, logits[kind])
        return Observation(batch.index, batch.label, images, logits, activations, goals, success, attacked)

    def _see(
        self, kind: str, images: Mapping[str, Tensor], wants: Sweep, activations: KindActivations, index: Tensor
    ) -> Tensor:
        """Let one kind of images pass, hold the activations as far as there is room, and return the logits."""
        activations.make_room()
        passes = self._passes if kind == REAL else RememberedPasses(0)
        logits, layers = passes.features(self._formats.showing(wants.layers), images[kind], wants.layers, index)
        outputs = {f"features {layer} of {kind} images": value for layer, value in layers.items()}
        if kind != REAL:
            outputs = {f"pixels of {kind} images": images[kind]} | outputs
        self._finite.check(outputs, index, {f"logits of {kind} images": logits})
        activations.put(kind, layers)
        return logits


def _results(analyses: Sequence[Analysis]) -> dict[str, Result]:
    results = {}
    for analysis in analyses:
        with naming(analysis):
            results[analysis.name] = without_nan(analysis.result())
    return results
