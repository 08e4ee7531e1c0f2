"""Which images drive a unit, and what is bright in their pictures, against cases worked by hand."""

import pytest
import torch
from helpers import Memory, small_batch, small_network
from torch import nn
from torch.utils.data import Dataset

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.base.protocol import Plan, Sweep
from lightning_advinterp.analyses.base.room import Room
from lightning_advinterp.analyses.base.unit_images import UnitImages
from lightning_advinterp.analyses.base.unit_pictures import UnitPictures, UnitRequest, near_mean, pictures_of
from lightning_advinterp.attacks import AttackConfig, sample_keys
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.result import Result
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.broden import ConceptWorldConcepts
from lightning_advinterp.explanations.discrepancy import discrepancy_map
from lightning_advinterp.explanations.unit_maps import unit_map
from lightning_advinterp.networks import Network
from lightning_advinterp.units.spaces import unit_space

PIXELS = 16


class Looking(nn.Module):
    """Unit c is colour channel c, at a quarter of the resolution; the classes are the mean of red and of green."""

    def __init__(self):
        super().__init__()
        self.pool, self.conv, self.relu = nn.AvgPool2d(4), nn.Conv2d(3, 3, 1, bias=False), nn.ReLU()
        self.fc = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[..., None, None])
            self.fc.weight.copy_(torch.eye(3)[:2])

    def forward(self, x):
        return self.fc(self.relu(self.conv(self.pool(x))).mean((2, 3)))


def top(images, place, kind="real"):
    """The numbers of a unit's strongest images, by its place among the units of all layers."""
    return [int(number) for number in images.result().arrays[f"unit_images-{kind}"][place] if number >= 0]


def take_pictures(network, data, attacks, requests, seed=0, highlight="activation", **options):
    """The pictures that are asked for, made in a run of their own; where there are none, an empty entry."""
    layers = list(dict.fromkeys(request.tap for request in requests))
    kinds = list(dict.fromkeys(request.kind for request in requests))
    analysis = UnitPictures("p", layers, kinds, lambda _: requests, most=9, highlight=highlight, seed=seed)
    result = Runner(network, data, attacks=attacks, seed=seed, **options).run([analysis])["p"]
    return pictures_of(result, "p")


@pytest.fixture
def network():
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    return Network(Looking(), name="looking", num_classes=2, input_size=PIXELS, phi="relu", head="fc", **plain).eval()


def picture(channel, rows, columns, value=1.0):
    """Black but for a patch of one channel, given in cells of 4 x 4 pixels."""
    image = torch.zeros(3, PIXELS, PIXELS)
    image[channel, 4 * rows.start : 4 * rows.stop, 4 * columns.start : 4 * columns.stop] = value
    return image


class Pictures(Dataset):
    """Pictures whose numbers, 30 and above, are not their places; one of them may be unreadable."""

    def __init__(self, images, bad=()):
        self.images, self.bad = images, bad
        self.indices = [30 + place for place in range(len(images))]

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, place):
        return Batch(self.images[self.indices[place] - 30], torch.tensor(0), torch.tensor(self.indices[place]))

    def only(self, places):
        part = Pictures(self.images, self.bad)
        part.indices = [self.indices[place] for place in places]
        return part

    def readable(self, places):
        return [self[place] for place in places if self.indices[place] not in self.bad]


@pytest.fixture
def data():
    everywhere = range(4)
    return Pictures(
        [
            picture(0, everywhere, range(2, 4)),  # 30: the right half is red
            picture(0, range(1), range(1), 0.5),  # 31: a dim red corner
            picture(1, everywhere, everywhere, 0.25),  # 32: green
            picture(0, range(3, 4), range(3, 4), 0.5),  # 33: another dim red corner
        ]
    )


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_the_strongest_images_come_first_and_ties_by_number(network, data, batch_size):
    images = UnitImages(layers="relu", count=3)
    Runner(network, data, batch_size=batch_size).run([images])
    assert top(images, 0) == [30, 31, 33]
    assert top(images, 1) == [32, 30, 31]


def test_layers_are_told_apart(network, data):
    images = UnitImages(layers=("pool", "relu", "fc"), count=1)
    Runner(network, data).run([images])
    assert [top(images, first + 1) for first in (0, 3, 6)] == [[32], [32], [32]]
    assert top(images, 6) == [30]


def test_fewer_images_than_are_wanted(network, data):
    images = UnitImages(layers="relu", count=9)
    Runner(network, data).run([images])
    assert top(images, 2) == [30, 31, 32, 33]


def test_states_merge(network, data):
    parts = []
    for rank in range(2):
        images = UnitImages(layers="relu", count=3)
        runner = Runner(network, data)
        runner.indices = runner.indices[rank::2]
        runner.run([images])
        parts.append(images)
    parts[1].merge(parts[0].state_dict())
    copy = UnitImages(layers="relu", count=3)
    copy.bind(network)
    copy.load_state_dict(parts[1].state_dict())
    for images in (parts[1], copy):
        assert top(images, 0) == [30, 31, 33]


