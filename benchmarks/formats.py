"""Times the passes of an evaluation in every format: plain, channels_last, BatchNorm folded, both, and in bfloat16.

    python benchmarks/formats.py                       # ResNet-18, 224 px, batch 32
    python benchmarks/formats.py --network timm/efficientnet_lite0 --batch 8

Each round times every variant in turn; ratios of medians of CPU time to the network as it is.
"""

import argparse
import copy
import statistics
import time

import torch

from lightning_advinterp.networks import Network, create_network
from lightning_advinterp.networks.folding import fold, foldable_pairs
from lightning_advinterp.networks.formats import EvaluationNetworks


def variants(network: Network) -> dict[str, Network]:
    """Return the network in each format."""
    folded = copy.deepcopy(network)
    fold(folded.backbone, foldable_pairs(folded.backbone))
    return {
        "plain": network,
        "channels_last": copy.deepcopy(network).to(memory_format=torch.channels_last),
        "BatchNorm folded": folded,
        "both": EvaluationNetworks(network, "auto").searching,
        "both, bfloat16": EvaluationNetworks(network, "auto", "bf16-mixed").searching,
    }


def seconds(network: Network, x: torch.Tensor, *, backward: bool) -> float:
    """Return the CPU time of one pass."""
    image, begun = x.clone().requires_grad_(backward), time.process_time()
    with torch.set_grad_enabled(backward):
        logits = network(image)
    if backward:
        torch.autograd.grad(logits.logsumexp(1).sum(), image)
    return time.process_time() - begun


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    networks = variants(create_network(arguments.network).eval().requires_grad_(False))
    x = torch.rand(arguments.batch, 3, arguments.size, arguments.size)
    times: dict[tuple[str, bool], list[float]] = {}
    for turn in range(arguments.rounds + 1):
        for name, network in networks.items():
            for backward in (False, True):
                duration = seconds(network, x, backward=backward)
                if turn:  # the first round warms up
                    times.setdefault((name, backward), []).append(duration)
    print(f"{arguments.network}, {arguments.size} px, batch {arguments.batch}, {torch.get_num_threads()} threads")
    print("| passes | forward | forward and backward to the input |\n| --- | --- | --- |")
    plain = {backward: statistics.median(times["plain", backward]) for backward in (False, True)}
    for name in networks:
        ratios = [statistics.median(times[name, backward]) / plain[backward] for backward in (False, True)]
        print(f"| {name} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    print(f"plain: {plain[False]:.2f} s and {plain[True]:.2f} s")


if __name__ == "__main__":
    main()
