"""How fast images come: what a loader's process spends where, in microseconds of CPU time per image.

    python benchmarks/data_speed.py                                   # images in memory
    python benchmarks/data_speed.py --folder DIR --size 224           # and JPEG files, DIR/<class>/*.jpg

In-memory sets: indexing, shifting and flipping, and collating of one batch (``shift_and_flip`` is also timed by itself,
since ``augment_on_device`` moves it to the GPU). Files: reading and decoding, and then the crop's resize. The last
column is the number of such processes that keep a consumer of ``--rate`` images per second busy.
"""

import argparse
import statistics
import time
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from lightning_advinterp.data.decode import to_rgb
from lightning_advinterp.data.loaders import collate_batch
from lightning_advinterp.data.memory_set import MemoryDataset, shift_and_flip
from lightning_advinterp.data.transforms import TrainTransform


def microseconds(function, images, rounds):
    """Median CPU time per image of a call that treats so many images."""
    times = []
    for _ in range(rounds + 1):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return 1e6 * statistics.median(times[1:]) / images


def in_memory(size, batch, rounds):
    """Name to microseconds, for images that lie in memory."""
    images = torch.randint(0, 256, (4 * batch, 3, size, size), dtype=torch.uint8)
    plain, augmented = (MemoryDataset(images, [0] * len(images), shift=shift) for shift in (0, 4))
    items = list(range(batch))
    samples = plain.__getitems__(items)
    label = f"in memory, {size} px"
    return {
        f"{label}: all, augmented": microseconds(lambda: collate_batch(augmented.__getitems__(items)), batch, rounds),
        f"{label}: all, augmented on the device": microseconds(
            lambda: collate_batch(plain.__getitems__(items)), batch, rounds
        ),
        f"{label}: shift and flip": microseconds(lambda: shift_and_flip(images[:batch], items, 4), batch, rounds),
        f"{label}: collate": microseconds(lambda: collate_batch(samples), batch, rounds),
    }


def from_files(folder, size, rounds, count=64):
    """Name to microseconds, for JPEG files."""
    paths = sorted(Path(folder).rglob("*.jpg"))[:: max(1, len(list(Path(folder).rglob("*.jpg"))) // count)][:count]
    transform = TrainTransform(size)

    def decode(path):
        with Image.open(path) as image:
            return to_rgb(image)

    def whole(path):
        with Image.open(path) as image:
            return transform(image, torch.Generator().manual_seed(0))

    tensors = [whole(path) for path in paths]
    measured = {
        "files: decode in full": lambda: [decode(path) for path in paths],
        f"files: decode (smaller where that serves), crop, resize to {size}": lambda: [whole(path) for path in paths],
        "files: flip": lambda: [tensor.flip(-1) for tensor in tensors],
    }
    return {name: microseconds(function, len(paths), rounds) for name, function in measured.items()}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="a folder of class folders of JPEG files")
    parser.add_argument("--size", type=int, default=224, help="side of the training crop of the files")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rate", type=float, default=3000, help="images per second of the consumer")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as in a loader's worker
    parts = [partial(in_memory, size, arguments.batch, arguments.rounds) for size in (32, 64)]
    if arguments.folder:
        parts.append(partial(from_files, arguments.folder, arguments.size, max(3, arguments.rounds // 5)))
    print(f"{'':70} {'µs/image':>9} {'images/s':>9} {f'for {arguments.rate:.0f}/s':>11}")
    for part in parts:
        for name, value in part().items():
            print(f"{name:70} {value:9.1f} {1e6 / value:9.0f} {arguments.rate * value / 1e6:11.2f}")


if __name__ == "__main__":
    main()
