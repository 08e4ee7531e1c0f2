"""Units of every family: which there are, where they are read, and how they become maps; against hooks read by hand."""

import pytest
import timm
import torch
from family_networks import BUILD, network_of
from helpers import small_network
from torch import nn

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.dissection.analysis import DissectionAnalysis
from lightning_advinterp.analyses.dissection.config import DissectionConfig
from lightning_advinterp.core.result import REAL
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.broden import Concept, Segmentation
from lightning_advinterp.data.images import ImageSetDefaults
from lightning_advinterp.networks import Network
from lightning_advinterp.units.spaces import unit_space
from lightning_advinterp.units.words import layer_words

APART = {"vit": 1, "registers": 5, "distilled": 2, "torchvision's vit": 1}
LAST = {
    "vit": ("blocks", (24, 4, 4)),
    "registers": ("blocks", (24, 4, 4)),
    "distilled": ("blocks", (24, 4, 4)),
    "swin": ("layers.2", (48, 4, 4)),
    "convnext": ("stages.3", (20, 2, 2)),
    "torchvision's vit": ("encoder.layers", (24, 4, 4)),
    "torchvision's swin": ("permute", (24, 8, 8)),
    "torchvision's convnext": ("features.3", (12, 8, 8)),
    "resnet": ("layer4", (2048, 2, 2)),
}


def literal(output, tokens_first, images):
    """Maps value by value: what a hook caught, as ``[B, U, H, W]``."""
    if output.dim() == 3:  # tokens, row by row
        side = round((output.shape[1] - tokens_first) ** 0.5)
        maps = torch.empty(images, output.shape[2], side, side)
        for row in range(side):
            for column in range(side):
                maps[:, :, row, column] = output[:, tokens_first + row * side + column]
        return maps
    if output.shape[1] == output.shape[2] != output.shape[3]:
        return torch.stack([output[..., unit] for unit in range(output.shape[3])], 1)
    return output


WORDS = [
    (name, word)
    for name in BUILD
    for word in ("all_mlp", "all_blocks", "last")
    if (name, word) != ("resnet", "all_mlp")
]


@pytest.mark.parametrize(("name", "word"), WORDS)
def test_maps_equal_what_hooks_catch(name, word):
    network = network_of(name)
    space = unit_space(network, word)
    x = torch.rand(2, 3, network.input_size, network.input_size, generator=torch.Generator().manual_seed(1))
    caught = {}
    handles = [
        network.backbone.get_submodule(unit.tap).register_forward_hook(
            lambda module, inputs, output, tap=unit.tap: caught.update({tap: output.clone()})
        )
        for unit in space
    ]
    with torch.no_grad():
        _, features = network.forward_features(x, space.taps)
    for handle in handles:
        handle.remove()
    for unit in space:
        maps = unit.maps(features[unit.tap])
        expected = literal(caught[unit.tap], APART.get(name, 0), len(x))
        assert torch.equal(maps, expected), unit
        assert maps.shape[1] == unit.layout.units
        assert torch.equal(unit.reduced(features[unit.tap], "max"), expected.flatten(2).max(2).values)
        assert torch.allclose(unit.reduced(features[unit.tap], "mean"), expected.flatten(2).mean(2), atol=1e-6)


@pytest.mark.parametrize("name", BUILD)
def test_last_is_right(name):
    network = network_of(name)
    (unit,) = unit_space(network, "last")
    _, features = network.forward_features(torch.rand(1, 3, network.input_size, network.input_size), (unit.tap,))
    assert (unit.tap, tuple(unit.maps(features[unit.tap]).shape[1:])) == LAST[name]


def test_names_of_mlps_and_blocks():
    def taps(name, word):
        return [unit.tap for unit in unit_space(network_of(name), word)]

    assert taps("vit", "all_mlp") == ["blocks.0.mlp.act", "blocks.1.mlp.act"]
    assert taps("vit", "all_blocks") == ["blocks.0", "blocks.1"]
    assert taps("swin", "all_blocks") == [
        f"layers.{path}" for path in ("0.blocks.0", "1.blocks.0", "2.blocks.0", "2.blocks.1")
    ]
    assert taps("convnext", "all_mlp")[0] == "stages.0.blocks.0.mlp.act"
    assert taps("torchvision's vit", "all_mlp")[1] == "encoder.layers.encoder_layer_1.mlp.1"
    assert taps("torchvision's convnext", "all_blocks") == ["features.1.0", "features.3.0", "features.3.1"]
    assert taps("resnet", "all_blocks") == ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]


