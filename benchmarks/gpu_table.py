"""The table of networks: images per second, standard against consistent, eager and compiled, memory and waiting.

Each network at its own size, bf16 with float32 images, channels_last. In each mode a standard and a consistent step
take turns, with the same weights and images; a ratio is that of their medians. Beside it stands the floor by
arithmetic: 7/3 eager, and 8/3 compiled, where the attack's backward pass to the input is a full one. Waiting is
measured in a training through Lightning from JPEG files, with the device idle at the end of each step: the time from
there to the next batch. Rows are printed as they are ready, as Markdown.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from steps import objective_step
from timing import seconds
from torch.utils.flop_counter import FlopCounterMode

from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.datamodules.image_folder import ImageFolderDataModule
from lightning_advinterp.networks.compiled import compile_passes
from lightning_advinterp.objectives import Consistency, Standard
from lightning_advinterp.training.module import RobustClassifier
from lightning_advinterp.training.optimization import OptimizerConfig, ScheduleConfig

NETWORKS = {"resnet18": (224, 256), "resnet50": (224, 128), "vgg16": (224, 128), "inception_v3": (299, 128)}
"""Side in pixels and images per step of each network."""
GOALS = {"eager": 2.4, "compiled": 2.75}
FLOORS = {"eager": 7 / 3, "compiled": 8 / 3}
WAITING_GOAL = 0.05
SKIP = 3
"""Steps that compile, choose kernels and warm up."""
OBJECTIVES = {"standard": Standard, "consistent": lambda: Consistency(AttackConfig("fgsm", ["4/255", "16/255"]))}
COLUMNS = (
    *("network", "size", "batch", "mode", "step", "images/s", "ms", "quartiles", "to standard", "floor", "goal"),
    *("TFLOP/s", "peak GiB", "waiting"),
)


def build(name, size, device, objective=None, compile_=False):
    """A module on the device, as the configurations of GPUs build it."""
    pl.seed_everything(0, verbose=False)
    module = RobustClassifier(
        name,
        num_classes=1000,
        image_size=size,
        objective=objective,
        channels_last=True,
        compile=compile_,
        optimizer=OptimizerConfig(lr=0.005),
        schedule=ScheduleConfig("constant"),
    )
    return module.to(device).train()


def forward_flops(network, size):
    """Floating-point operations of one image's forward pass (a multiplication and an addition are two)."""
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.rand(1, 3, size, size, device=device))
    network.train()
    return counter.get_total_flops()


def compare(module, size, batch, passes, device, rounds):
    """Seconds of each step taking turns, and the peak memory of each in bytes (0 without CUDA)."""
    network, optimizer = module.network, torch.optim.SGD(module.network.parameters(), lr=0.005, momentum=0.9)
    images = Batch(
        torch.rand(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last),
        torch.randint(1000, (batch,), device=device),
        torch.arange(batch, device=device),
    )
    steps = {name: objective_step(objective(), passes) for name, objective in OBJECTIVES.items()}
    times, peaks = {name: [] for name in steps}, dict.fromkeys(steps, 0)
    with torch.autocast(device.type, torch.bfloat16):
        for round_ in range(rounds + SKIP):
            for name, step in steps.items():
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                taken = seconds(lambda step=step: step(network, images, optimizer), device)
                if round_ >= SKIP:
                    times[name].append(taken)
                    peaks[name] = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return times, peaks


