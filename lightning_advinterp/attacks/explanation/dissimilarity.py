"""What attacks on explanations maximise: functions of a map h (sum 1) and of what is known of the original."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lightning_advinterp.metrics.heatmaps import (
    centre,
    centre_shift,
    default_k,
    says_nothing,
    spearman,
    top_k_intersection,
)

Criterion = Literal["topk", "spearman", "center_shift", "gain"]
"""By what the best iterate is chosen: the least intersection, the least ρ, the largest shift, or the largest gain."""

Target = Literal["uniform", "centre", "inverted", "text"]


class Dissimilarity(ABC):
    """One aim of an attack on an explanation.

    Attributes:
        name: what tables call it.
        criterion: by what the best iterate is chosen where the attack is not told.
        k: places of the top-k criterion; see :func:`~lightning_advinterp.metrics.heatmaps.default_k` when None.
    """

    name: str
    criterion: Criterion = "topk"
    k: int | None = None

    def places(self, maps: Tensor) -> int:
        """Return k for maps ``[B, H, W]``.

        Raises:
            ValueError: if it is all their places or more, so that no attack could change anything.
        """
        k, every = default_k(maps) if self.k is None else self.k, maps.shape[1] * maps.shape[2]
        if k >= every:
            raise ValueError(f"k must be less than the number of places, {every}, got {k}.")
        return k

    @abstractmethod
    def reference(self, maps: Tensor) -> Tensor:
        """Return what :meth:`gain` needs to know of the original maps ``[B, H, W]``, a tensor ``[B, …]``."""

    @abstractmethod
    def gain(self, maps: Tensor, reference: Tensor) -> Tensor:
        """Return what is maximised, ``[B]``, differentiable in the maps ``[B, H, W]``."""

    def score(self, maps: Tensor, original: Tensor, reference: Tensor, criterion: Criterion) -> Tensor:
        """Return how well an iterate does, ``[B]`` float64, the larger the better.

        NaN, which is never better, where the iterate's map or the original's is constant and so shows nothing.
        """
        if criterion == "topk":
            return -top_k_intersection(maps, original, self.places(maps))
        if criterion == "spearman":
            return -spearman(maps, original)
        if criterion == "center_shift":
            return centre_shift(maps, original)
        silent = says_nothing(maps) | says_nothing(original)
        return self.gain(maps, reference).double().masked_fill(silent, torch.nan)


class Undirected(Dissimilarity):
    """Nothing is maximised: for steps of random sign, the control that every other attack must beat."""

    name = "random_sign"

    def __init__(self, k: int | None = None) -> None:
        self.k = _check_k(k)

    def reference(self, maps: Tensor) -> Tensor:
        """Return nothing."""
        return maps.new_zeros(len(maps))

    def gain(self, maps: Tensor, reference: Tensor) -> Tensor:
        """Return zero, with a derivative of zero."""
        return 0 * maps.sum((1, 2))


class TopK(Dissimilarity):
    """−Σ_{i ∈ B_k} h_i, with B_k the k largest places of the original map (Ghorbani et al. 2019).

    Args:
        k: the number of places, also of the top-k criterion; left out: 1,000, 100 for images below 100 pixels, a tenth
            of the places below 32.
    """

    name = "topk"

    def __init__(self, k: int | None = None) -> None:
        self.k = _check_k(k)

    def reference(self, maps: Tensor) -> Tensor:
        """Return B_k as a mask ``[B, H, W]``."""
        flat = maps.flatten(1)
        order = flat.argsort(dim=1, descending=True, stable=True)[:, : self.places(maps)]
        return torch.zeros_like(flat).scatter_(1, order, 1.0).view_as(maps)

    def gain(self, maps: Tensor, reference: Tensor) -> Tensor:
        """Return minus the share of these places."""
        return -(maps * reference).sum((1, 2))


class MassCentre(Dissimilarity):
    """‖C(x') − C(x)‖², with C the centre of mass in pixels (Ghorbani et al. 2019).

    C(x) is that of the ReLU map; the authors' code takes that of the softplus surrogate. Truncated to whole pixels, as
    theirs is: with the exact centre of the map that is climbed, the gradient at the start would be exactly zero.
    """

    name = "mass_centre"
    criterion = "center_shift"

    def reference(self, maps: Tensor) -> Tensor:
        """Return C(x), ``[B, 2]``."""
        return centre(maps).nan_to_num(nan=0.0).floor()

    def gain(self, maps: Tensor, reference: Tensor) -> Tensor:
        """Return the squared distance; of a map of zeros, which has no centre, that of a constant one."""
        empty = maps.sum((1, 2), keepdim=True) == 0  # its centre's gradient would be NaN, and so would the next image
        return (centre(torch.where(empty, torch.ones_like(maps), maps)) - reference).square().sum(1)


class TargetRegion(Dissimilarity):
    """Σ_{i ∈ A} h_i (Ghorbani et al. 2019).

    Args:
        region: A as (top, left, height, width) in shares of the map's sides; left out, of the four quadrants the one
            with the least share of the original map.
    """

    name = "target_region"
    criterion = "gain"

    def __init__(self, region: Sequence[float] | None = None) -> None:
        if region is not None:
            values = tuple(float(value) for value in region)
            inside = len(values) == 4 and min(values) >= 0 and values[0] + values[2] <= 1 and values[1] + values[3] <= 1
            if not inside or values[2] * values[3] == 0:
                raise ValueError(
                    f"region must be (top, left, height, width), shares of the sides inside of the map, got {region}."
                )
        self.region = region

    def reference(self, maps: Tensor) -> Tensor:
        """Return A as a mask ``[B, H, W]``."""
        height, width = maps.shape[1:]
        quadrants = [(top, left, 0.5, 0.5) for top in (0.0, 0.5) for left in (0.0, 0.5)]
        regions = quadrants if self.region is None else [self.region]
        masks = maps.new_zeros(len(regions), height, width)
        for mask, (top, left, tall, wide) in zip(masks, regions, strict=True):
            rows = slice(round(top * height), round((top + tall) * height))
            mask[rows, round(left * width) : round((left + wide) * width)] = 1
        if not bool(masks.any()):
            raise ValueError(f"region must hold a pixel of a {height} x {width} map, got {self.region}.")
        shares = torch.einsum("bhw,nhw->bn", maps, masks)
        return masks[shares.argmin(1)]

    def gain(self, maps: Tensor, reference: Tensor) -> Tensor:
        """Return the share of the region."""
        return (maps * reference).sum((1, 2))


class TargetMap(Dissimilarity):
    """−‖h − h^t‖², the sum over places (Dombrowski et al. 2019).

    Args:
        target: h^t: ``uniform``; ``centre``, a Gaussian of a tenth of the shorter side in the middle; ``inverted``,
            max h − h; ``text``, a line of writing; or maps of other images, ``[N, H, W]``, of which the image takes the
            one least correlated with its own map.
        text: what is written.
    """

    name = "target_map"
    criterion = "gain"

    def __init__(self, target: Target | Tensor = "centre", *, text: str = "NO CAT") -> None:
        if isinstance(target, str) and target not in ("uniform", "centre", "inverted", "text"):
            raise ValueError(
                f"target must be uniform, centre, inverted, text, or maps of other images [N, H, W], got {target!r}."
            )
        if not text.strip():
            raise ValueError(f"text must have a letter, got {text!r}.")
        self.target, self.text = target, text

    def reference(self, maps: Tensor) -> Tensor:
        """Return h^t with sum 1, ``[B, H, W]``."""
        height, width = maps.shape[1:]
        if isinstance(self.target, Tensor):
            if self.target.shape[1:] != maps.shape[1:]:
                raise ValueError(
                    f"target must be maps [N, {height}, {width}], as large as the images, got shape "
                    f"{tuple(self.target.shape)}."
                )
            pool = self.target.to(maps)
            centred, centred_pool = (
                values - values.mean(1, keepdim=True) for values in (maps.flatten(1), pool.flatten(1))
            )
            alike = centred @ centred_pool.T / centred_pool.norm(dim=1)
            target = pool[alike.nan_to_num(nan=torch.inf).argmin(1)]  # a constant map is like no other: the last choice
        elif self.target == "inverted":
            target = maps.amax((1, 2), keepdim=True) - maps
        else:
            target = self._drawn(height, width).to(maps).expand_as(maps)
        return target / target.sum((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)

    def gain(self, maps: Tensor, reference: Tensor) -> Tensor:
        """Return minus the squared distance."""
        return -(maps - reference).square().sum((1, 2))

    def _drawn(self, height: int, width: int) -> Tensor:
        if self.target == "text":
            return written(self.text, height, width)
        if self.target == "uniform":
            return torch.ones(height, width)
        rows, columns = (torch.arange(n) - (n - 1) / 2 for n in (height, width))
        sigma = min(height, width) / 10
        return torch.exp(-(rows[:, None].square() + columns.square()) / (2 * sigma**2))


def written(text: str, height: int, width: int) -> Tensor:
    """Return a line of writing across the middle as a mask, float32 ``[H, W]`` of 0 and 1."""
    font = ImageFont.load_default(size=100)
    left, top, right, bottom = font.getbbox(text)
    page = Image.new("L", (max(int(right - left), 1), max(int(bottom - top), 1)))
    ImageDraw.Draw(page).text((-left, -top), text, fill=255, font=font)
    scale = min(0.9 * width / page.width, 0.9 * height / page.height)
    line = page.resize((max(round(page.width * scale), 1), max(round(page.height * scale), 1)))
    sheet = Image.new("L", (width, height))
    sheet.paste(line, ((width - line.width) // 2, (height - line.height) // 2))
    return (torch.frombuffer(bytearray(sheet.tobytes()), dtype=torch.uint8).view(height, width) > 127).float()


def _check_k(k: int | None) -> int | None:
    if k is not None and k < 1:
        raise ValueError(f"k must be 1 or more, got {k}.")
    return k
