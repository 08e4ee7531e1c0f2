"""Runs a function on several processes joined by gloo, for tests that hold N processes against one."""

import os
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed
from torch import multiprocessing

# A server imports these once; each process is a copy of it, in place of four seconds of imports of its own.
multiprocessing.set_forkserver_preload(
    ["torch", "torchvision", "timm", "pytorch_lightning", "lightning_advinterp.training.module"]
)


def _worker(rank, world_size, folder, function, arguments):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=world_size)
    torch.save(function(rank, world_size, *arguments), Path(folder) / f"{rank}.pt")
    while len(list(Path(folder).glob("*.pt"))) < world_size:  # whoever leaves first would cut the others' connections
        time.sleep(0.01)
    torch.distributed.destroy_process_group()


def on_processes(function, world_size, *arguments):
    """Call ``function(rank, world_size, *arguments)`` everywhere; return what each process returned, in order.

    The function must be importable by name from a helper module, since every process starts afresh.
    """
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.start_processes(
            _worker, (world_size, folder, function, arguments), nprocs=world_size, start_method="forkserver"
        )
        return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(world_size)]


def accuracy_on_a_share(rank, world_size, count):
    """The accuracy table that one process reports of its share of ``count`` images."""
    from helpers import Memory, small_batch, small_network

    from lightning_advinterp.analyses import AccuracyAnalysis, Runner
    from lightning_advinterp.attacks import AttackConfig
    from lightning_advinterp.attacks.prediction.presets import create_attacks

    attacks = create_attacks([AttackConfig("fgsm", "64/255"), AttackConfig("pgd", "64/255", steps=3, target="random")])
    data = Memory(small_batch(n=count, dtype=torch.float64))
    runner = Runner(
        small_network().double(), data, attacks=attacks, batch_size=4, seed=4, rank=rank, world_size=world_size
    )
    return runner.run([AccuracyAnalysis(attacks)])["accuracy"].tables["accuracy"]


def dissections_on_a_share(rank, world_size, count):
    """The tables of dissections, counted in several ways, that one process reports of its share of ``count`` images."""
    from concept_sets import FakeConcepts
    from helpers import small_network

    from lightning_advinterp.analyses import DissectionAnalysis, DissectionConfig, Runner
    from lightning_advinterp.attacks import AttackConfig
    from lightning_advinterp.attacks.prediction.presets import create_attacks

    attacks = create_attacks([AttackConfig("fgsm", "32/255")])
    data, tables = FakeConcepts(count), {}
    for name, settings in {
        "streamed": {"layers": ("relu1", "relu2"), "quantile": 0.9, "by_success": True},
        "exact": {"layers": "all_conv", "quantile": 0.95, "exact": True, "threshold_source": "recompute"},
        "kept": {"layers": "last", "quantile": 0.9, "keep": True},
    }.items():
        runner = Runner(small_network().double(), data, attacks=attacks, batch_size=3, rank=rank, world_size=world_size)
        config = DissectionConfig(groups=4, replicates=20, **settings)
        tables[name] = runner.run([DissectionAnalysis(data, attacks, config)])["dissection"].tables
    return tables


def units_on_a_share(rank, world_size, count):
    """The tables of semantics and distances that one process reports of its share of ``count`` images."""
    import torch
    from helpers import Memory, small_batch, small_network

    from lightning_advinterp.analyses import DistancesAnalysis, Runner, SemanticsAnalysis
    from lightning_advinterp.attacks import AttackConfig
    from lightning_advinterp.attacks.prediction.presets import create_attacks
    from lightning_advinterp.metrics.semantics import whole_space

    attacks = create_attacks([AttackConfig("fgsm", "64/255"), AttackConfig("pgd", "64/255", steps=2, target="random")])
    classes = whole_space("abcde", torch.exp(-((torch.arange(5.0)[:, None] - torch.arange(5.0)) ** 2)).double())
    data = Memory(small_batch(n=count, dtype=torch.float64))
    runner = Runner(
        small_network().double(), data, attacks=attacks, batch_size=4, seed=4, rank=rank, world_size=world_size
    )
    analyses = [
        SemanticsAnalysis(attacks, classes=classes, share=0.2, sample=15, show=3, by_success=True),
        DistancesAnalysis(attacks, classes=classes, references=15),
    ]
    results = runner.run(analyses)
    return {name: rows for result in results.values() for name, rows in result.tables.items()}


