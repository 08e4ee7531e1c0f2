"""What an attack costs beyond its passes, as ratios of medians within one run.

    python benchmarks/attacks.py                       # ResNet-18, 96 px, 2 threads, as in docs/performance.md

PGD-10 cannot be cheaper than ten forward passes, each with a backward pass to the input. The same attack of foolbox and
of torchattacks is timed where they are installed (torchattacks: ``pip install --no-deps torchattacks``). All variants
take turns, in eval mode, on the same images, from the same start.
"""

import argparse
import importlib.util

import torch
from timing import in_turn, print_ratios
from torch.nn import functional as F

from lightning_advinterp.attacks import AttackConfig, create_attack, pgd
from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.networks import create_network

EPS, STEP, STEPS = 8 / 255, 2 / 255, 10


def bare(network, x, y):
    """Ten forward passes and ten backward passes to the input, and nothing else."""
    image = x.detach().requires_grad_()
    for _ in range(STEPS):
        torch.autograd.grad(F.cross_entropy(network(image), y, reduction="sum"), image)


def variants(network, x, y):
    """Name to a call without arguments."""
    ours = pgd(EPS, steps=STEPS, step_size=STEP, random_start=False)
    stopping = create_attack(AttackConfig("pgd", EPS, steps=STEPS, step_size=STEP, random_start=False, stop_after=1))
    calls = {
        "bare passes": lambda: bare(network, x, y),
        "pgd": lambda: ours(network, x, y),
        "pgd, stop_after 1": lambda: stopping(network, x, y),
    }
    if importlib.util.find_spec("foolbox"):
        import foolbox

        attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=False)
        model = foolbox.PyTorchModel(network, bounds=(0, 1))
        calls["foolbox LinfPGD"] = lambda: attack.run(model, x, y, epsilon=EPS)
    if importlib.util.find_spec("torchattacks"):
        import torchattacks

        theirs = torchattacks.PGD(network, eps=EPS, alpha=STEP, steps=STEPS, random_start=False)
        calls["torchattacks PGD"] = lambda: theirs(x, y)
    return calls


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--weights", default=None, help="a file; random weights otherwise")
    parser.add_argument("--size", type=int, default=96, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    network = create_network(arguments.network, arguments.weights).to(device).eval().requires_grad_(False)
    x = torch.rand(arguments.batch, 3, arguments.size, arguments.size, device=device)
    y = network(x).argmax(1)
    calls = variants(network, x, y)
    what = f"PGD-10, {arguments.network}, {arguments.size} px, batch {arguments.batch}"
    print(f"{what}, {device}, torch {torch.__version__}")
    print_ratios(in_turn(calls, arguments.rounds, device), "bare passes")


if __name__ == "__main__":
    main()
