"""Options of an architecture beside settings that have keys of their own."""

import pytest
from pytorch_lightning import seed_everything

from lightning_advinterp.networks.choice import NetworkChoice, with_options
from lightning_advinterp.objectives import SourceNetwork
from lightning_advinterp.training.module import RobustClassifier

REPEATED = {
    "stem": ("medium", "small"),
    "num_classes": (5, 4),
    "mean": ("half", 0.2),
    "input_size": (64, 32),
}


def module(network, settings, options):
    settings = {"image_size" if key == "input_size" else key: value for key, value in settings.items()}
    return RobustClassifier(network, **settings, network_options=options)


def choice(network, settings, options):
    return NetworkChoice(network, **settings, network_options=options).load_network()


def source(network, settings, options):
    return SourceNetwork(network, weights="w.pth", **settings, options=options).load()


@pytest.mark.parametrize("door", [module, choice, source])
@pytest.mark.parametrize("key", REPEATED)
def test_an_option_that_contradicts_a_setting_is_named(door, key):
    setting, option = REPEATED[key]
    with pytest.raises(ValueError, match=f"network_options names {key}={option!r}, but {key} is {setting!r}"):
        door("resnet18", {key: setting}, {key: option})


@pytest.mark.parametrize("door", [module, choice, source])
@pytest.mark.parametrize("key", ["name", "weights"])
def test_the_network_is_no_option_of_itself(door, key):
    with pytest.raises(ValueError, match=f"network_options names {key}='x'; say network and weights"):
        door("resnet18", {}, {key: "x"})


@pytest.mark.parametrize("network", ["resnet18", "timm/resnet18"])
@pytest.mark.parametrize("option", ["pretrained", "checkpoint_path", "model_name"])
def test_builders_get_no_option_that_a_setting_says(network, option):
    with pytest.raises(ValueError, match=f"options of {network}: {option} is no option here"):
        module(network, {}, {option: "x"})


def test_options_that_repeat_or_extend_are_used():
    assert with_options({"stem": "small", "new_head": False, "mean": None}, {"stem": "small", "mean": 0.5}) == {
        "stem": "small",
        "new_head": False,
        "mean": 0.5,
    }
    seed_everything(0)
    network = module("resnet18", {"stem": "small"}, {"stem": "small", "num_classes": 3}).network
    assert (network.stem, network.num_classes, network.input_size) == ("small", 3, 32)
    with pytest.raises(ValueError, match="expected names of arguments, got the key 1"):
        with_options({}, {1: 2})