def detection_on_a_share(rank, world_size, count):
    """The tables of detection that one process reports of its share of ``count`` images."""
    from detection_runs import run_detection

    return run_detection(count, rank=rank, world_size=world_size).tables


def promotion_on_a_share(rank, world_size, count):
    """The tables of promotion that one process reports of its share of ``count`` images."""
    from analyses.test_promotion import ATTACKS, CONFIG
    from helpers import Memory, small_batch, small_network

    from lightning_advinterp.analyses import Runner
    from lightning_advinterp.analyses.promotion.analysis import PromotionAnalysis
    from lightning_advinterp.attacks.prediction.presets import create_attacks

    attacks, data = create_attacks(ATTACKS), Memory(small_batch(n=count, dtype=torch.float64))
    runner = Runner(
        small_network().double(), data, attacks=attacks, batch_size=4, seed=4, rank=rank, world_size=world_size
    )
    return runner.run([PromotionAnalysis(CONFIG, attacks, list("abcde"))])["promotion"].tables


def sensitivity_on_a_share(rank, world_size, count):
    """The tables of sensitivity that one process reports of its share of ``count`` images."""
    import torch
    from helpers import Memory, small_batch, small_network

    from lightning_advinterp.analyses import Runner
    from lightning_advinterp.analyses.sensitivity.analysis import SensitivityAnalysis
    from lightning_advinterp.analyses.sensitivity.config import SensitivityConfig
    from lightning_advinterp.analyses.sensitivity.interpretability import UnitConcept
    from lightning_advinterp.analyses.sensitivity.masking import MaskingAnalysis, masking_attacks
    from lightning_advinterp.analyses.sensitivity.relations import ClassMeanings
    from lightning_advinterp.attacks import AttackConfig
    from lightning_advinterp.attacks.prediction.presets import create_attacks

    attacks = create_attacks([AttackConfig("fgsm", "64/255")])
    meanings = ClassMeanings(tuple("abcde"), (torch.arange(5)[:, None] - torch.arange(5)).abs() <= 1)
    concepts = {("relu2", unit): UnitConcept(0.02 * unit, "c", "object", unit > 3) for unit in range(8)}
    data = Memory(small_batch(n=count, dtype=torch.float64))
    data.indices = data.batch.index.tolist()
    runner = Runner(
        small_network().double(), data, attacks=attacks, batch_size=4, seed=4, rank=rank, world_size=world_size
    )
    changes = SensitivityAnalysis(attacks, layers="relu2", meanings=meanings, share=0.2, concepts=concepts, seed=4)
    config = SensitivityConfig(mask_units=(0, 2), mask_eps="64/255", mask_steps=2, mask_draws=2)
    masking = MaskingAnalysis(changes, masking_attacks(config), config.mask_units, config.mask_draws, data)
    results = runner.run([changes, masking])
    return {name: rows for result in results.values() for name, rows in result.tables.items()}


def stored_on_a_share(rank, world_size, count, folder):
    """The tables of accuracy and predictions that one process reports of stored images."""
    from helpers import Memory, small_batch, small_network

    from lightning_advinterp.analyses import AccuracyAnalysis, PredictionsAnalysis, Runner
    from lightning_advinterp.attacks.prediction.presets import create_attacks

    data, attacks = Memory(small_batch(n=count)), create_attacks([{"type": "stored", "path": folder}])
    runner = Runner(small_network(), data, attacks=attacks, batch_size=2, rank=rank, world_size=world_size)
    results = runner.run([AccuracyAnalysis(runner.attacks), PredictionsAnalysis(runner.attacks)])
    return repr({name: result.tables for name, result in results.items()})


