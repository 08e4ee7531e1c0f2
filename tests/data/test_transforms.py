from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import picture
from PIL import Image
from torchvision.transforms import v2

from lightning_advinterp.data import transforms
from lightning_advinterp.data.decode import open_image
from lightning_advinterp.data.transforms import EvalTransform, TrainTransform, random_box


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [(40, 32), (33, 47), (300, 200), (256, 256), (231, 500), (256, 301)])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (73, 64), (64, 64), (37, 32)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_eval_is_torchvisions_pixel_for_pixel(size, resize, crop, interpolation):
    reference = v2.Compose(
        [
            v2.Resize(resize, v2.InterpolationMode(interpolation), antialias=True),
            v2.CenterCrop(crop),
            v2.PILToTensor(),
        ]
    )
    image = picture(0, size)
    ours = EvalTransform(resize, crop, interpolation)(image)
    assert ours.dtype == torch.uint8
    assert ours.is_contiguous()
    assert torch.equal(ours, reference(image))


@pytest.mark.parametrize("size", [(40, 32), (1, 200), (300, 3), (500, 375)])
def test_random_box_is_torchvisions(size):
    crop = v2.RandomResizedCrop(16, scale=(0.08, 1.0))
    for seed in range(50):
        torch.manual_seed(seed)
        theirs = crop.make_params([picture(0, size)])
        ours = random_box(size, (0.08, 1.0), (3 / 4, 4 / 3), generator(seed))
        assert ours == (theirs["left"], theirs["top"], theirs["width"], theirs["height"])


def test_train_is_a_function_of_its_generator():
    image, transform = picture(1, (80, 60)), TrainTransform(24)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = transform(image, generator(3))
    assert first.shape == (3, 24, 24)
    assert first.dtype == torch.uint8
    assert torch.equal(first, transform(image, generator(3)))
    assert not torch.equal(first, transform(image, generator(4)))
    assert torch.equal(before, torch.get_rng_state())


def test_train_flips_half_of_the_time():
    image = picture(2, (24, 24))
    transform = TrainTransform(24, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    plain = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    results = [transform(image, generator(seed)) for seed in range(200)]
    flips = [torch.equal(result, plain.flip(-1)) for result in results]
    assert all(flip or torch.equal(result, plain) for flip, result in zip(flips, results, strict=True))
    assert 70 < sum(flips) < 130


def test_large_jpeg_is_decoded_small(tmp_path: Path):
    path = tmp_path / "large.jpg"
    picture(3, (1600, 1200)).save(path, quality=95)
    transform = TrainTransform(64, scale=(0.5, 1.0), flip=0.0)
    with open_image(path) as image:
        small = transform(image, generator(1))
        assert max(image.size) <= 400
    full = transform(Image.open(path).convert("RGB"), generator(1))
    assert (small.float() - full.float()).abs().mean() < 3


def test_small_crops_of_a_jpeg_are_decoded_in_full(tmp_path: Path):
    path = tmp_path / "large.jpg"
    picture(3, (640, 480)).save(path)
    with open_image(path) as image:
        TrainTransform(224, scale=(0.3, 0.5))(image, generator(1))
        assert image.size == (640, 480)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: EvalTransform(224, 256),
            "crop must be at most resize .* crop=256 and resize=224; set resize to 256",
        ),
        (lambda: EvalTransform(32, 0), "crop must be at least 1 pixel, got 0"),
        (lambda: EvalTransform(32, 32, "cubic"), "interpolation must be one of .*bicubic.*got 'cubic'"),
        (lambda: TrainTransform(0), "size must be at least 1 pixel, got 0"),
        (lambda: TrainTransform(8, scale=(0.0, 1.0)), "scale must be shares of the area"),
        (lambda: TrainTransform(8, scale=(0.5, 1.5)), "scale must be shares of the area"),
        (lambda: TrainTransform(8, ratio=(2.0, 1.0)), "ratio must be width / height"),
        (lambda: TrainTransform(8, flip=2.0), "flip must be a probability"),
    ],
)
def test_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_repr():
    assert repr(EvalTransform(73, 64)) == "EvalTransform(resize=73, crop=64, interpolation='bilinear')"
    assert repr(TrainTransform(64)).startswith("TrainTransform(size=64, scale=(0.08, 1.0)")


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (60_000, 2)])
def test_long_images_take_no_memory(size, monkeypatch):
    """Resized as a whole, they would take gigabytes."""
    sizes = []
    resize = Image.Image.resize

    def measured(image, *args, **kwargs):
        sizes.append(args[0])
        return resize(image, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "resize", measured)
    for transform in (EvalTransform(), TrainTransform()):
        assert transform(Image.new("RGB", size), generator()).shape == (3, 224, 224)
    assert sizes == [(224, 224)] * 2


@pytest.mark.parametrize("size", [(40, 32), (231, 500), (700, 30), (1000, 1)])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (37, 32)])
def test_the_part_of_a_long_image_is_that_of_the_whole(size, resize, crop, monkeypatch):
    image, transform = picture(0, size), EvalTransform(resize, crop)
    full = transform(image)
    monkeypatch.setattr(transforms, "MOST_RESIZED", 0)
    assert (transform(image).int() - full.int()).abs().max() <= 1