def test_heads_tokens_and_all():
    def layers(name, words):
        return [unit.layer for unit in unit_space(network_of(name), words)]

    heads = [f"blocks.{block}.attn:head{head}" for block in (0, 1) for head in (0, 1)]
    assert layers("vit", "all_heads") == layers("vit", "blocks.0.attn:heads,blocks.1.attn:heads") == heads
    assert layers("registers", "last:registers") == [f"blocks:register{number}" for number in range(4)]
    assert layers("distilled", "all_blocks:distillation") == ["blocks.0:distillation", "blocks.1:distillation"]
    of_a_block = ["blocks.{}.attn:head0", "blocks.{}.attn:head1", "blocks.{}.mlp.act", "blocks.{}"]
    expected = ["patch_embed.proj", *(name.format(block) for block in (0, 1) for name in of_a_block)]
    assert layers("vit", "all") == expected
    assert layers("resnet", "all") == layers("resnet", "all_conv")
    taps = [unit.tap for unit in unit_space(network_of("convnext"), "all")]
    assert len(taps) == len(set(taps))
    together = unit_space(network_of("convnext"), "all_conv,all_mlp,all_blocks")
    assert set(taps) == {unit.tap for unit in together}
    assert all(layers(name, "all") for name in BUILD)


def test_units_of_heads_and_tokens():
    network = network_of("registers")
    x = torch.rand(2, 3, 32, 32)
    head, token = unit_space(network, "blocks.0.attn:head1, blocks.1:register2")
    with torch.no_grad():
        _, features = network.forward_features(x, (head.tap, token.tap, "blocks.0.attn.proj:input", "blocks.1"))
    heads, tokens = features["blocks.0.attn.proj:input"], features["blocks.1"]
    assert torch.equal(head.maps(features[head.tap]), literal(heads[..., 12:], 5, 2))
    assert torch.equal(token.maps(features[token.tap]), tokens[:, 3, :, None, None])
    assert not token.has_places
    assert (head.side, token.side) == ("input", "output")


def test_parts_that_no_layer_has_are_refused():
    cait = timm.create_model("cait_xxs24_224", img_size=32, patch_size=8, depth=1, embed_dim=24, num_heads=2)
    network = Network(cait, name="cait", num_classes=1000, input_size=32)  # its class token comes late
    with pytest.raises(
        ValueError, match=r"'blocks.0:class' would be one of class, but its layer returns tokens \[B, 16"
    ):
        unit_space(network, "blocks.0:class")
    with pytest.raises(
        ValueError, match=r"no attention heads that all_heads could stand for \(MultiheadAttention comp"
    ):
        unit_space(network_of("torchvision's vit"), "all_heads")
    with pytest.raises(ValueError, match="WindowAttention attends within windows"):
        unit_space(network_of("swin"), "all_heads")
    with pytest.raises(ValueError, match="resnet has no attention heads that all_heads could stand for; name"):
        unit_space(network_of("resnet"), "all_heads")
    with pytest.raises(ValueError, match="no register tokens, which all_blocks:registers asks for"):
        unit_space(network_of("vit"), "all_blocks:registers")
    with pytest.raises(ValueError, match="all has no parts"):
        unit_space(network_of("vit"), "all:class")


def test_units_are_zeroed_in_any_layout():
    network = network_of("vit")
    (tokens,) = unit_space(network, "blocks.0")
    _, features = network.forward_features(torch.rand(2, 3, 32, 32), ("blocks.0", "patch_embed.proj"))
    zeroed = tokens.without(features["blocks.0"], [3, 5])
    assert not zeroed[..., [3, 5]].any()
    remaining = [unit for unit in range(24) if unit not in (3, 5)]
    assert torch.equal(zeroed[..., remaining], features["blocks.0"][..., remaining])
    (maps,) = unit_space(network, "patch_embed.proj")
    assert not maps.without(features["patch_embed.proj"], [1])[:, 1].any()


def test_words_and_names_may_stand_together():
    network = small_network()
    space = unit_space(network, "bn1, all_conv, last, fc, penultimate")
    assert [(unit.layer, unit.tap) for unit in space] == [
        ("bn1", "bn1"), ("conv1", "relu1"), ("conv2", "relu2"), ("relu2", "relu2"), ("fc", "fc"),
        ("penultimate", "penultimate"),
    ]  # fmt: skip
    assert space.taps == ("bn1", "relu1", "relu2", "fc", "penultimate")
    descriptions = [(unit.reads, unit.side, str(unit.layout), unit.signed) for unit in space]
    assert descriptions[0] == ("norm", "output", "maps [B, 6, 16, 16]", None)
    assert descriptions[1] == ("activation", "output", "maps [B, 6, 16, 16]", False)
    assert descriptions[4:] == [
        ("linear", "output", "vectors [B, 5]", None),
        ("linear", "input", "vectors [B, 8]", None),
    ]
    assert layer_words(["last"]) == layer_words(" last,") == ("last",)


class Odd(nn.Module):
    """Outputs of all kinds that units cannot be told in."""

    def __init__(self):
        super().__init__()
        self.conv, self.pairs, self.sequence, self.windows = nn.Conv2d(3, 4, 3), Pair(), Rows(), Windows()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = self.conv(x)
        self.pairs(x), self.sequence(x), self.windows(x)
        return self.fc(x.mean((2, 3)))


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Rows(nn.Module):
    def forward(self, x):
        return x.flatten(2)


class Windows(nn.Module):
    def forward(self, x):
        return x.unfold(2, 7, 7).unfold(3, 7, 7).flatten(2, 3).transpose(1, 2).flatten(0, 1)


