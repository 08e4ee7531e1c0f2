r"""A network of your own: a wide ResNet for 32 px (Zagoruyko & Komodakis 2016); pixels in [0, 1] in, logits out.

python train.py --config configs/consistency.yaml --model.network examples.extensions.wide_resnet.WideResNet \
        --model.network_options '{depth: 16, width: 2, phi: blocks}' --name wide
"""

from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two pre-activated convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x))
        return self.shortcut(x) + self.conv2(F.relu(self.bn2(self.conv1(out))))


class WideResNet(nn.Module):
    """WRN-depth-width."""

    def __init__(self, num_classes: int = 10, depth: int = 28, width: int = 10) -> None:
        super().__init__()
        widths, count = [16, 16 * width, 32 * width, 64 * width], (depth - 4) // 6
        plan = [(widths[g + (b > 0)], widths[g + 1], 2 if g and not b else 1) for g in range(3) for b in range(count)]
        self.conv, self.blocks = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.Sequential(*(Block(*p) for p in plan))
        self.bn, self.fc = nn.BatchNorm2d(widths[3]), nn.Linear(widths[3], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.bn(self.blocks(self.conv(x)))).mean((2, 3)))
