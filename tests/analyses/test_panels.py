"""Which units panels show, which images they frame, and what stands in their rows."""

import pytest
import torch
from helpers import Memory, small_batch, small_network

from lightning_advinterp.analyses import Runner, SemanticsAnalysis
from lightning_advinterp.analyses.base.classes import semantic_classes
from lightning_advinterp.analyses.base.question import Scene
from lightning_advinterp.analyses.base.unit_pictures import pictures_of
from lightning_advinterp.analyses.panels.config import PanelsConfig
from lightning_advinterp.analyses.panels.figures import meaning_panel
from lightning_advinterp.analyses.panels.question import Panels
from lightning_advinterp.analyses.panels.units import check_units, chosen_units, near_concept
from lightning_advinterp.analyses.semantics.question import Semantics
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.data.class_labels import Outputs
from lightning_advinterp.metrics.semantics import ClassSpace, whole_space

DOG, WOLF, CAT, CAR, TRUCK = "n02084071", "n02114100", "n02121808", "n02958343", "n04490091"


def table(layer, levels, images="real"):
    return [
        {"layer": layer, "unit": unit, "images": images, "lc": level, "dead": level is None}
        for unit, level in enumerate(levels)
    ]


ROWS = [
    *table("a", [0.1, 0.9, None, 0.5, 0.5, 0.2]),
    *table("a", [0.9] * 6, "fgsm"),
    *table("b", [0.3, None]),
    *table("c", [None]),
]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"count": 1}, {"a": [1, 0], "b": [0], "c": []}),
        ({"count": 2}, {"a": [1, 3, 5, 0], "b": [0], "c": []}),  # 3 before 4: equal, and it comes first
        ({"count": 4}, {"a": [1, 3, 4, 5, 0], "b": [0], "c": []}),
        ({"count": 9}, {"a": [1, 3, 4, 5, 0], "b": [0], "c": []}),
        ({"count": 1, "layers": 2}, {"b": [0], "c": []}),
        ({"units": [0], "layers": 3}, {"a": [0], "b": [0], "c": [0]}),
    ],
)
def test_the_most_and_the_least_consistent(settings, expected):
    assert chosen_units(ROWS, PanelsConfig(**settings)) == expected


@pytest.mark.parametrize("units", [[1], [-1], [0, 7]])
def test_units_that_are_not_there(units):
    with pytest.raises(ValueError, match=r"panels.units: layer 'c' has units 0 to 0, got \["):
        chosen_units(ROWS, PanelsConfig(units=units, layers=1))


def test_units_are_checked_before_any_work():
    network = small_network()  # 6 units, then 8
    check_units(network, "all_conv", PanelsConfig(units=[5]))
    check_units(network, "all_conv", PanelsConfig(units=[7], layers=1))
    check_units(network, "last", PanelsConfig())
    with pytest.raises(ValueError, match="layer 'conv1' has units 0 to 5, got"):
        check_units(network, "all_conv", PanelsConfig(units=[7]))


@pytest.mark.parametrize("key", ["count", "images", "layers"])
def test_settings_out_of_range(key):
    with pytest.raises(ValueError, match=f"{key} must be 1 or more, got 0"):
        PanelsConfig(**{key: 0})
    with pytest.raises(ValueError, match=r"highlight must be one of activation, .*, lrp, got 'cam'"):
        PanelsConfig(highlight="cam")


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_framed_is_what_is_two_edges_away_at_most(sigma):
    """A car and a truck are siblings, two edges; a dog and a wolf are not as near, whatever σ is."""
    space = semantic_classes([DOG, CAR, TRUCK, CAT], sigma=sigma)
    assert near_concept(space, 1, (0, 1, 2, 3)) == (False, True, True, False)
    assert near_concept(space, None, (0, 1)) == (False, False)
    assert near_concept(space, 0, ()) == ()


def test_predictions_outside_the_sets_classes_are_near_too():
    space = semantic_classes([DOG, CAR, TRUCK, CAT], labels=[0, 1])
    assert space.members == (0, 1)
    assert near_concept(space, 1, (2, 3)) == (True, False)
    named = semantic_classes(["dog", "car", "truck", "d"], labels=[0, 1], wnids={"dog": DOG, "car": CAR})
    assert near_concept(named, 1, (0, 1, 2, 3)) == (False, True, False, False)  # nobody has said what the others are
    assert torch.equal(named.distances[:2, :2], space.distances[:2, :2])


def test_without_distances_only_the_class_itself_counts():
    space = whole_space("abc", torch.eye(3))
    assert near_concept(space, 1, (0, 1, 2)) == (False, True, False)


def shown(network, data, attacks, analysis, panels, names=()):
    """The pictures of a layer's units, with the rows of the table that says what units mean."""
    semantics = Semantics()
    scene = Scene(network, Outputs(list(names), list(names)), attacks, data, {"semantics": semantics})
    scene.class_spaces[repr(semantics)] = analysis.classes
    pictures = panels.pictures(scene, analysis.layers)
    return pictures_of(Runner(network, data, attacks=attacks).run([analysis, pictures])["panels"], "panels")


