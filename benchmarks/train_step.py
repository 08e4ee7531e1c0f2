"""What a training step costs, as ratios of medians within one run.

    python benchmarks/train_step.py                    # ResNet-18, 96 px, 2 threads, as in docs/performance.md
    python benchmarks/train_step.py --device cuda      # the table of docs/performance.md, see gpu_table.py
    python benchmarks/train_step.py --device cuda --network resnet18 --batch 256 --size 224 --bf16 --channels_last

A standard step is a forward and a backward pass, 3 units of one forward pass. By arithmetic the consistent loss with a
single-step attack needs 2 forward passes, 1 backward pass to the input and 2 full ones: 7 units, 7/3 of a standard
step; the naive loop spends a forward pass more on the attack (8/3), and where that attack calls .backward(), a full
backward pass instead of one to the input (9/3). A backward pass to the input costs more than a forward pass on most
machines, so the passes themselves are timed too, and what their sum would be stands beside each measured ratio. The
variants take turns, so that whatever else the machine does meets all of them alike.
"""

import argparse
import logging
import statistics
import time
import warnings
from itertools import pairwise

import pytorch_lightning as pl
import torch
from gpu_table import NETWORKS, print_table
from steps import counted, plain_step, variants
from timing import in_turn
from torch.utils.data import DataLoader, Dataset

from lightning_advinterp.core.devices import choose_device
from lightning_advinterp.core.errors import plain_errors
from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.objectives import Standard
from lightning_advinterp.training.module import RobustClassifier
from lightning_advinterp.training.optimization import OptimizerConfig, ScheduleConfig


def build(arguments, device, objective=None):
    """A module, its network on the device."""
    pl.seed_everything(0, verbose=False)
    module = RobustClassifier(
        arguments.network,
        num_classes=100,
        image_size=arguments.size,
        objective=objective,
        channels_last=arguments.channels_last,
        optimizer=OptimizerConfig(lr=0.01),
        schedule=ScheduleConfig("constant"),
    )
    return module.to(device).train()


def compare_steps(arguments, device):
    """Median seconds of every variant, taking turns."""
    module = build(arguments, device)
    network, optimizer = module.network, torch.optim.SGD(module.network.parameters(), lr=0.01, momentum=0.9)
    image = torch.rand(arguments.batch, 3, arguments.size, arguments.size, device=device)
    batch = Batch(
        image.contiguous(memory_format=module.memory_format),
        torch.randint(100, (arguments.batch,), device=device),
        torch.arange(arguments.batch, device=device),
    )
    calls = {name: lambda step=step: step(network, batch, optimizer) for name, step in variants(network.phi).items()}
    with torch.autocast(device.type, torch.bfloat16, enabled=arguments.bf16):
        return in_turn(calls, arguments.rounds, device)


class Noise(Dataset):
    """Random images, ready in memory."""

    def __init__(self, count, size):
        self.images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return Batch(self.images[index], torch.tensor(index % 100), torch.tensor(index))


class StepTimes(pl.Callback):
    """Seconds from the start of one batch to the start of the next: Lightning's own work included."""

    def __init__(self):
        self.starts = []

    def on_train_batch_start(self, *_):
        """Note the time."""
        self.starts.append(time.perf_counter())


def lightning_overhead(arguments, device):
    """Median seconds per step of a bare loop and of the Lightning module over the same images, taking turns."""
    data = Noise(arguments.batch * (arguments.rounds + 3), arguments.size)
    loader = DataLoader(data, arguments.batch)
    bare, lightning = [], []
    for _ in range(2):
        module = build(arguments, device)
        optimizer = torch.optim.SGD(module.network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-5)
        starts = []
        for raw in loader:
            starts.append(time.perf_counter())
            batch = Batch(*(field.to(device) for field in raw)).to_float()
            plain_step(module.network, batch, optimizer)
        bare += [after - before for before, after in pairwise(starts[2:])]
        clock, module = StepTimes(), build(arguments, device, Standard())
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[clock],
            inference_mode=False,
        )
        trainer.fit(module, loader)
        lightning += [after - before for before, after in pairwise(clock.starts[2:])]
    return bare, lightning


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", help="time every kind of step of this one (resnet18, but on cuda the table)")
    parser.add_argument("--size", type=int, help="side of the images in pixels (96; in the table each network's own)")
    parser.add_argument("--batch", type=int, help="images per step (32; in the table each network's own)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--table", action="store_true", help="the table of networks on any device")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), help="of the table")
    parser.add_argument("--backend", default="inductor", help="of torch.compile, in the table")
    parser.add_argument("--folder", help="class folders of JPEG files for the table; rendered ones if left out")
    parser.add_argument("--workers", default="auto", help="processes that load them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--channels_last", action="store_true")
    parser.add_argument("--give_back", action="store_true", help="freed memory goes back to the system")
    arguments = parser.parse_args()
    if not arguments.give_back:
        keep_freed_memory()  # as train.py does
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(arguments.threads)
    with plain_errors():
        device = choose_device(arguments.device)
    if arguments.table or (device.type == "cuda" and arguments.network is None):
        print_table(arguments, device)
        return
    arguments.network, arguments.size = arguments.network or "resnet18", arguments.size or 96
    arguments.batch = arguments.batch or 32
    times = compare_steps(arguments, device)
    medians = {name: statistics.median(values) for name, values in times.items()}
    base, sums = medians["plain loop"], counted(medians)
    print(f"{arguments.network}, {arguments.size} px, batch {arguments.batch}, {device}, torch {torch.__version__}")
    print(f"{'step':24} {'ms':>9} {'ratio':>7} {'quartiles':>15} {'its passes':>11} {'images/s':>9}")
    for name, values in times.items():
        low, _, high = (q / base for q in statistics.quantiles(values, n=4))
        passes = f"{sums[name] / base:.3f}" if name in sums else ""
        print(
            f"{name:24} {1000 * medians[name]:9.1f} {medians[name] / base:7.3f} {f'{low:.3f}..{high:.3f}':>15} "
            f"{passes:>11} {arguments.batch / medians[name]:9.1f}"
        )
    bare, lightning = lightning_overhead(arguments, device)
    ratio = statistics.median(lightning) / statistics.median(bare)
    print(f"Lightning module over a bare loop, standard step: {ratio:.3f} ({len(bare)} steps each)")


if __name__ == "__main__":
    main()
