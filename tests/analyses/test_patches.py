"""Units that answer to a patch anywhere, and units that do not: networks built so that the truth is known."""

import pytest
import torch
from helpers import Memory, assert_untouched, fingerprint, small_batch, small_network
from torch import nn

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.panels.patches import PatchesAnalysis, PatchesConfig
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.networks import Network


class Built(nn.Module):
    """Unit 0 finds a bright corner shape anywhere (a 4 x 4 template); unit 1 the mean brightness of the whole image."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 2, 4), nn.ReLU(), nn.Linear(2, 2)
        template = torch.full((4, 4), -1.0)
        template[0, :] = template[:, 0] = 1.0
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.zero_()
            self.conv.weight[0] = template

    def forward(self, x):
        maps = self.conv(x)
        brightness = x.mean((1, 2, 3))[:, None, None].expand_as(maps[:, 1])
        maps = self.relu(torch.stack([maps[:, 0], brightness], 1))
        return self.fc(maps.mean((2, 3)))


@pytest.fixture
def built():
    network = Network(Built(), name="built", num_classes=2, mean=[0.0] * 3, std=[1.0] * 3, input_size=16)
    images = 0.2 * torch.rand(9, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images[4, :, 6, 6:10] = images[4, :, 6:10, 6] = 1.0  # the shape, once
    return network, Memory(Batch(images, torch.zeros(9, dtype=torch.int64), torch.arange(9)))


def test_a_unit_of_a_shape_recurs_and_a_unit_of_the_whole_image_does_not(built):
    network, data = built
    before = fingerprint(network)
    analysis = PatchesAnalysis(data, ["relu"], PatchesConfig(units=(0, 1), share=0.5))
    result = Runner(network, data, batch_size=4).run([analysis])["patches"]
    assert_untouched(network, before)
    shape, mean = result.tables["patches"]
    assert (shape["image"], shape["n"]) == (4, 8)
    assert shape["pasted"] == pytest.approx(shape["activation"], rel=1e-5)  # the patch holds the shape whole
    assert shape["moved"] == pytest.approx(shape["activation"], rel=0.1)
    assert shape["recurrence"] > 0.6
    # The mean brightness gains the same by the patch and by its shuffled pixels.
    assert mean["shuffled"] == pytest.approx(mean["pasted"], rel=1e-5)
    assert abs(mean["recurrence"]) < 0.2
    assert result.scalars["patches/relu/recurrence"] == pytest.approx((shape["recurrence"] + mean["recurrence"]) / 2)


def test_pasting_by_hand(built):
    """Every mean from images made by hand, at the patch's own place."""
    network, data = built
    config = PatchesConfig(units=(0,), share=0.25)
    (row,) = Runner(network, data).run([PatchesAnalysis(data, ["relu"], config)])["patches"].tables["patches"]
    images = data.batch.image
    patch = images[4, :, 6:10, 6:10]  # the template's place is row 6, column 6 of a 13 x 13 map: centre 8 of 16
    plain, pasted = [], []
    for number in range(9):
        if number != 4:
            copy = images[number].clone()
            plain.append(network.backbone.conv(copy[None])[0, 0].relu().max().detach())
            copy[:, 6:10, 6:10] = patch
            pasted.append(network.backbone.conv(copy[None])[0, 0].relu().max().detach())
    assert row["plain"] == pytest.approx(float(torch.stack(plain).mean()), rel=1e-5)
    assert row["pasted"] == pytest.approx(float(torch.stack(pasted).mean()), rel=1e-5)


def test_images_to_paste_into_are_not_the_first_ones(built):
    """Those of a folder are all of one class, maybe the unit's own."""
    network, data = built
    images, labels, _ = (torch.cat([field] * 4) for field in data.batch)
    more = Memory(Batch(images, labels, torch.arange(36)))
    config = PatchesConfig(units=(0,), limit=7)
    chosen = []
    for seed in (0, 0, 1):
        analysis = PatchesAnalysis(more, ["relu"], config, seed)
        (row,) = Runner(network, more).run([analysis])["patches"].tables["patches"]
        assert Runner(network, more).passes([analysis])["forward_passes"] == 36 * 2 + 8 * 3
        assert row["n"] in (7, 8)  # one more is chosen, in case the patch is from one of them
        chosen.append(sorted(analysis.state_dict()["_others"]))
    assert len(chosen[0]) == 8
    assert chosen[0][-1] >= 18
    assert chosen[0] == chosen[1] != chosen[2]


def test_parts_and_resumed_states_give_the_same_table():
    network, batch = small_network(), small_batch(n=7, size=16)._replace(index=torch.arange(7))
    data = Memory(batch)
    config = PatchesConfig(count=3)
    joint = Runner(network, data, batch_size=7).run([PatchesAnalysis(data, "last", config)])["patches"]
    small = Runner(network, data, batch_size=2).run([PatchesAnalysis(data, "last", config)])["patches"]
    for row, expected in zip(small.tables["patches"], joint.tables["patches"], strict=True):
        assert row.pop("layer") == expected.pop("layer")
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-5)
    first, second = (PatchesAnalysis(data, "last", config) for _ in range(2))
    Runner(network, data).run([first])
    second.bind(network)
    second.load_state_dict(first.state_dict())
    assert second.result().tables == first.result().tables


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"count": 0}, "count must be 1"), ({"share": 0.0}, "share must lie in"), ({"limit": 1}, "limit 2 or more")],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        PatchesConfig(**wrong)


def test_a_unit_that_is_not_there_is_refused():
    network, data = small_network(), Memory(small_batch(n=3, size=16)._replace(index=torch.arange(3)))
    with pytest.raises(ValueError, match="has units 0 to 7, got 8"):
        Runner(network, data).run([PatchesAnalysis(data, "last", PatchesConfig(units=(8,)))])


def test_a_layer_of_vectors_has_no_patches():
    network, data = small_network(), Memory(small_batch(n=3, size=16)._replace(index=torch.arange(3)))
    config = PatchesConfig(units=(0,))
    result = Runner(network, data).run([PatchesAnalysis(data, ["relu2", "fc"], config)])["patches"]
    assert [row["layer"] for row in result.tables["patches"]] == ["relu2"]
    none = Runner(network, data).run([PatchesAnalysis(data, ["fc"], config)])["patches"]
    assert none.tables["patches"] == []
