"""A plain module and a plain data set, passed as they are, give the numbers of a bare loop."""

import pytest
import torch
from helpers import assert_untouched, fingerprint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor
from torchvision.utils import save_image

from lightning_advinterp import evaluate
from lightning_advinterp.analyses import AccuracyAnalysis, Runner
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.networks import Network, create_network

WNIDS = ["n01503061", "n02084071", "n02121620", "n02691156", "n02958343"]  # sorted, as torchvision sorts folders
IMAGES = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255  # as files hold
EPS = 2 / 255


class Plain(nn.Module):
    """A network that knows nothing of this package."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3, stride=2), nn.Linear(8 * 6 * 6, 5)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return self.fc(self.relu2(self.conv2(self.relu1(self.conv1(x)))).flatten(1))


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(1)
    module = Plain()
    with torch.no_grad():
        module.fc.bias.sub_(module(IMAGES).mean(0))  # every class is predicted
    return module


@pytest.fixture(scope="module")
def labels(module):
    """Mostly right ones, so that an attack has something to do."""
    with torch.no_grad():
        labels = module(IMAGES).argmax(1)
    labels[::4] = (labels[::4] + 1) % 5
    return labels


class Pairs(Dataset):
    """Pairs, and what the classes are called; labels are not listed."""

    classes = WNIDS

    def __init__(self, labels):
        self.own = labels

    def __len__(self):
        return len(self.own)

    def __getitem__(self, place):
        return IMAGES[place], int(self.own[place])


def kinds(labels, folder):
    for place, label in enumerate(labels.tolist()):
        (folder / WNIDS[label]).mkdir(parents=True, exist_ok=True)
        save_image(IMAGES[place], folder / WNIDS[label] / f"{place}.png")
    yield "pairs", Pairs(labels)
    yield "tensors", TensorDataset(IMAGES, labels)
    yield "list", [(image, label) for image, label in zip(IMAGES, labels, strict=True)]
    yield "torchvision", ImageFolder(folder, transform=ToTensor())


def bare_loop(module, dataset):
    """Accuracy on real and FGSM images, image by image."""
    hits = []
    for place in range(len(dataset)):
        image, label = dataset[place]
        x, y = image[None].clone().requires_grad_(), torch.tensor([int(label)])
        logits = module(x)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, y), x)
        attacked = (x + EPS * gradient.sign()).clamp(0, 1)
        hits.append([bool(logits.argmax(1) == y), bool(module(attacked.detach()).argmax(1) == y)])
    return torch.tensor(hits).double().mean(0).tolist()


def top1(result):
    return [row["top1"] for row in result.tables["accuracy"]]


@pytest.mark.parametrize("kind", ["pairs", "tensors", "list", "torchvision"])
def test_evaluate_and_runner_equal_a_bare_loop(kind, module, labels, tmp_path):
    dataset = dict(kinds(labels, tmp_path / "images"))[kind]
    before = fingerprint(module)
    expected = bare_loop(module, dataset)
    assert 0 < expected[1] < expected[0] < 1
    output = str(tmp_path / "out")
    settings = {"attack": "fgsm", "eps": "2/255", "num_workers": 0, "output": output, "quiet": True}
    results = evaluate(module, dataset, analyses="accuracy,predictions", **settings)
    assert top1(results["accuracy"]) == pytest.approx(expected, abs=1e-6)  # six digits are stored
    attacks = create_attacks([AttackConfig("fgsm", "2/255")])
    runner = Runner(module, dataset, attacks=attacks, batch_size=5)
    assert top1(runner.run([AccuracyAnalysis(attacks)])["accuracy"]) == pytest.approx(expected)
    assert isinstance(runner.network, Network)
    assert_untouched(module, before)
    assert all(not part._forward_hooks for part in module.modules())
    numbers = [row["image"] for row in results["predictions"].tables["predictions"]]
    assert sorted(set(numbers)) == list(range(len(dataset)))


@pytest.mark.slow
def test_every_question_takes_a_plain_module_and_plain_images(module, labels, tmp_path):
    settings = {"attack": "fgsm", "num_workers": 0, "output": str(tmp_path), "quiet": True, "layers": "relu1,relu2"}
    names = "accuracy,semantics,distances,panels"
    results = evaluate(module, Pairs(labels), analyses=names, semantics={"share": 0.2}, **settings)
    assert {row["layer"] for row in results["semantics"].tables["semantics"]} == {"relu1", "relu2"}
    assert results["distances"].tables["distances"]


def test_a_choice_of_the_images_is_seeded(module, labels, tmp_path):
    options = {"attack": None, "num_workers": 0, "quiet": True, "limit": 5, "analyses": "predictions"}
    first = evaluate(module, TensorDataset(IMAGES, labels), output=str(tmp_path / "a"), **options)
    second = evaluate(module, TensorDataset(IMAGES, labels), output=str(tmp_path / "b"), **options)
    numbers = [row["image"] for row in first["predictions"].tables["predictions"]]
    assert len(numbers) == 5
    assert numbers == [row["image"] for row in second["predictions"].tables["predictions"]]


def test_one_channel_and_normalisation(labels, tmp_path):
    torch.manual_seed(0)
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 5))
    pairs = [(image[:1], int(label)) for image, label in zip(IMAGES, labels, strict=True)]
    results = evaluate(grey, pairs, attack=None, num_workers=0, output=str(tmp_path), quiet=True, mean=0.5, std=0.25)
    logits = grey((IMAGES[:, :1] - 0.5) / 0.25)
    assert top1(results["accuracy"]) == pytest.approx([float((logits.argmax(1) == labels).double().mean())], abs=1e-6)


def test_what_does_not_fit_is_refused(module, labels, tmp_path):
    options = {"num_workers": 0, "output": str(tmp_path), "quiet": True}
    with pytest.raises(ValueError, match="labels must be outputs of the network, 0 to 4, got 9"):
        evaluate(module, [(IMAGES[0], 9)], **options)
    with pytest.raises(ValueError, match="does not take images of 1x16x16"):
        evaluate(module, [(IMAGES[0][:1], 1)], **options)
    with pytest.raises(TypeError, match=r"network must be a torch.nn.Module or the name of a network"):
        evaluate(lambda x: x, [(IMAGES[0], 1)], **options)
    with pytest.raises(ValueError, match="weights: a module that is in memory is taken as it is"):
        evaluate(module, [(IMAGES[0], 1)], weights="w.pth", **options)
    network = create_network("cifar_resnet20")
    with pytest.raises(ValueError, match="mean, std: a Network normalises by itself"):
        evaluate(network, [(IMAGES[0], 1)], mean=0.5, std=0.5, **options)
    assert not list(tmp_path.rglob("*.csv"))


def test_labels_that_only_items_say_are_held_against_the_outputs(module):
    attacks = create_attacks([AttackConfig("fgsm", "2/255")])
    with pytest.raises(RunStoppedError, match="labels must be 0 to 4, since the network has 5 outputs"):
        Runner(module, Pairs(torch.full((12,), 7)), attacks=attacks).run([AccuracyAnalysis(attacks)])


def test_labels_of_other_names_are_refused(module, labels, tmp_path):
    """Labels of torchvision's ImageFolder count folders in sorted order, a network's outputs may not."""
    names = tmp_path / "names.txt"
    names.write_text("\n".join(WNIDS[::-1]))
    with pytest.raises(ValueError, match=r"label 0 is called 'n01503061', which is output 4 .* target_transform"):
        evaluate(module, Pairs(labels), classes=str(names), num_workers=0, output=str(tmp_path / "out"), quiet=True)
