"""Measures the concept world: rendering speed, and whether it is neither trivial nor hopeless to learn.

    python benchmarks/concept_world.py                # pictures per second on one core
    python benchmarks/concept_world.py --learn        # and the three learnability measurements at 64 px
    python benchmarks/concept_world.py --robust       # and small networks at 32 px, standard and adversarial

``--learn`` answers three questions: how far colours alone lead (multinomial logistic regression on 4×4×4
RGB histograms; wanted: at most 45 %), how far a ResNet-18 gets on a small budget (75,000 image visits, about
ten minutes on two cores; wanted: at least 85 %), and how much it needs the arrangement of the parts (accuracy
lost when the 8×8-pixel patches are shuffled; wanted: at least 15 points). All seeds are fixed; a GPU is used
where there is one, with the same number of image visits.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

from lightning_advinterp.data.concept_world import CLASSES, ConceptWorld, render, render_image
from lightning_advinterp.data.memory_set import shift_and_flip

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure the concept world.")
    parser.add_argument("--learn", action="store_true", help="run the three learnability measurements")
    parser.add_argument("--robust", action="store_true", help="train small networks, standard and adversarial")
    parser.add_argument("--visits", type=int, default=75_000, help="image visits of the ResNet-18")
    parser.add_argument("--size", type=int, default=32, help="pixels of --robust")
    parser.add_argument("--small_visits", type=int, default=20_000, help="image visits of each small network")
    parser.add_argument("--train_size", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print_speed(arguments.seed)
    if arguments.learn:
        print_learnability(arguments.train_size, arguments.visits, arguments.seed)
    if arguments.robust:
        print_robustness(arguments.train_size, arguments.size, arguments.small_visits, arguments.seed)


def print_speed(seed: int, count: int = 300) -> None:
    """Print pictures per second on one core, with and without labels."""
    for size in (32, 48, 64, 128, 224):
        speed = []
        for function in (render_image, render):
            function(0, seed=seed, size=size)
            start = time.perf_counter()
            for index in range(count):
                function(index, seed=seed, size=size)
            speed.append(count / (time.perf_counter() - start))
        print(f"{size:4d} px: {speed[0]:5.0f} pictures/s, with labels {speed[1]:5.0f}", flush=True)


def load(split: str, n: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images, uint8 ``[n, 3, size, size]``, and labels, int64 ``[n]``, on the device."""
    data = ConceptWorld(split, n, size=size, seed=seed)
    return data.images.to(DEVICE), torch.tensor(data.labels, device=DEVICE)


def color_histograms(images: Tensor) -> Tensor:
    """Return 4×4×4 RGB histograms, float32 ``[n, 64]``, as shares."""
    bins = (images >> 6).long()
    bins = (bins[:, 0] * 16 + bins[:, 1] * 4 + bins[:, 2]).flatten(1)
    counts = torch.zeros(len(images), 64, device=images.device)
    return counts.scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.float32)) / bins.shape[1]


def logistic_accuracy(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], penalty: float = 1e-4) -> float:
    """Return the test accuracy of multinomial logistic regression on features, standardised; L-BFGS."""
    mean, std = train[0].mean(0), train[0].std(0) + 1e-6
    x, x_test = (train[0] - mean) / std, (test[0] - mean) / std
    linear = nn.Linear(x.shape[1], len(CLASSES), device=x.device)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(linear(x), train[1]) + penalty * linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return (linear(x_test).argmax(1) == test[1]).float().mean().item()


