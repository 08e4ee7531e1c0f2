"""What network dissection costs beside the forward passes that it needs, as ratios within one run.

    python benchmarks/dissection.py --weights FILE --concepts DIR      # as in docs/dissection.md
    python benchmarks/dissection.py                                    # random weights on the concept world
    python benchmarks/dissection.py --network timm/vit_tiny_patch16_224 --layers all_mlp
    python benchmarks/dissection.py --memory                           # peak memory against the number of images

The unit is F, a bare forward pass over the same images. Times are of the process's CPU (of the clock on a GPU), the
least of several rounds in which all variants take turns; labels are in memory, what reading them costs is a line of
its own. The baseline is the loop of NetDissect-Lite as it stands, written anew: all activations kept as float64, a
threshold from all of them (by a partial sort, faster than its sketch), then for every image and unit, unless the
unit's maximum is not above its threshold, PIL's bilinear upsampling, a mask, and a count of labels under it.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from PIL import Image
from timing import cpu_seconds, in_turn

from lightning_advinterp.analyses import DissectionAnalysis, DissectionConfig, Runner
from lightning_advinterp.cli.evaluation.running import REMEMBERED
from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.data.broden import open_concepts
from lightning_advinterp.metrics.dissection import ConceptCounts
from lightning_advinterp.metrics.label_maps import Vocabulary, batch_labels, image_labels
from lightning_advinterp.metrics.quantile import TopQuantile
from lightning_advinterp.networks import create_network
from lightning_advinterp.units.conv_layers import conv_taps
from lightning_advinterp.units.spaces import unit_space

GROUPS = 20


class Setting:
    """Network, images and labels of one run."""

    def __init__(self, arguments):
        self.device, self.batch = torch.device(arguments.device), arguments.batch
        torch.manual_seed(0)
        self.network = create_network(arguments.network, arguments.weights).to(self.device).eval().requires_grad_(False)
        data = open_concepts(arguments.concepts, self.network.input_size, n=arguments.images)
        chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[: arguments.images].tolist()
        self.data = data.only(chosen)
        self.images = torch.stack([self.data[item].image for item in range(len(self.data))])
        self.images = (self.images.float() / 255).to(self.device)
        started = time.process_time()
        self.segmentations = [self.data.segmentation(number) for number in self.data.indices]
        self.reading = time.process_time() - started
        concepts = {number: concept.category for number, concept in self.data.concepts.items()}
        self.vocabulary, self.size = Vocabulary(concepts, self.data.categories), self.data.label_size

    def batches(self):
        """Images in batches."""
        return self.images.split(self.batch)

    def labels(self, start, count):
        """A batch's labels, prepared for counting: part of what is timed."""
        part = self.segmentations[start : start + count]
        return batch_labels(
            [image_labels(*one, self.vocabulary, self.size) for one in part], self.vocabulary, self.device
        )

    def forward(self):
        """F: nothing but the logits."""
        for x in self.batches():
            self.network(x)

    def features(self, layers):
        """The wanted layers of every batch."""
        for x in self.batches():
            yield self.network.forward_features(x, layers)[1]

    def thresholds(self, features, layers):
        """First sweep."""
        quantiles = {layer: TopQuantile(0.995, len(self.images)) for layer in layers}
        for read in features:
            for layer in layers:
                quantiles[layer].update(read[layer])
        return {layer: one.compute() for layer, one in quantiles.items()}

    def tally(self, features, layers, thresholds):
        """Second sweep."""
        counts, start = {}, 0
        for read in features:
            count = len(read[layers[0]])
            labels = self.labels(start, count)
            group = torch.arange(start, start + count, device=self.device) % GROUPS
            for layer in layers:
                maps = read[layer]
                if layer not in counts:
                    counts[layer] = ConceptCounts(maps.shape[1], self.vocabulary, groups=GROUPS, device=self.device)
                counts[layer].update(maps, thresholds[layer], labels, self.size, group)
            start += count
        return counts

    def dissect(self, layers):
        """Both sweeps, a forward pass in each."""
        return self.tally(self.features(layers), layers, self.thresholds(self.features(layers), layers))

    def evaluate(self, layers, remember):
        """The analysis as ``evaluate.py`` runs it, with its three controls, reading of images and labels and tables."""
        analysis = DissectionAnalysis(self.data, {}, DissectionConfig(layers=layers))
        runner = Runner(self.network, self.data, batch_size=self.batch, device=self.device, remember=remember)
        return runner.run([analysis])

    def dissect_kept(self, layers):
        """Both sweeps over features that are kept."""
        kept = list(self.features(layers))
        return self.tally(kept, layers, self.thresholds(kept, layers))

    def dissect_units(self, space):
        """Both sweeps over the maps of a unit space: those of tokens, or of any layers by their words."""
        layers = [unit.layer for unit in space]

        def maps():
            for features in self.features(list(space.taps)):
                yield {unit.layer: unit.maps(features[unit.tap]) for unit in space}

        return self.tally(maps(), layers, self.thresholds(maps(), layers))


