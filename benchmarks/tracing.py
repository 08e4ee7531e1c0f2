"""What ablating the units of a block costs, beside as many forward passes of what lies behind it; and a page's time.

    python benchmarks/tracing.py --network resnet18 --layers layer3,layer4.0,layer4.1.bn1,layer4 --units 128

For every layer: CPU time (clock time on a GPU) of ablating so many units of one image, without the closed form and with
it, and of as many passes of the rest of the network on copies of the layer's output in batches of the same size. The
first pass up to the layer is run once for an image and is not part of either.
"""

import argparse

import torch
from timing import cpu_seconds, in_turn

from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.behind import Behind
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.units.ablation import Ablation, chunk_size


def main():
    """Print a line for every layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--layers", default="layer3,layer4.0,layer4.1.bn1,layer4")
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    network = create_network(args.network).eval().to(device)
    x = torch.rand(1, 3, args.size, args.size, device=device)
    print(f"{args.network} at {args.size} px, {args.units} units, median of {args.rounds}, {device}")
    print(f"{'layer':16} {'passes, ms':>11} {'ablation, ms':>13} {'ratio':>6} {'closed, ms':>11}")
    for layer in args.layers.split(","):
        measure(network, layer, x, args)


def measure(network, layer, x, args):
    """Time one layer."""
    behind = Behind(network, layer)
    begun = behind.begin(x)
    width = begun.activation.shape[1]
    units = [[unit % width] for unit in range(args.units)]
    zero = torch.zeros(1, width, device=x.device)
    size = chunk_size(begun.activation[0], len(units))
    copies = begun.activation.repeat(size, *[1] * (begun.activation.dim() - 1))
    slow, quick = Ablation(behind, closed=False), Ablation(behind)

    def passes():
        with torch.no_grad(), frozen_eval(network):
            for start in range(0, len(units), size):
                behind.logits(begun, 0, copies[: len(units) - start])

    calls = {"passes": passes, "ablation": lambda: slow.logits(begun, 0, units, zero)}
    calls["closed"] = lambda: quick.logits(begun, 0, units, zero)
    times = {
        name: sorted(values)[len(values) // 2]
        for name, values in in_turn(calls, args.rounds, x.device, cpu_seconds).items()
    }
    closed = f"{1000 * times['closed']:11.2f}" if quick.linear is not None else f"{'none':>11}"
    ratio = times["ablation"] / times["passes"]
    print(f"{layer:16} {1000 * times['passes']:11.1f} {1000 * times['ablation']:13.1f} {ratio:6.3f} {closed}")


if __name__ == "__main__":
    main()