class Waiting(pl.Callback):
    """The share of time between the end of one step, the device's work included, and the next batch."""

    def __init__(self, device):
        self.device = device
        self.ended, self.started, self.waited = None, None, 0.0

    def on_train_batch_start(self, trainer, *_):
        """The next batch is here, on the device."""
        now = time.perf_counter()
        if trainer.global_step > SKIP:
            self.waited += now - self.ended
        elif trainer.global_step == SKIP:
            self.started = now

    def on_train_batch_end(self, *_):
        """The step is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.ended = time.perf_counter()

    @property
    def share(self):
        """Of the time since the first steps, which start the workers."""
        return self.waited / (self.ended - self.started)


def waiting(name, size, batch, objective, device, folder, workers, steps, compile_):
    """Train so many steps from files."""
    torch._dynamo.reset()
    data = ImageFolderDataModule(folder, batch_size=batch, image_size=size, num_workers=workers, val_share=0.01)
    clock, cuda = Waiting(device), device.type == "cuda"
    trainer = pl.Trainer(
        max_epochs=-1,
        max_steps=steps,
        accelerator="gpu" if cuda else "cpu",
        devices=1,
        precision="bf16-mixed",
        benchmark=True,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[clock],
        inference_mode=False,
    )
    trainer.fit(build(name, size, device, objective, compile_), datamodule=data)
    return clock.share


def render_files(folder, count, distinct=200, width=500, height=375):
    """JPEG files of ImageNet's usual size, in ten classes: smooth noise, and further names of the same files."""
    generator = np.random.default_rng(0)
    for number in range(min(count, distinct)):
        coarse = generator.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
        pixels = np.clip(image + generator.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        place = Path(folder) / f"class{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number:06}.jpg", quality=90)
    for number in range(distinct, count):
        place = Path(folder) / f"class{number % 10}"
        os.link(place / f"{number % distinct:06}.jpg", place / f"{number:06}.jpg")


def rows_of(name, arguments, device, folder, workers):
    """The table's rows of one network."""
    size, batch = arguments.size or NETWORKS[name][0], arguments.batch or NETWORKS[name][1]
    for mode in ("eager", "compiled"):
        torch._dynamo.reset()
        module = build(name, size, device)
        flops = forward_flops(module.network, size)
        passes = compile_passes(module.network, arguments.backend) if mode == "compiled" else None
        times, peaks = compare(module, size, batch, passes, device, arguments.rounds)
        base = statistics.median(times["standard"])
        del module, passes
        for step, objective in OBJECTIVES.items():
            median = statistics.median(times[step])
            low, _, high = (value / base for value in statistics.quantiles(times[step], n=4))
            floor, units = (FLOORS[mode], 7) if step == "consistent" else (1, 3)
            training = (name, size, batch, objective(), device, folder, workers, 2 * SKIP + arguments.rounds)
            share = waiting(*training, arguments.backend if mode == "compiled" else False)
            ratio = median / base
            yield {
                "network": name,
                "size": size,
                "batch": batch,
                "mode": mode,
                "step": step,
                "images/s": f"{batch / median:.0f}" if batch / median > 100 else f"{batch / median:.1f}",
                "ms": f"{1000 * median:.1f}",
                "quartiles": f"{low:.3f}..{high:.3f}",
                "to standard": f"{ratio:.3f}",
                "floor": f"{floor:.3f}",
                "goal": "" if step == "standard" else f"{GOALS[mode]} {'met' if ratio <= GOALS[mode] else 'missed'}",
                "TFLOP/s": f"{units * flops * batch / median / 1e12:.3g}",
                "peak GiB": f"{peaks[step] / 2**30:.2f}" if peaks[step] else "",
                "waiting": f"{100 * share:.1f} % {'met' if share <= WAITING_GOAL else 'missed'}",
            }


def print_table(arguments, device):
    """Measure and print, row by row."""
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {arguments.threads} threads"
    print(f"{name}, torch {torch.__version__}, {arguments.backend}, {arguments.rounds} rounds\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    workers = arguments.workers if arguments.workers == "auto" else int(arguments.workers)
    with tempfile.TemporaryDirectory() as rendered:
        largest = max(arguments.batch or NETWORKS[network][1] for network in arguments.networks)
        if arguments.folder is None:  # all steps in one epoch, whose start would be a wait of its own
            render_files(rendered, int(1.1 * largest * (2 * SKIP + arguments.rounds)) + 20)
        for network in arguments.networks:
            for row in rows_of(network, arguments, device, arguments.folder or rendered, workers):
                print(f"| {' | '.join(str(row[column]) for column in COLUMNS)} |", flush=True)
