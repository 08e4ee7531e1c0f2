"""A plain convolutional network for CIFAR-10, after the one that Ghorbani et al. 2019 trained."""

import torch
from torch import Tensor, nn


class CifarCNN(nn.Module):
    """Six 3×3 convolutions, the third and the sixth of stride 2, a hidden layer, and the logits; relu after each.

    Args:
        num_classes: number of logits.
        channels: of the first three convolutions; the other three have twice as many.
        hidden: units of the hidden layer.

    Reference:
        Ghorbani, Abid, Zou 2019, appendix of arXiv 1710.10547: convolutions of 96, 96, 96 (stride 2), 192, 192, 192
        (stride 2) channels, 1,024 hidden units, Adam with default settings, 73 % on the test images. The appendix was
        not at hand when this was written: the list is from memory. Padding (1 here), initial weights (PyTorch's),
        epochs, batch size and augmentation are not documented.
    """

    def __init__(self, num_classes: int = 10, channels: int = 96, hidden: int = 1024) -> None:
        super().__init__()
        for name, number in (("channels", channels), ("hidden", hidden)):
            if number < 1:
                raise ValueError(f"{name} must be 1 or more, got {number}.")
        widths = (channels,) * 3 + (2 * channels,) * 3
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(zip((3, *widths), widths, strict=False)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2 if number in (2, 5) else 1, padding=1), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        inputs = 2 * channels * 8 * 8
        self.classifier = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 3, 32, 32]`` to logits ``[B, K]``."""
        logits: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return logits
