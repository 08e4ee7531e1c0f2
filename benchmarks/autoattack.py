"""AutoAttack and its four attacks against the public torchattacks: robust accuracy, and CPU time as ratios.

    python benchmarks/autoattack.py --weights cifar10_resnet20-12fca82f.th --data cifar10/test --eps 0.25/255 0.5/255
    python benchmarks/autoattack.py --checkpoint runs/quickstart/best.ckpt --eps 8/255
    pip install --no-deps --target /tmp/ta torchattacks; PYTHONPATH=/tmp/ta python benchmarks/autoattack.py …

Both sides see the same images in batches of the same size. Time is this process' CPU time on one thread, so that what
else the machine does counts for neither. Both draw random numbers of their own: an image more or less is chance.
Where torchattacks is not installed, its columns stay empty.
"""

import argparse
import importlib
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lightning_advinterp.attacks import AttackConfig, create_attack, parse_pixels
from lightning_advinterp.data.concept_world import ConceptWorld
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.checkpoint import load_checkpoint

TYPES = ("apgd", "apgd_t", "fab_t", "square", "autoattack")


def cifar_images(folder, count):
    """Images and labels of DIR/<class>/*.jpg, the classes taking turns."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [sorted(path.glob("*.jpg")) for path in classes]
    chosen = [(files[i % len(classes)][i // len(classes)], i % len(classes)) for i in range(count)]
    pixels = [np.array(Image.open(file).convert("RGB")) for file, _ in chosen]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255, torch.tensor([y for _, y in chosen])


def theirs(kind, network, eps, norm, queries, classes):
    """The attack of torchattacks, or None where it is not installed."""
    try:
        torchattacks = importlib.import_module("torchattacks")
    except ImportError:
        return None
    common = {"norm": {"linf": "Linf", "l2": "L2"}[norm], "eps": eps, "seed": 0}
    attacks = {
        "apgd": torchattacks.APGD(network, steps=100, **common),
        "apgd_t": torchattacks.APGDT(network, steps=100, n_classes=classes, **common),
        "fab_t": torchattacks.FAB(network, steps=100, multi_targeted=True, n_classes=classes, **common),
        "square": torchattacks.Square(network, n_queries=queries, **common),
    }
    # torchattacks.AutoAttack is this MultiAttack with 5000 queries, but with its own defaults of 10 steps, not 100
    return attacks[kind] if kind in attacks else torchattacks.MultiAttack(list(attacks.values()))


def measured(attack, network, x, y, batch):
    """Which images keep their label, and the CPU seconds that it took."""
    start = time.process_time()
    adversarial = torch.cat([attack(*part).detach() for part in zip(x.split(batch), y.split(batch), strict=True)])
    seconds = time.process_time() - start
    with torch.no_grad():
        return network(adversarial).argmax(1) == y, seconds, adversarial - x


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="of this project, on images of the concept world")
    parser.add_argument("--network", default="cifar_resnet20")
    parser.add_argument("--weights")
    parser.add_argument("--data", type=Path, help="folder DIR/<class>/*.jpg for --weights")
    parser.add_argument("--eps", nargs="+", default=["8/255"])
    parser.add_argument("--norm", default="linf", choices=["linf", "l2"])
    parser.add_argument("--types", nargs="+", default=TYPES, choices=TYPES)
    parser.add_argument("--queries", type=int, default=5000, help="of Square, also within AutoAttack")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.checkpoint:
        network = load_checkpoint(arguments.checkpoint).network.eval()
        world = ConceptWorld("test", arguments.images, size=32)
        batches = [world[i] for i in range(arguments.images)]
        x = torch.stack([b.image for b in batches])
        x = x / 255 if x.dtype == torch.uint8 else x
        y = torch.stack([torch.as_tensor(b.label) for b in batches])
    else:
        network = create_network(arguments.network, arguments.weights).eval()
        x, y = cifar_images(arguments.data, arguments.images)
    x = x.contiguous()  # torchattacks' FAB views gradients flat
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    create_attack(AttackConfig("pgd"))(network, x, y)  # warms up
    with torch.no_grad():
        logits = network(x)
    print(f"{network.name}, {len(x)} images, clean accuracy {float((logits.argmax(1) == y).float().mean()):.4f}")
    print(f"{'eps':>9} {'attack':10} {'robust':>7} {'theirs':>7} {'differ':>6} {'s':>7} {'theirs':>7} {'ratio':>6}")
    for eps in arguments.eps:
        number = parse_pixels(eps, most=None)
        for kind in arguments.types:
            queries = arguments.queries if kind in ("square", "autoattack") else None
            config = AttackConfig(kind, eps, norm=arguments.norm, queries=queries)
            ours = create_attack(config)
            own, seconds, delta = measured(lambda *a, f=ours: f(network, *a), network, x, y, arguments.batch)
            size = delta.flatten(1).abs().amax() if arguments.norm == "linf" else delta.flatten(1).norm(dim=1).max()
            assert float(size) <= number + 1e-6, "left the ball"
            row = f"{eps:>9} {kind:10} {float(own.float().mean()):7.4f}"
            other = theirs(kind, network, number, arguments.norm, arguments.queries, logits.shape[1])
            if other is None:
                print(f"{row} {'':7} {'':6} {seconds:7.1f}", flush=True)
                continue
            held, their_seconds, _ = measured(other, network, x, y, arguments.batch)
            print(
                f"{row} {float(held.float().mean()):7.4f} {int((own != held).sum()):6d} "
                f"{seconds:7.1f} {their_seconds:7.1f} {seconds / their_seconds:6.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