def shuffle_patches(images: Tensor, side: int, seed: int) -> Tensor:
    """Put the ``side``-pixel square patches of each image in a random order of its own."""
    n, c, h, w = images.shape
    rows, columns = h // side, w // side
    patches = images.reshape(n, c, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(n, rows * columns, generator=generator).argsort(1).to(images.device)
    mixed = torch.stack([p[o] for p, o in zip(patches, order, strict=True)])
    mixed = mixed.reshape(n, rows, columns, c, side, side).permute(0, 3, 1, 4, 2, 5)
    return mixed.reshape(n, c, h, w)


class SmallResNet(nn.Module):
    """The ResNet-20 of the CIFAR experiments (He et al. 2016, section 4.2), with a chosen first width."""

    def __init__(self, width: int = 16, blocks: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
        for stage in range(3):
            for block in range(blocks):
                out = width * 2**stage
                layers.append(_Block(channels, out, 2 if stage and not block else 1))
                channels = out
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(channels, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, ``[B, 12]``."""
        return self.head(self.body(x).mean((2, 3)))


class _Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        self.short = (
            nn.Identity()
            if stride == 1 and channels == out
            else nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.main(x) + self.short(x))


Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def pgd(eps: float, steps: int, step: float) -> Attack:
    """Return projected gradient ascent of the cross-entropy from a random start; pixels in [0, 1]."""

    def attack(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        adversarial = (x + torch.empty_like(x).uniform_(-eps, eps)).clamp(0, 1)
        for _ in range(steps):
            adversarial.requires_grad_()
            (slope,) = torch.autograd.grad(cross_entropy(network(adversarial), y), adversarial)
            moved = adversarial.detach() + step * slope.sign()
            adversarial = (x + (moved - x).clamp(-eps, eps)).clamp(0, 1)
        return adversarial.detach()

    return attack


def train(
    network: nn.Module,
    data: tuple[Tensor, Tensor],
    *,
    visits: int,
    eps: float = 0.0,
    mixed: bool = False,
    batch: int = 64,
    rate: float = 0.1,
    seed: int = 0,
) -> nn.Module:
    """Train by SGD with one cycle of the learning rate, on shifted and flipped images.

    Args:
        network: trained in place.
        data: uint8 images and labels.
        visits: images seen in all.
        eps: train on adversarial images of one random-start step (step size 1.25 eps), in [0, 1] pixel units.
            The radius grows in a line over the first half of the training: at full radius from the start, a
            budget this small is spent before the network has learned anything. 0: standard training.
        mixed: train on half clean and half adversarial images.
        batch: images per step.
        rate: greatest learning rate.
        seed: of the order and the augmentation.
    """
    images, labels = data
    steps = max(2, visits // batch)
    optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.25)
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    network.train()
    for step in range(steps):
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(len(images), generator=generator)])
        index, order = order[:batch].to(images.device), order[batch:]
        draws = torch.randint(0, 2**60, (batch,), generator=generator).tolist()
        x = shift_and_flip(images[index].cpu(), draws, images.shape[-1] // 16).to(DEVICE).float() / 255
        y = labels[index]
        if eps:
            part = batch // 2 if mixed else 0
            radius = eps * min(1.0, 2 * (step + 1) / steps)
            x = torch.cat([x[:part], pgd(radius, 1, 1.25 * radius)(network, x[part:], y[part:])])
        optimizer.zero_grad()
        cross_entropy(network(x), y).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def accuracy(network: nn.Module, data: tuple[Tensor, Tensor], attack: Attack | None = None) -> float:
    """Return the share of images classified correctly, attacked or not."""
    correct = 0
    for x, y in zip(data[0].split(250), data[1].split(250), strict=True):
        x = x.float() / 255
        if attack is not None:
            x = attack(network, x, y)
        with torch.no_grad():
            correct += int((network(x).argmax(1) == y).sum())
    return correct / len(data[0])


def print_learnability(train_size: int, visits: int, seed: int) -> None:
    """Print the three measurements at 64 px."""
    fit, test = load("train", train_size, 64, seed), load("test", 1000, 64, seed)
    histogram = logistic_accuracy((color_histograms(fit[0]), fit[1]), (color_histograms(test[0]), test[1]))
    print(f"colour histograms: {100 * histogram:.1f} % (wanted: at most 45)", flush=True)
    torch.manual_seed(seed)
    start = time.perf_counter()
    network = train(resnet18(num_classes=len(CLASSES)).to(DEVICE), fit, visits=visits, rate=0.05, seed=seed)
    seconds = time.perf_counter() - start
    clean = accuracy(network, test)
    print(f"ResNet-18, {visits} visits, {seconds:.0f} s on {DEVICE}: {100 * clean:.1f} % (wanted: at least 85)")
    print_confusions(network, test)
    shuffled = accuracy(network, (shuffle_patches(test[0], 8, seed), test[1]))
    print(f"patches shuffled: {100 * shuffled:.1f} %, {100 * (clean - shuffled):.1f} points lost (wanted: 15)")


def print_confusions(network: nn.Module, data: tuple[Tensor, Tensor], most: int = 6) -> None:
    """Print the most frequent mistakes."""
    with torch.no_grad():
        said = torch.cat([network(x.float() / 255).argmax(1) for x in data[0].split(250)])
    counts = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.int64)
    counts.index_put_((data[1].cpu(), said.cpu()), torch.ones(len(said), dtype=torch.int64), accumulate=True)
    counts.fill_diagonal_(0)
    top = counts.flatten().topk(most)
    names = [c.name for c in CLASSES]
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    print("  mistakes: " + ", ".join(f"{names[k // 12]} for {names[k % 12]} {n}" for k, n in pairs))


def print_robustness(train_size: int, size: int, visits: int, seed: int) -> None:
    """Print clean and PGD-10 accuracy of ResNet-20 after standard and one-step adversarial training."""
    fit, test = load("train", train_size, size, seed), load("test", 1000, size, seed)
    print(f"ResNet-20, {size} px, {visits} visits")
    print("training         clean  PGD-10 at 4/255  at 8/255")
    for name, eps, mixed in (
        ("standard", 0, False),
        ("mixed 4/255", 4, True),
        ("mixed 8/255", 8, True),
        ("adversarial 8/255", 8, False),
    ):
        torch.manual_seed(seed)
        network = SmallResNet().to(DEVICE)
        train(network, fit, visits=visits, eps=eps / 255, mixed=mixed, seed=seed)
        clean, *robust = (accuracy(network, test, pgd(e / 255, 10, e / 1020) if e else None) for e in (0, 4, 8))
        print(f"{name:17s} {100 * clean:4.1f}  {100 * robust[0]:15.1f}  {100 * robust[1]:8.1f}", flush=True)


if __name__ == "__main__":
    main()
