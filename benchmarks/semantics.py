"""What LC, CS1 and CS2 of all units of layers, or a discrepancy map, cost beside bare forward passes, in one run.

    python benchmarks/semantics.py                        # ResNet-18, 224 px, 2 threads, see docs/semantics.md
    python benchmarks/semantics.py --memory               # and the size of full lists, of growing numbers of images
    python benchmarks/semantics.py --network timm/vit_tiny_patch16_224 --layers all_mlp
    python benchmarks/semantics.py --discrepancy          # a map of a unit of the last layer, 5,184 occluded copies

Both go through the same data set and loader; they take turns, and the ratio is of medians. The analysis keeps as
many images as of a set of ``--of`` images (1 %), and its lists are full of images that every new one displaces: that is
the dearest time of a full run. A discrepancy map is compared with as many passes that end at its layer; ``--stride 12``
makes it one of 361 copies.
"""

import argparse

import torch
from timing import cpu_seconds, in_turn, print_ratios
from torch.utils.data import DataLoader, Dataset

from lightning_advinterp.analyses import Runner, SemanticsAnalysis
from lightning_advinterp.analyses.base.watch import UNWATCHED
from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.loaders import collate_batch
from lightning_advinterp.explanations.discrepancy import discrepancy_map, occluder_positions
from lightning_advinterp.metrics.semantics import whole_space
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.until import forward_until
from lightning_advinterp.units.top_images import TopImages


class Noise(Dataset):
    """Images of noise, made beforehand."""

    def __init__(self, count, size, classes):
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
        self.labels = torch.randint(0, classes, (count,), generator=generator)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return Batch(self.images[index], self.labels[index], torch.tensor(index))


class Long(SemanticsAnalysis):
    """Keeps as many images as a longer run would."""

    of = 0

    def expect(self, images):
        """Make room for at least 1 % of ``of`` images."""
        super().expect(max(images, self.of))


def bare(network, data, batch, device):
    """Logits of all images, and nothing else."""
    with torch.no_grad():
        for part in DataLoader(data, batch_size=batch, collate_fn=collate_batch):
            network(Batch(*(field.to(device) for field in part)).to_float().image)


def discrepancy_calls(network, size, stride, batch, device):
    """The two calls that are compared: passes up to the last layer, and a map of as many copies."""
    image = Noise(1, size, 2)[0].image[None].float().to(device) / 255
    copies = len(occluder_positions(size, 11, stride)) ** 2
    keys, unit = sample_keys(torch.zeros(1, dtype=torch.int64, device=device)), torch.zeros(1, dtype=torch.int64)

    def passes():
        with torch.no_grad():
            for first in range(0, copies, batch):
                forward_until(network, image.expand(min(batch, copies - first), -1, -1, -1).contiguous(), "phi")

    def a_map():
        discrepancy_map(network, image, "phi", unit, keys, stride=stride, batch_size=batch)

    return {"bare": passes, "discrepancy": a_map}, copies


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--layers", default="all_conv")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--of", type=int, default=50_000, help="length of the lists: 1 %% of so many images")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", action="store_true", help="measure what is kept instead")
    parser.add_argument("--discrepancy", action="store_true", help="measure a discrepancy map instead")
    parser.add_argument("--stride", type=int, default=3, help="between the map's occluders")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    network = create_network(arguments.network).to(device).eval().requires_grad_(False)
    classes = whole_space([str(k) for k in range(network.num_classes)], torch.eye(network.num_classes))
    Long.of = arguments.of

    def sweep(data, filled=False):
        """What the runner does before the result is asked for: an image is shown to an analysis only once."""
        analysis = Long(classes=classes, layers=arguments.layers)
        runner = Runner(network, data, batch_size=arguments.batch, device=device)
        wants = analysis.bind(network).sweeps[0]
        analysis.expect(len(data))
        for half in analysis._top["real"] if filled else ():
            half.merge(full_list(half.keep, sum(unit.width for unit in analysis._units), analysis))
        for _, observation in runner._sweep(wants, range(len(data)), 0, UNWATCHED):
            analysis.update(0, observation)
        return analysis

    if arguments.memory:
        Long.of = 5_000  # fewer than are shown: lists that are still filling grow
        for count in (100, 200, 400):
            lists = sweep(Noise(count, arguments.size, network.num_classes)).state_dict()["_top"]
            print(f"{count:6} images, {Long.of // 100} kept per unit: {size_of(lists) / 2**20:.2f} MB of lists")
        return
    title = f"{arguments.network}, {arguments.size} px"
    if arguments.discrepancy:
        calls, copies = discrepancy_calls(network, arguments.size, arguments.stride, arguments.batch, device)
        title += f", {copies} occluded copies in batches of {arguments.batch}"
    else:
        data = Noise(arguments.images, arguments.size, network.num_classes)
        calls = {
            "bare": lambda: bare(network, data, arguments.batch, device),
            "semantics": lambda: sweep(data, filled=True),
        }
        title += f", {arguments.images} images in batches of {arguments.batch}, lists of {arguments.of // 100}"
    print(f"{title}, {device}, torch {torch.__version__}")
    print_ratios(in_turn(calls, arguments.rounds, device, cpu_seconds), "bare")


def full_list(keep, units, analysis):
    """A list of images that drive no unit: every image to come that drives one displaces one of them."""
    full = TopImages(keep, analysis._show)
    nowhere = lambda image, unit: torch.zeros(len(image), 2)  # noqa: E731
    full.update(torch.zeros(keep, units), torch.arange(keep) + 10**6, torch.zeros(keep, 3), nowhere)
    return full.state_dict()


def size_of(state):
    """Bytes of all tensors in a nested state."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list) else ()
    return sum(size_of(part) for part in parts)


if __name__ == "__main__":
    main()