class Attacked:
    """An analysis that attacks in its second sweep, as a dissection does."""

    name = "attacked"

    def __init__(self):
        self.x_adv = {}

    def bind(self, network):
        return Plan((Sweep(labels=False), Sweep(kinds=("real", "pgd"), labels=False)))

    def update(self, sweep, observation):
        if sweep == 1:
            self.x_adv |= dict(zip(observation.index.tolist(), observation.images["pgd"], strict=True))

    def result(self):
        return Result(self.name)


@pytest.fixture
def attacks():
    config = AttackConfig("pgd", "64/255", steps=2, random_start=True, label="predicted")
    return create_attacks([config])


def test_it_looks_in_the_sweep_that_attacks_anyway(network, data, attacks):
    runner = Runner(network, data, attacks=attacks)
    cost = runner.passes([Attacked()])
    images = UnitImages(attacks, "relu", 2)
    assert runner.passes([Attacked(), images]) == cost
    runner.run([Attacked(), images])
    assert top(images, 0) == [30, 31]
    assert len(top(images, 0, "pgd")) == 2


# A map of one row [0, 0, 1, 1] becomes, at four times the size and half-pixel centres, 0 up to pixel 5, then 1/8, 3/8,
# 5/8 and 7/8, and 1 from pixel 10.
@pytest.mark.parametrize(
    ("threshold", "first"),
    [(0.1, 6), (0.125, 7), (0.3, 7), (0.375, 8), (0.4, 8), (0.5, 8), (0.7, 9), (0.9, 10), (None, 8)],
)
def test_bright_is_what_exceeds_the_threshold(network, data, threshold, first):
    (shown,) = take_pictures(network, data, {}, [UnitRequest("relu", 0, "real", (30,), threshold)])
    expected = torch.zeros(PIXELS, PIXELS, dtype=torch.bool)
    expected[:, first:] = True
    assert torch.equal(torch.from_numpy(shown.masks[0]), expected)


def test_pictures_come_in_the_order_asked_for(network, data):
    requests = [
        UnitRequest("relu", 1, "real", (33, 32), 0.1),
        UnitRequest("relu", 0, "real", (30,), 1.0),
        UnitRequest("fc", 0, "real", ()),
    ]
    first, second, none = take_pictures(network, data, {}, requests, batch_size=2)
    assert first.pictures.shape == (2, PIXELS, PIXELS, 3)
    assert (first.pictures[1] == [0, 64, 0]).all()  # a quarter of 255, rounded
    assert tuple(row["predicted"] for row in first.rows) == (0, 1)
    assert first.masks[1].all()
    assert not first.masks[0].any()
    assert not second.masks.any()  # nothing exceeds its own maximum
    assert (len(none.pictures), len(none.masks), none.rows) == (0, 0, ())


def test_a_vector_looks_at_the_whole_image(network, data):
    (shown,) = take_pictures(network, data, {}, [UnitRequest("fc", 0, "real", (30,), 5.0)])
    assert shown.masks.all()


def test_an_unreadable_image_is_left_out(network, data):
    data.bad = (31,)
    (shown,) = take_pictures(network, data, {}, [UnitRequest("relu", 0, "real", (30, 31, 33))])
    assert tuple(row["predicted"] for row in shown.rows) == (0, 0)
    assert shown.pictures[1][15, 15, 0] == 128


def test_images_of_a_kind_pass_once_however_the_pictures_of_kinds_are_mixed(monkeypatch):
    """Within a limit of memory, where no kind but the real one and the one that is read is held."""
    attacks = create_attacks([AttackConfig("fgsm", f"{eps}/255", name=f"fgsm{eps}") for eps in (1, 2, 3)])
    network, data = small_network(), Memory(small_batch(n=4)._replace(index=torch.arange(4)))
    requests = [UnitRequest("relu2", unit, kind, (0, 1, 2, 3)) for unit in range(3) for kind in ("real", *attacks)]
    expected, passes = take_pictures(network, data, attacks, requests), []
    forward_features = Network.forward_features
    monkeypatch.setattr(Room, "most", property(lambda room: 0))
    monkeypatch.setattr(Network, "forward_features", lambda *args: passes.append(1) or forward_features(*args))
    pictures = take_pictures(network, data, attacks, requests)
    assert len(passes) <= 1 + 2 * len(attacks)  # each attack's images once more, when they are read
    for unit, held in zip(pictures, expected, strict=True):
        assert (unit.pictures == held.pictures).all()
        assert (unit.masks == held.masks).all()
        assert unit.rows == held.rows