def test_what_cannot_be_read_is_refused_with_its_shape():
    network = Network(Odd(), name="odd", num_classes=2, input_size=16)
    with pytest.raises(ValueError, match=r"layers: 'sequence' returns shape \[B, 4, 196\]; units are"):
        unit_space(network, "sequence")
    with pytest.raises(ValueError, match=r"layers: 'windows' returns shape \[4 B, 4, 7, 7\]"):
        unit_space(network, ["windows"])
    with pytest.raises(ValueError, match="layer 'pairs' must return one tensor"):
        unit_space(network, "pairs")
    with pytest.raises(ValueError, match="odd has no known last feature layer"):
        unit_space(network, "last")
    with pytest.raises(ValueError, match="odd has no MLPs in blocks that all_mlp could stand for"):
        unit_space(network, "all_mlp")
    with pytest.raises(ValueError, match="odd has no blocks that all_blocks"):
        unit_space(network, "all_blocks")
    with pytest.raises(ValueError, match="got none"):
        unit_space(network, " , ")
    with pytest.raises(ValueError, match="'conv1' would be read twice, at 'relu1' as one of all_conv and at 'conv1'"):
        unit_space(small_network(), "all_conv,conv1")
    with pytest.raises(ValueError, match="layer must be a module path of Odd, got 'conf'"):
        unit_space(network, "conf")
    with pytest.raises(ValueError, match=r"dissection needs maps of units, 'fc' gives vectors \[B, 2\]"):
        unit_space(network, "conv,fc").require_places("dissection")


@pytest.mark.parametrize("name", ["vit", "swin", "torchvision's vit", "torchvision's swin"])
def test_all_conv_of_a_transformer_names_what_to_say(name):
    with pytest.raises(
        ValueError, match=r"no convolutions but its patch embedding '.*'; say all_mlp, all_blocks, or last"
    ):
        unit_space(network_of(name), "all_conv")


def test_a_network_for_images_of_another_size_is_read_as_it_returns():
    network = Network(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)), name="n", num_classes=2
    )
    conv, fc = unit_space(network, "1,3")  # it is built for 8 pixels, and says 224
    _, features = network.forward_features(torch.rand(2, 3, 8, 8), ("1", "3"))
    assert conv.layout is None
    assert torch.equal(conv.maps(features["1"]), features["1"])
    assert torch.equal(fc.maps(features["3"])[..., 0, 0], features["3"])


def test_nothing_of_the_look_stays():
    network = small_network(dropout=0.5).train()
    before, state = {key: value.clone() for key, value in network.state_dict().items()}, torch.get_rng_state()
    unit_space(network, "all_conv")
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


class Patches(nn.Module):
    """A transformer of one layer: unit 0 is the red of a patch; a class token and a register come first."""

    def __init__(self):
        super().__init__()
        self.embed, self.read, self.head = nn.Conv2d(3, 2, 4, stride=4, bias=False), nn.Identity(), nn.Linear(2, 2)
        with torch.no_grad():
            self.embed.weight.zero_()
            self.embed.weight[0, 0] = 1 / 16
            self.embed.weight[1, 1] = 1 / 16

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.read(torch.cat([tokens.new_full((len(x), 2, 2), 7.0), tokens], 1)).mean(1))


class Planted(ImageSetDefaults):
    """Black images of 4 x 4 patches, two of which are red: the concept."""

    categories, concepts, label_size = ("object",), {1: Concept(1, "red patch", 0)}, (4, 4)
    labels, classes, class_names, fingerprint = None, (), (), "planted"
    indices = range(9)

    def __len__(self):
        return 9

    def mask(self, number):
        mask = torch.zeros(16, dtype=torch.int32)
        mask[torch.randperm(16, generator=torch.Generator().manual_seed(number))[:2]] = 1
        return mask.view(4, 4)

    def __getitem__(self, place):
        red = self.mask(place).float().repeat_interleave(4, 0).repeat_interleave(4, 1)
        return Batch(
            torch.stack([red, torch.zeros(16, 16), torch.zeros(16, 16)]), torch.tensor(-1), torch.tensor(place)
        )

    def segmentation(self, number):
        return Segmentation({0: self.mask(number)[None].numpy()}, {})


def test_a_planted_patch_detector_has_iou_one_on_the_patch_grid():
    network = Network(Patches(), name="p", num_classes=2, mean=(0.0,) * 3, std=(1.0,) * 3, input_size=16).eval()
    (unit,) = unit_space(network, "read")
    assert (unit.layout.apart, unit.layout.grid) == (2, (4, 4))
    config = DissectionConfig(layers=("read",), quantile=0.8, controls=("rotated",), groups=2, replicates=5)
    result = Runner(network, Planted(), batch_size=4).run([DissectionAnalysis(Planted(), config=config)])["dissection"]
    rows = {row["unit"]: row for row in result.tables["dissection"] if row["images"] == REAL}
    assert (rows[0]["label"], rows[0]["iou"]) == ("red patch", 1.0)
    assert rows[1]["iou"] == 0