def processes_that_fail(rank, world_size):
    """What every one of three processes learns of failures, and what they exchange before and after."""
    from datetime import timedelta

    from lightning_advinterp.core.errors import Failure, PeerFailedError
    from lightning_advinterp.core.processes import Processes

    first = torch.distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False) if rank == 0 else None
    ports = [first.port if first else 0]
    torch.distributed.broadcast_object_list(ports, src=0)
    store = first or torch.distributed.TCPStore("localhost", ports[0], timeout=timedelta(seconds=60))
    processes = Processes(rank, world_size, store)
    learnt = {"gathered": processes.gathered(10 * rank), "of_first": processes.of_first(f"from {rank}")}

    def failing(failures, otherwise):
        try:
            if rank in failures:
                failure = processes.agreed(failures[rank])
            else:
                otherwise()
                failure = None
        except PeerFailedError as error:
            failure = error.failure
        return None if failure is None else (failure.rank, failure.line, failure.analysis)

    def busy():
        until = time.monotonic() + 60
        while time.monotonic() < until:
            processes.look()

    curvature_failure = Failure(1, "one cannot", analysis="curvature")
    panels_failure = Failure(2, "two cannot", analysis="panels")
    learnt["while others wait"] = failing({1: curvature_failure}, lambda: processes.gathered_by_first(rank))
    learnt["amid long work"] = failing({2: panels_failure}, busy)
    learnt["several"] = failing({0: Failure(0, "zero", analysis="x"), 2: Failure(2, "the end", 2)}, processes.meet)
    processes.look()
    learnt["afterwards"] = processes.gathered(rank)
    return learnt


def dissection_with_journal(rank, world_size, folder, fails_in):
    """The tables of a dissection (None: it was cut in sweep ``fails_in``), the sweeps seen, and what was warned of."""
    import logging

    from concept_sets import FakeConcepts
    from helpers import small_network

    from lightning_advinterp.analyses import DissectionAnalysis, DissectionConfig, Runner
    from lightning_advinterp.attacks import AttackConfig
    from lightning_advinterp.attacks.prediction.presets import create_attacks

    attacks, data = create_attacks([AttackConfig("fgsm", "32/255")]), FakeConcepts(9)
    config = DissectionConfig(layers="relu2", quantile=0.9, groups=4, replicates=20)
    analysis, sweeps, warnings = DissectionAnalysis(data, attacks, config), [], []
    update = analysis.update

    def watched(sweep, observation):
        sweeps.append(sweep)
        if sweep == fails_in and sweeps.count(sweep) == 2:
            raise OSError("power cut")
        update(sweep, observation)

    analysis.update = watched
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())
    logging.getLogger("lightning_advinterp.analyses.base.journal").addHandler(handler)
    runner = Runner(
        small_network().double(),
        data,
        attacks=attacks,
        batch_size=1,
        rank=rank,
        world_size=world_size,
        journal=Path(folder) / "state",
    )
    runner._journal._every = 0
    try:
        tables = runner.run([analysis])["dissection"].tables
    except OSError:
        tables = None
    return tables, sweeps, warnings


def rows_on_a_share(rank, world_size, count):
    """Two epochs of a layer's rows that one process has, where some images of ``count`` cannot be read."""
    from helpers import Memory, small_batch, small_network

    from lightning_advinterp.core.processes import Processes
    from lightning_advinterp.data.user_images import as_image_set
    from lightning_advinterp.units.activation_rows import ActivationSource
    from lightning_advinterp.units.spaces import unit_space

    images = as_image_set(Memory(small_batch(n=count)))
    whole = images.readable
    # One batch of three holds no readable image, another one a single one.
    images.readable = lambda places: whole([place for place in places if place % 4])
    network = small_network().eval()
    (unit,) = unit_space(network, "relu1")
    source = ActivationSource(network, unit, images, 5, 3, 1, Processes(rank, world_size))
    return [list(source.epoch(number)) for number in range(2)]
