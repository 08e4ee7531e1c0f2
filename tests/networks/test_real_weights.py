"""Really trained weights classify real images as their README says."""

import csv
import lzma

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_advinterp.networks import create_network, load_state_dict_file, preprocessing, weights_hash

pytestmark = pytest.mark.real


def to_tensor(image):
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255


def accuracy(network, images, labels):
    with torch.no_grad():
        predicted = torch.cat([network(batch).argmax(1) for batch in images.split(50)])
    return float((predicted == labels).float().mean())


@pytest.fixture(scope="module")
def cifar(real_data):
    folder = real_data / "cifar10" / "test"
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    files = [(file, label) for label, name in enumerate(classes) for file in sorted((folder / name).glob("*.jpg"))]
    assert len(files) == 1000
    return torch.stack([to_tensor(Image.open(file)) for file, _ in files]), torch.tensor([label for _, label in files])


@pytest.fixture(scope="module")
def imagenet(real_data):
    """Every tenth image of the set, resized to 256 and cut to 224 in the centre."""
    recipe = preprocessing("resnet18")
    images, labels = [], []
    with (real_data / "imagenet_1k" / "classes.csv").open() as file:
        for row in list(csv.DictReader(file))[::10]:
            (path,) = (real_data / "imagenet_1k" / row["wnid"]).glob("*.jpg")
            image = Image.open(path)
            scale = recipe.resize / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
            left, top = (image.width - 224) // 2, (image.height - 224) // 2
            images.append(to_tensor(image.crop((left, top, left + 224, top + 224))))
            labels.append(int(row["index"]))
    return torch.stack(images), torch.tensor(labels)


@pytest.mark.parametrize(
    ("depth", "file", "published"),
    [(20, "cifar10_resnet20-12fca82f.th", 0.8103), (56, "cifar10_resnet56-4bfd9763.th", 0.8320)],
)
@pytest.mark.slow
def test_cifar_resnets_classify_the_sample(real_data, cifar, depth, file, published):
    network = create_network(f"cifar_resnet{depth}", real_data / "weights" / file).eval()
    assert accuracy(network, *cifar) == pytest.approx(published, abs=0.03)


@pytest.mark.parametrize(
    ("name", "file", "least"),
    [
        ("resnet18", "resnet18_pqf.safetensors", 0.70),
        ("squeezenet1_0", "squeezenet1_0_deepcompression.safetensors", 0.50),
    ],
)
@pytest.mark.slow
def test_imagenet_weights_load_strictly_and_classify(real_data, imagenet, name, file, least):
    path = real_data / "weights" / file
    network = create_network(name, path).eval()
    assert network.num_classes == 1000
    assert set(load_state_dict_file(path)) >= {key for key in network.backbone.state_dict() if "num_batches" not in key}
    assert accuracy(network, *imagenet) >= least


@pytest.mark.slow
def test_resnet50_after_decompression(real_data, imagenet, tmp_path):
    path = tmp_path / "resnet50.safetensors"
    with lzma.open(real_data / "weights" / "resnet50_pqf_large.safetensors.xz") as compressed:
        path.write_bytes(compressed.read())
    network = create_network("resnet50", path).eval()
    assert accuracy(network, imagenet[0][::5], imagenet[1][::5]) >= 0.7
    assert weights_hash(network) == weights_hash(create_network("resnet50", path))
