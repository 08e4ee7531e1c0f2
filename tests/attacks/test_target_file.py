"""Attacks towards each image's own target, from a file."""

import csv
import json

import pytest
import torch
from helpers import linear_network, small_batch, small_network
from PIL import Image

from lightning_advinterp.analyses.base.attack_counts import AttackCounts
from lightning_advinterp.attacks import AttackConfig, create_attack, sample_keys
from lightning_advinterp.cli import evaluate
from lightning_advinterp.data.images import ImageSetDefaults
from lightning_advinterp.networks import Network


class Paths(ImageSetDefaults):
    """Images of a batch that have paths."""

    def __init__(self, batch):
        self.batch, self.indices = batch, batch.index.tolist()

    def path_of(self, number):
        return f"folder/{number}.png"


class Flat(Paths):
    """The same in one folder, as a complete image set."""

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, place):
        return type(self.batch)(*(field[place] for field in self.batch))

    @property
    def labels(self):
        return self.batch.label.tolist()

    classes, class_names, fingerprint = (), (), "flat"

    def path_of(self, number):
        return f"{number}.png"


@pytest.fixture
def target_file(tmp_path):
    batch = small_batch(n=6)
    rows = [
        f"{number},{(int(label) + 1 + number % 3) % 5}" for number, label in zip(batch.index, batch.label, strict=True)
    ]
    path = tmp_path / "targets.csv"
    path.write_text("\n".join(["image,target", *rows, "unknown,0"]))
    return path


TYPES = [
    {"type": "pgd", "steps": 3},
    {"type": "fgsm"},
    {"type": "targeted_optimization", "weight": 1.0, "steps": 3},
    {"type": "cw", "steps": 10, "search_steps": 2},
    {"type": "mifgsm", "steps": 3},
]


@pytest.mark.parametrize("settings", TYPES, ids=lambda settings: settings["type"])
def test_every_image_is_moved_towards_its_own_target(settings, target_file):
    batch, network = small_batch(n=6, dtype=torch.float64), small_network().double()
    listed = {row["image"]: int(row["target"]) for row in csv.DictReader(target_file.read_text().splitlines())}
    target = torch.tensor([listed[str(int(number))] for number in batch.index])
    keys = sample_keys(batch.index)
    attack = create_attack(AttackConfig(**settings, target_file=str(target_file)))
    assert attack.targeted
    assert attack.aims_at == "targets.csv"
    bound = attack.for_images(Paths(batch))
    counts = AttackCounts({attack.name: bound})
    with torch.no_grad():
        result = counts.make(attack.name, network, batch, network(batch.image), keys)
    plain = create_attack(AttackConfig(**settings))
    assert torch.equal(result.x_adv, plain(network, batch.image, batch.label, target=target, keys=keys))
    assert torch.equal(result.target, target)
    again = bound.on(batch.index[2:])(network, batch.image[2:], batch.label[2:], keys=keys[2:])
    assert torch.equal(again, result.x_adv[2:])


def test_a_folder_of_stored_images_has_the_targets_of_a_list(tmp_path):
    """Such as another library's images towards the published targets."""
    (tmp_path / "stored").mkdir()
    batch, network = small_batch(n=4), small_network()
    attack = create_attack(AttackConfig("bim", "64/255", steps=5))
    target = (batch.label + 1) % 5
    x_adv = attack(network, batch.image, batch.label, target=target).mul(255).round().byte()
    rows = ["image,target"]
    for number, pixels, t in zip(batch.index.tolist(), x_adv, target.tolist(), strict=True):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "stored" / f"{number}.png")
        rows.append(f"{number},{t}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    images = Flat(batch)
    config = AttackConfig("stored", path=str(tmp_path / "stored"), target_file=str(tmp_path / "list.csv"))
    bound = create_attack(config).for_images(images)
    assert bound.targeted
    counts = AttackCounts({"stored": bound})
    with torch.no_grad():
        result = counts.make("stored", network, batch, network(batch.image), sample_keys(batch.index))
        success = counts.note(result, batch.index, network(result.x_adv))
    assert torch.equal(result.x_adv.mul(255).round().byte(), x_adv)
    assert torch.equal(result.target, target)
    assert torch.equal(success, network(result.x_adv).argmax(1) == target)


def test_what_contradicts_a_list_is_refused(target_file):
    for settings, message in (
        ({"target": "random"}, "target_file says each image's target, and target='random' another"),
        ({"label": "predicted"}, "and label='predicted' another"),
        ({"type": "fab_t"}, "target_file is no setting of a fab_t attack, which takes no targets"),
        ({"type": "optimization", "weight": 1.0}, "use targeted_optimization"),
    ):
        with pytest.raises(ValueError, match=message):
            create_attack(AttackConfig(**{"type": "pgd"} | settings, target_file=str(target_file)))
    with pytest.raises(FileNotFoundError):
        AttackConfig("pgd", target_file="no/such.csv")
    attack, batch = create_attack(AttackConfig("pgd", target_file=str(target_file))), small_batch(n=6)
    with pytest.raises(ValueError, match="pgd must know which images it attacks"):
        attack(small_network(), batch.image, batch.label)
    small = Network(linear_network(num_classes=3), name="three", num_classes=3, input_size=16, head="1")
    with pytest.raises(ValueError, match="aims at class 4, and the outputs of three are 0 to 2"):
        attack.check_network(small)


@pytest.mark.slow
@pytest.mark.real
def test_published_targets_of_real_images(tmp_path, real_data, capsys):
    """The weight is found on other images, each towards its own target; a list without an image is refused at once."""
    listed = real_data / "imagenet_nips2017" / "images.csv"
    common = [
        *(
            "--network",
            "squeezenet1_0",
            "--weights",
            str(real_data / "weights" / "squeezenet1_0_deepcompression.safetensors"),
        ),
        *("--data", str(real_data / "imagenet_nips2017"), "--crop", "64", "--resize", "72", "--limit", "4"),
        *("--analyses", "promotion", "--promotion.cell", "32", "--num_workers", "0", "--calibration_images", "2"),
    ]
    attack = {"type": "targeted_optimization", "target_file": str(listed), "steps": 10}
    evaluate([*common, "--attack", json.dumps(attack), "--output", str(tmp_path / "out")])
    published = {row["ImageId"]: int(row["TargetClass"]) - 1 for row in csv.DictReader(listed.read_text().splitlines())}
    with (tmp_path / "out" / "promotion_completeness.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["image"] for row in rows}) >= 3
    for row in rows:
        assert int(row["target"]) == published[row["image"].split("/")[1].removesuffix(".jpg")]
    (tmp_path / "short.csv").write_text("image,target\nnothing,1\n")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        evaluate(
            [
                *common,
                "--attack",
                json.dumps(attack | {"target_file": str(tmp_path / "short.csv")}),
                "--output",
                str(tmp_path / "no"),
            ]
        )
    assert "has no target for" in capsys.readouterr().err