@pytest.fixture(scope="module")
def analysed():
    """A small network on 24 images, with the rows of two of its units."""
    network, batch = small_network(), small_batch(n=24)
    with torch.no_grad():
        network.backbone.fc.weight.mul_(30)
        network.backbone.fc.bias.sub_(network(batch.image).mean(0))  # so that predictions differ
    data = Memory(batch._replace(index=torch.arange(24)))
    attacks = create_attacks([AttackConfig("fgsm", "64/255")])
    distances = 2 * (torch.arange(5.0)[:, None] - torch.arange(5.0)).abs().double()
    space = ClassSpace(tuple(range(5)), tuple("abcde"), torch.exp(-(distances**2) / 2), distances)
    analysis = SemanticsAnalysis(attacks, classes=space, layers="relu2", share=0.25, show=4)
    names = ["ape, a kind of animal", "bee", "2", "3", "4"]
    return network, batch, attacks, shown(network, data, attacks, analysis, Panels(units=[6, 0], images=3), names)


def test_rows_hold_each_units_strongest_images(analysed):
    network, batch, _, panel_rows = analysed
    assert [(panel_row.row["unit"], panel_row.row["images"]) for panel_row in panel_rows] == [
        (6, "real"),
        (6, "fgsm"),
        (0, "real"),
        (0, "fgsm"),
    ]
    with torch.no_grad():
        logits, activations = network.forward_features(batch.image, ["relu2"])
    for panel_row in (panel_rows[0], panel_rows[2]):
        order = activations["relu2"][:, panel_row.row["unit"]].amax((1, 2)).argsort(descending=True)[:3]
        shown = (255 * batch.image[order]).round().byte().permute(0, 2, 3, 1)
        assert torch.equal(torch.from_numpy(panel_row.pictures), shown)
        assert tuple(row["predicted"] for row in panel_row.rows) == tuple(logits[order].argmax(1).tolist())


@pytest.mark.parametrize("signed", [False, True])
def test_images_that_do_not_drive_a_unit_are_not_shown(signed):
    """After a ReLU: a dead unit has no pictures, one that two images drive has two."""
    network, batch = small_network(), small_batch(n=6)
    with torch.no_grad():
        maps = network.forward_features(batch.image, ["bn2"])[1]["bn2"].amax((0, 2, 3))
        network.backbone.bn2.bias[0] -= maps[0] + 1
        network.backbone.bn2.bias[1] -= maps[1]
        strongest = network.forward_features(batch.image, ["bn2"])[1]["bn2"][:, 1].amax((1, 2)).sort().values
        network.backbone.bn2.bias[1] -= strongest[-3:-1].mean()  # between the third and the second strongest
    data = Memory(batch._replace(index=torch.arange(6)))
    layer = "bn2" if signed else "relu2"
    analysis = SemanticsAnalysis(classes=whole_space("abcde", torch.eye(5)), layers=layer, show=4)
    panel_rows = shown(network, data, {}, analysis, Panels(units=[0, 1], images=4), "abcde")
    assert [len(panel_row.pictures) for panel_row in panel_rows] == ([4, 4] if signed else [0, 2])
    if not signed:
        assert panel_rows[0].row["dead"]
        assert meaning_panel(panel_rows).axes[0].get_ylabel().startswith("unit 0: dead")


def test_adversarial_images_alone_are_framed(analysed):
    *_, panel_rows = analysed
    for real, adversarial in (panel_rows[:2], panel_rows[2:]):
        assert {row["near_concept"] for row in real.rows} == {None}
        mode = adversarial.row["mode_index"]
        assert all(row["near_concept"] == (abs(mode - row["predicted"]) <= 1) for row in adversarial.rows)
    assert {row["near_concept"] for panel_row in panel_rows for row in panel_row.rows} == {None, True, False}


def test_a_panel_says_what_it_shows(analysed):
    *_, panel_rows = analysed
    figure = meaning_panel(panel_rows, "layer")
    first, second = figure.axes[:2]
    mode = panel_rows[0].row["mode_class"]
    assert f"\nLC: floor {1 / 6:.2f}, chance 0." in figure.get_suptitle(), "a line of its own"
    assert "images per class" in " ".join(figure.get_suptitle().split())  # a small figure breaks its lines
    assert first.get_ylabel() == f"unit 6: {mode}\nLC {panel_rows[0].row['lc']:.2f}"
    assert second.get_ylabel() == f"fgsm\nCS1 {panel_rows[1].row['cs1']:.2f}, CS2 {panel_rows[1].row['cs2']:.2f}"
    names = {0: "ape", 1: "bee"}
    captions = [names.get(row["predicted"], str(row["predicted"])) for row in panel_rows[0].rows]
    assert [text.get_text() for text in first.texts] == captions
    assert len(second.patches) == sum(row["near_concept"] for row in panel_rows[1].rows)
