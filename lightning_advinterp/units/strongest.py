"""Where in an image units are strongest, for a few pairs of images and units or for most of a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Finder:
    """Finds the strongest place in the maps of some images of a batch, for few images and units at a time."""

    def __init__(self, maps: Sequence[Tensor], widths: Sequence[int], members: Tensor) -> None:
        self.maps, self.widths, self.members = maps, widths, members

    def __call__(self, image: Tensor, unit: Tensor) -> Tensor:
        """Return rows and columns ``[n, 2]`` (of equals the first)."""
        places = torch.zeros(len(image), 2, dtype=torch.int32, device=image.device)
        first = 0
        for maps, width in zip(self.maps, self.widths, strict=True):
            of_layer = ((unit >= first) & (unit < first + width)).nonzero().squeeze(1)
            if len(of_layer):
                images, units = self.members[image[of_layer]], unit[of_layer] - first
                strongest = self._first_strongest(maps, images, units)
                places[of_layer] = torch.stack([strongest // maps.shape[3], strongest % maps.shape[3]], dim=1).int()
            first += width
        return places

    def _first_strongest(self, maps: Tensor, images: Tensor, units: Tensor) -> Tensor:
        """Return of each pair of an image and a unit the first of its strongest places, int64 ``[n]``."""
        if 2 * len(images) > len(self.members) * maps.shape[1]:
            # Of most pairs: all maps of an image in the order of memory cost less than picking them one by one.
            strongest = torch.zeros(maps.shape[:2], dtype=torch.int64, device=maps.device)
            for image in self.members.tolist():
                strongest[image] = first_strongest(maps[image])
            return strongest[images, units]
        return first_strongest(maps[images, units])


def first_strongest(maps: Tensor) -> Tensor:
    """Return where maps ``[..., H, W]`` are largest, counted along rows, ``[...]``; of equals the first.

    ``argmax`` may return any of equals; the first is the same on every device.
    """
    flat = maps.flatten(-2)
    count = flat.shape[-1]
    falling = torch.arange(count, 0, -1, dtype=torch.int32, device=maps.device)
    equal: Tensor = flat == flat.amax(dim=-1, keepdim=True)
    return (count - (equal * falling).amax(dim=-1).long()) % count  # NaN equals nothing, and is said to lie first
