"""What effects of cells cost beside as many bare forward passes, and whether memory grows with their number.

    python benchmarks/promotion.py                         # ResNet-18, 96 px, one thread
    python benchmarks/promotion.py --cells 16 64 256 --memory

m cells cost m forward passes for *remove* or *add*, 2 m for both, which *symmetric* takes. The unit is that many images
of the same size in batches of the same size, and nothing else. All take turns; the ratio is of medians of CPU time.
With ``--memory`` every number of cells runs in a process of its own, whose largest memory is printed.
"""

import argparse
import math
import resource
import subprocess
import sys

import torch
from timing import cpu_seconds, in_turn, print_ratios

from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.explanations.promotion import cell_scores
from lightning_advinterp.metrics.cells import Grid
from lightning_advinterp.metrics.promotion import cell_effects
from lightning_advinterp.networks import create_network


@torch.no_grad()
def bare(network, x, passes, chunk):
    """So many forward passes, and nothing else."""
    copies = x[:1].expand(chunk, -1, -1, -1).contiguous()
    for start in range(0, passes, chunk):
        network(copies[: min(chunk, passes - start)])


def measured(network, x, grid, effects, chunk, logits):
    """The effects of all cells; a runner knows the logits of both images."""
    classes = torch.zeros(len(x), dtype=torch.int64), torch.ones(len(x), dtype=torch.int64)
    cell_effects(cell_scores(network, x, 1 - x, *classes, grid, effects=effects, chunk=chunk, logits=logits))


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--cells", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", action="store_true", help="largest memory of a process for each number of cells")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    network = create_network(arguments.network).to(device).eval().requires_grad_(False)
    x = torch.rand(arguments.batch, 3, arguments.size, arguments.size, device=device)
    with torch.no_grad():
        logits = network(x), network(1 - x)
    print(f"{arguments.network}, {arguments.size} px, {arguments.batch} images, chunk {arguments.chunk}, {device}")
    for cells in arguments.cells:
        grid = Grid(arguments.size, arguments.size, math.ceil(arguments.size / math.isqrt(cells)))
        if arguments.once:
            measured(network, x, grid, ("symmetric",), arguments.chunk, logits)
            kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"{len(grid)} cells: {kilobytes / 2**20:.2f} GiB at most")
            continue
        for effects, times in ((("remove",), 1), (("symmetric",), 2)):
            passes, chunk = times * len(grid) * len(x), arguments.chunk
            calls = {
                f"{passes} bare passes": lambda passes=passes, chunk=chunk: bare(network, x, passes, chunk),
                f"{len(grid)} cells, {effects[0]}": lambda grid=grid, effects=effects, chunk=chunk: measured(
                    network, x, grid, effects, chunk, logits
                ),
            }
            print_ratios(in_turn(calls, arguments.rounds, device, cpu_seconds), next(iter(calls)))
        if arguments.memory:
            flags = ["--once", "--cells", str(cells), "--size", str(arguments.size), "--batch", str(arguments.batch)]
            flags += ["--chunk", str(arguments.chunk), "--network", arguments.network]
            subprocess.run([sys.executable, __file__, *flags], check=True)


if __name__ == "__main__":
    main()