class Lite:
    """The loop of NetDissect-Lite on one layer's features."""

    def __init__(self, setting, maps):
        self.setting, self.maps = setting, maps.astype(np.float64)  # as its memory maps are
        words = setting.vocabulary
        self.labels = max(words.numbers) + 1
        self.labelcat = np.zeros((self.labels, len(words.categories)))
        self.labelcat[list(words.numbers), words.category] = 1

    def thresholds(self):
        """The top 0.5 % of every unit."""
        units = self.maps.swapaxes(0, 1).reshape(self.maps.shape[1], -1)
        place = round(0.995 * units.shape[1])
        return np.partition(units, place, axis=1)[:, place]

    def tally(self, thresholds):
        """Image by image, unit by unit, with its skip."""
        units, (height, width) = self.maps.shape[1], self.setting.size
        both, area = np.zeros((units, self.labels)), np.zeros((units, self.labelcat.shape[1]))
        whole = np.zeros(self.labels)
        for planes, (by_category, image_level) in zip(self.maps, self.setting.segmentations, strict=True):
            layers = [layer for stack in by_category.values() for layer in stack]
            pixels = np.stack(layers) if layers else None
            scalars = [label for numbers in image_level.values() for label in numbers]
            if pixels is not None:
                whole += np.bincount(pixels.ravel(), minlength=self.labels)
            for label in scalars:
                whole[label] += height * width
            for unit in range(units):
                plane = planes[unit]
                if not plane.max() > thresholds[unit]:
                    continue
                enlarged = Image.fromarray(plane.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
                rows, columns = np.nonzero(np.asarray(enlarged) > thresholds[unit])
                categories = np.zeros(self.labelcat.shape[1])
                if pixels is not None:
                    under = np.bincount(pixels[:, rows, columns].ravel(), minlength=self.labels)
                    under[0] = 0
                    both[unit] += under
                    categories += under @ self.labelcat
                for label in scalars:
                    categories += self.labelcat[label]
                    both[unit, label] += len(rows)
                area[unit] += len(rows) * (categories > 0)
        return both, area, whole

    def dissect(self):
        """Thresholds and tally."""
        return self.tally(self.thresholds())


def words_variants(setting, words):
    """Name to a call: the layers that words stand for, whatever their form."""
    space = unit_space(setting.network, words)
    units = sum(unit.width for unit in space)
    name = f"{words}, {units} units, two sweeps"
    return {"F, bare forward": setting.forward, name: lambda: setting.dissect_units(space)}


def variants(setting, lite):
    """Name to a call; layers by the network's own names."""
    taps = [tap.tap for tap in conv_taps(setting.network)]
    last, early = setting.network.phi, taps[1]
    calls = {
        "F, bare forward": setting.forward,
        "last layer, two sweeps": lambda: setting.dissect([last]),
        "last layer, features kept": lambda: setting.dissect_kept([last]),
        f"all {len(taps)} conv layers, two sweeps": lambda: setting.dissect(list(dict.fromkeys(taps))),
    }
    for name, layers in (("last layer", "last"), (f"all {len(taps)} conv layers", "all_conv")):
        calls[f"{name}, three controls"] = lambda y=layers: setting.evaluate(y, REMEMBERED)
        calls[f"{name}, three controls, none held"] = lambda y=layers: setting.evaluate(y, 0)
    for name, layer in (("last", last), ("early", early)):
        kept = [{layer: read[layer].clone()} for read in setting.features([layer])]
        known = setting.thresholds(kept, [layer])
        calls[f"  tally of the {name} layer"] = lambda k=kept, y=layer, t=known: setting.tally(k, [y], t)
        calls[f"  tally and thresholds, {name}"] = lambda k=kept, y=layer: setting.tally(
            k, [y], setting.thresholds(k, [y])
        )
        if lite:
            loop = Lite(setting, torch.cat([read[layer] for read in kept]).cpu().numpy())
            fixed = known[layer].cpu().numpy()
            calls[f"  Lite's tally, {name}"] = lambda loop=loop, t=fixed: loop.tally(t)
            calls[f"  Lite's tally and thresholds, {name}"] = loop.dissect
    return calls


def announced_memory(setting, images):
    """Print what the thresholds of all conv layers hold while a set of so many images begins, and what they cost."""
    layers = list(dict.fromkeys(tap.tap for tap in conv_taps(setting.network)))
    quantiles = {layer: TopQuantile(0.995, images) for layer in layers}
    seen, forward, counting, looks = 0, 0.0, 0.0, [16, 48, 100, 200, 400, 800, 1600]
    for x in setting.batches():
        started = time.process_time()
        read = setting.network.forward_features(x, layers)[1]
        between = time.process_time()
        for layer in layers:
            quantiles[layer].update(read[layer])
        forward, counting = forward + between - started, counting + time.process_time() - between
        seen += len(x)
        if seen >= looks[0] or seen == len(setting.images):
            looks = [number for number in looks if number > seen] or [seen + 1]
            held = sum(one.held_bytes() for one in quantiles.values())
            rough = sum(int(one.unresolved().sum()) for one in quantiles.values())
            share = f"counting {counting / forward:.1f} F"
            print(f"{seen:6} of {images} images: {held / 1e6:4.0f} MB, {rough} units unresolved; {share}", flush=True)


def peak_memory(images):
    """Peak of a process that dissects a layer of 512 units on random maps, in MB; random labels of 200."""
    generator = torch.Generator().manual_seed(0)
    words = Vocabulary({number: number % 6 for number in range(1, 201)}, [f"c{number}" for number in range(6)])
    rng = np.random.default_rng(0)
    quantile, counts = TopQuantile(0.995, images), ConceptCounts(512, words, groups=GROUPS)
    maps = [torch.randn(20, 512, 7, 7, generator=generator).relu() for _ in range(10)]
    labels = [
        ({0: rng.integers(0, 200, (1, 14, 14)).repeat(8, 1).repeat(8, 2).astype(np.int32)}, {}) for _ in range(20)
    ]
    for start in range(0, images, 20):
        quantile.update(maps[start // 20 % 10] * (1 + start / images))
    thresholds = quantile.compute()
    for start in range(0, images, 20):
        batch = batch_labels([image_labels(*one, words, (112, 112)) for one in labels], words)
        counts.update(maps[start // 20 % 10], thresholds, batch, (112, 112), torch.arange(20) % GROUPS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--weights", default=None, help="a file; random weights otherwise")
    parser.add_argument("--concepts", default="concept_world", help="folder of a set in Broden's format")
    parser.add_argument("--layers", default=None, help="measure both sweeps of these layers alone, as --layers all_mlp")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no_lite", action="store_true", help="leave the baseline out")
    parser.add_argument("--memory", action="store_true", help="measure peak memory instead")
    parser.add_argument("--announced", type=int, default=None, help="measure the thresholds of a set of so many images")
    parser.add_argument("--peak", type=int, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print(f"{peak_memory(arguments.peak):.0f}")
        return
    if arguments.memory:
        for images in (200, 2000, 20_000):
            command = [sys.executable, __file__, "--peak", str(images)]
            peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(f"{images:6} images: peak of {peak} MB")
        return
    keep_freed_memory()
    with torch.inference_mode():
        setting = Setting(arguments)
        if arguments.announced:
            announced_memory(setting, arguments.announced)
            return
        words = arguments.layers
        calls = words_variants(setting, words) if words else variants(setting, not arguments.no_lite)
        times = in_turn(calls, arguments.rounds, setting.device, cpu_seconds)
    least = {name: min(values) for name, values in times.items()}
    count, base = len(setting.images), least["F, bare forward"]
    print(
        f"{arguments.network}, {count} images of {arguments.concepts.rstrip('/').split('/')[-1]}, "
        f"batch {arguments.batch}, {setting.device}, {arguments.threads} threads, torch {torch.__version__}"
    )
    print(f"{'':44} {'ms/image':>9} {'F':>7}")
    for name, value in least.items():
        print(f"{name:44} {1000 * value / count:9.2f} {value / base:7.3f}")
    print(f"{'reading the labels':44} {1000 * setting.reading / count:9.2f} {setting.reading / base:7.3f}")


if __name__ == "__main__":
    main()