def test_adversarial_pictures_are_the_runners(attacks):
    network, batch = small_network(), small_batch(n=7)
    data = Memory(batch._replace(index=torch.arange(7)))
    attacked = Attacked()
    Runner(network, data, attacks=attacks, batch_size=3, seed=5).run([attacked])
    requests = [UnitRequest("relu2", 3, "pgd", (6, 0, 4)), UnitRequest("relu2", 0, "real", (2,))]
    adversarial, real = take_pictures(network, data, attacks, requests, seed=5, batch_size=2)
    expected = torch.stack([attacked.x_adv[number] for number in (6, 0, 4)])
    assert (expected - batch.image[[6, 0, 4]]).abs().amax() > 0.2
    shown = (255 * expected).round().byte().permute(0, 2, 3, 1)
    # the same draws; a convolution may round differently in another batch, which the sign step can turn into a step
    assert (torch.from_numpy(adversarial.pictures) != shown).float().mean() < 1e-3
    assert torch.equal(torch.from_numpy(real.pictures[0]), (255 * batch.image[2]).round().byte().permute(1, 2, 0))
    (reseeded,) = take_pictures(network, data, attacks, requests[:1], seed=6)
    assert (torch.from_numpy(reseeded.pictures) != shown).float().mean() > 0.1


def test_a_choice_of_images_is_found_by_numbers(network):
    concepts = ConceptWorldConcepts(8, size=PIXELS)
    part = concepts.only([1, 3, 6]).only([2, 0])
    (shown,) = take_pictures(network, part, {}, [UnitRequest("relu", 0, "real", (1, 6))])
    for picture, number in zip(shown.pictures, (1, 6), strict=True):
        assert torch.equal(torch.from_numpy(picture).permute(2, 0, 1), concepts[number].image)


def test_the_discrepancy_map_above_half_of_its_maximum(network, data):
    """Unit 0 responds to the red corner; hiding other places changes nothing there."""
    (shown,) = take_pictures(
        network, data, {}, [UnitRequest("relu", 0, "real", (31,))], seed=4, highlight="discrepancy"
    )
    keys = sample_keys(torch.tensor([31]), seed=4)
    expected = discrepancy_map(network, data[1].image[None], "relu", torch.tensor([0]), keys)[0]
    assert torch.equal(torch.from_numpy(shown.masks[0]), expected > expected.max() / 2)
    assert shown.masks[0][:3, :3].all()
    assert not shown.masks[0][11:].any()
    (blind,) = take_pictures(network, data, {}, [UnitRequest("fc", 0, "real", ())], highlight="discrepancy")
    assert not len(blind.masks)


@pytest.mark.parametrize("highlight", ["gradient", "gradcam"])
def test_an_explanation_of_the_unit_is_where_it_looks(network, data, highlight):
    """Unit 0 is strongest in the red corner, whose 4 x 4 pixels it averages; Grad-CAM's maps are those averages."""
    request = UnitRequest("relu", 0, "real", (31,), 5.0)
    (shown,) = take_pictures(network, data, {}, [request], highlight=highlight)
    assert shown.masks[0][:3, :3].all()
    assert not shown.masks[0][:, 10:].any()
    assert not shown.masks[0][8:].any()


@pytest.mark.parametrize("highlight", ["gradient", "gradcam", "lrp"])
def test_an_explanation_of_the_unit_above_half_of_its_maximum(highlight):
    network, batch = small_network(), small_batch(n=3)
    with torch.no_grad():
        network.backbone.bn2.bias.fill_(3.0)
    data = Memory(batch._replace(index=torch.arange(3)))
    request = UnitRequest("relu2", 5, "real", (2, 0), 5.0)
    (shown,) = take_pictures(network, data, {}, [request], highlight=highlight)
    (layer,) = unit_space(network, "relu2")
    for mask, number in zip(shown.masks, (2, 0), strict=True):
        values = unit_map(network, batch.image[number][None], layer, torch.tensor([5]), highlight)[0]
        assert values.amax() > 0
        assert torch.equal(torch.from_numpy(mask), values > values.max() / 2)


def test_maps_of_pixels_are_averaged_over_squares():
    values = torch.rand(70, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.zeros_like(values)
    for row in range(70):
        for column in range(64):
            expected[row, column] = values[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3].sum() / 25
    torch.testing.assert_close(near_mean(values), expected)


def test_an_explanation_that_does_not_fit_is_refused_before_any_work(network):
    analysis = UnitPictures("p", ["relu", "fc"], (), lambda _: [], most=9, highlight="gradcam")
    with pytest.raises(ValueError, match="gradcam: layer fc:input must return maps"):
        analysis.bind(network)
    analysis = UnitPictures("p", ["relu", "fc"], (), lambda _: [], most=9, highlight="lrp")
    with pytest.raises(ValueError, match=r"alpha_beta is not defined here.* Or take gradient"):
        analysis.bind(network)
    analysis = UnitPictures("p", ["relu2", "fc"], (), lambda _: [], most=9, highlight="lrp")
    assert analysis.bind(small_network()).sweeps[0].forwards == 4
