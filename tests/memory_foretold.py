"""What a sweep over batches of 64 images takes in a process that did nothing else, and what fewer foretell.

python tests/memory_foretold.py    # prints both in bytes
"""

import torch
from helpers import Memory, small_batch

from lightning_advinterp.analyses import AccuracyAnalysis, Runner
from lightning_advinterp.analyses.base.trial import HeldMemory, Stopwatch
from lightning_advinterp.attacks import fgsm
from lightning_advinterp.core.memory import give_back_freed_memory, memory_now, return_freed_memory
from lightning_advinterp.networks import create_network

CPU = torch.device("cpu")


def main():
    give_back_freed_memory(large=2**20)  # what the C library keeps of freed tensors differs by 15 % from run to run
    network, attacks = create_network("cifar_resnet20").eval(), {"fgsm": fgsm("4/255")}

    def run_of(batch, images, watch):
        images = Memory(small_batch(n=images, size=64))  # which outweigh what Python takes
        runner = Runner(network, images, attacks=attacks, batch_size=batch, watch=watch)
        runner.run([AccuracyAnalysis(attacks)])
        return runner

    small, large = Stopwatch(CPU), Stopwatch(CPU)
    run_of(16, 16, Stopwatch(CPU))  # code is loaded once, as by the passes that a dry run times before
    return_freed_memory()
    before = memory_now(CPU)
    run_of(16, 36, small)  # as a dry run: two batches and a short one
    costs = run_of(64, 64, large).costs([AccuracyAnalysis(attacks)])
    foretold = small.memory_of(costs, 64, HeldMemory(before, 0, 0), HeldMemory(before, 0, 0)) - before
    print(foretold, large.sweeps[0].peak - before)


if __name__ == "__main__":
    main()
