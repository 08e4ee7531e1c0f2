"""Weights files of other libraries: which tensors are taken, and what is made of what stands beside them."""

import json

import pytest
import torch
from helpers import SmallBackbone
from safetensors.torch import save_file
from torch import nn

from lightning_advinterp.networks import create_network, load_state_dict_file

NET = "helpers.SmallBackbone"
CIFAR = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
IMAGENET_BYTES = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.fixture(scope="module")
def raw():
    torch.manual_seed(0)
    return SmallBackbone().state_dict()


@pytest.fixture(scope="module")
def average(raw):
    return {key: value + 1 if value.is_floating_point() else value for key, value in raw.items()}


def under(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def statistics(mean_key, std_key, values=CIFAR, shape=(1, 3, 1, 1)):
    mean, std = (torch.tensor(numbers).view(shape) for numbers in values)
    return {mean_key: mean, std_key: std}


def load(tmp_path, content, **settings):
    torch.save(content, tmp_path / "net.pth")
    return create_network(NET, tmp_path / "net.pth", **{"input_size": 16} | settings)


def is_filled_with(network, state):
    return all(torch.equal(value, state[key]) for key, value in network.backbone.state_dict().items())


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "_orig_mod.module.", "classifier.net_.", "a.b7.c.", "1.", "module.model.backbone."]
)
@pytest.mark.parametrize("container", [None, "state_dict", "generator", "nested"])
def test_prefixes_are_found(tmp_path, raw, prefix, container):
    tensors = under(prefix, raw) | {"loss.center": torch.ones(8, 8)}
    content = {None: tensors, "nested": {"model": {"weights": tensors}}}.get(
        container, {container: tensors, "epoch": 3}
    )
    network = load(tmp_path, content)
    assert is_filled_with(network, raw)
    assert network.origin.left_out == ("loss.center",)


@pytest.mark.parametrize("wrapper", ["module", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"])
def test_wrappers_inside(tmp_path, raw, wrapper):
    wrapped = {key.replace("conv2.", f"conv2.{wrapper}."): value for key, value in under("model.", raw).items()}
    assert is_filled_with(load(tmp_path, wrapped), raw)


def test_a_parametrised_weight_is_not_the_weight(tmp_path, raw):
    """A wrapper inside a key is taken off, but not where it says that the weight is computed from this tensor."""
    parametrised = {key.replace("fc.weight", "fc.parametrizations.weight.original"): raw[key] for key in raw}
    with pytest.raises(ValueError, match=r"missing: fc\.weight"):
        load(tmp_path, parametrised)


NORMALISERS = {
    "robustbench": ("model.", statistics("normalize.mean", "normalize.std")),
    "robustness": ("module.model.", statistics("module.normalizer.new_mean", "module.normalizer.new_std")),
    "within": ("", statistics("mu", "sigma", shape=(3,))),
    "sequential": ("1.", statistics("0.mean", "0.std", shape=(3, 1, 1))),
    "bytes": ("1.", statistics("norm.mean", "norm.std", IMAGENET_BYTES)),
    "pixels": ("backbone.", statistics("pixel_mean", "pixel_std", IMAGENET_BYTES, (3, 1, 1))),
    "smoothing": ("1.", statistics("0.means", "0.sds", shape=(3,))),
    "camel": ("net.", statistics("prep.imgMean", "prep.imgStd", shape=(1, 3))),
    "caffe": ("net.", {"mean": torch.tensor([124.0, 117.0, 104.0]), "std": torch.ones(3)}),
    "variance": ("net.", {"input_norm.mean": torch.full((3,), 0.5), "input_norm.var": torch.full((3,), 0.0625)}),
    "one": ("net.", {"normalize.mean": torch.tensor([0.5]), "normalize.std": torch.tensor([0.25])}),
    "range": ("net.", {"normalize.mean": torch.zeros(1), "normalize.std": torch.tensor([255.0])}),
}
USED = dict.fromkeys(NORMALISERS, CIFAR) | {
    "bytes": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "pixels": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": ((124 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3),
    "variance": ((0.5,) * 3, (0.25,) * 3),
    "one": ((0.5,) * 3, (0.25,) * 3),
    "range": ((0.0,) * 3, (1.0,) * 3),
}


@pytest.mark.parametrize("name", NORMALISERS)
def test_a_normaliser_of_any_usual_name_is_used(tmp_path, raw, name):
    prefix, tensors = NORMALISERS[name]
    network = load(tmp_path, {"state_dict": under(prefix, raw) | tensors})
    mean, std = USED[name]
    assert network.mean == pytest.approx(mean, abs=1e-7)
    assert network.std == pytest.approx(std, abs=1e-7)
    assert all(key in network.origin.normalization for key in tensors)
    assert not network.origin.left_out
    overridden = load(tmp_path, {"state_dict": under(prefix, raw) | tensors}, mean="none")
    assert (overridden.mean, overridden.std) == ((0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize(
    "content",
    [
        {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
        {"args": {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "lr": 0.1}},
        {"normalize": statistics("mean", "std", ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))},
        {"hyper_parameters": {"data": {"image_mean": [25.5, 51, 76.5], "image_std": [102.0, 127.5, 153]}}},
        {"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 24, 24]}},
    ],
)
def test_a_normaliser_among_the_settings_is_used(tmp_path, raw, content):
    network = load(tmp_path, {"model": raw, **content}, input_size=None)
    assert network.mean == pytest.approx((0.1, 0.2, 0.3), abs=1e-7)
    assert network.std == pytest.approx((0.4, 0.5, 0.6), abs=1e-7)
    assert network.input_size == (24 if "pretrained_cfg" in content else 224)


def test_the_description_beside_an_export_is_used(tmp_path, raw):
    save_file(raw, tmp_path / "model.safetensors")
    config = {"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "input_size": [3, 24, 24]}}
    config["advinterp"] = {"classes": [{"folder": f"n{i}", "name": f"name {i}"} for i in range(5)]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    network = create_network(NET, tmp_path / "model.safetensors")
    assert (network.mean, network.input_size) == ((0.1, 0.2, 0.3), 24)
    assert network.origin.classes == ("n0", "n1", "n2", "n3", "n4")


@pytest.mark.parametrize(
    "beside",
    [
        {"norm.weight": torch.ones(3), "norm.bias": torch.zeros(3)},
        {"bn0.running_mean": torch.full((3,), 0.5), "bn0.running_var": torch.ones(3)},
        {"mu": torch.full((3,), 0.5)},
        {"colours": torch.eye(3)},
        {"normalize.mean": torch.tensor([120.0] * 3), "normalize.std": torch.tensor([0.25] * 3)},
        {"normalize.mean": torch.tensor([0.5] * 3), "normalize.std": torch.zeros(3)},
        statistics("a.mean", "a.std") | statistics("b.mean", "b.std", ((0.1, 0.1, 0.1), (1, 1, 1))),
    ],
)
def test_what_may_be_a_normaliser_and_cannot_be_read_is_refused(tmp_path, raw, beside):
    content = under("model.", raw) | beside
    with pytest.raises(ValueError, match="give mean and std"):
        load(tmp_path, content)


def test_a_said_normalisation_settles_what_cannot_be_read(tmp_path, raw):
    content = under("model.", raw) | {"norm.weight": torch.ones(3), "norm.bias": torch.zeros(3)}
    assert load(tmp_path, content, mean=0.5, std="0.25,0.25,0.5").std == (0.25, 0.25, 0.5)


SETS = {
    "timm": lambda raw, ema: {"state_dict_ema": ema, "state_dict": raw},
    "torchvision": lambda raw, ema: {
        "model": under("module.", raw),
        "model_ema": under("module.module.", ema) | {"n_averaged": torch.tensor(3)},
    },
    "flat": lambda raw, ema: under("ema_model.", ema) | under("online_model.", raw),
    "teacher": lambda raw, ema: {"teacher": ema, "student": raw},
    "swa": lambda raw, ema: {"swa_state_dict": ema, "model_state_dict": raw},
    "shadow": lambda raw, ema: {"ema": {"shadow": ema, "decay": 0.99}, "net": raw},
}


@pytest.mark.parametrize("name", SETS)
def test_the_raw_set_is_taken_and_the_average_on_request(tmp_path, raw, average, name):
    content = SETS[name](raw, average)
    network = load(tmp_path, content)
    assert is_filled_with(network, raw)
    (second_set,) = network.origin.other_sets
    lines = "\n".join(network.origin.lines(network.mean, network.std, network.input_size))
    assert repr(second_set) in lines
    assert "weights_set" in lines
    assert is_filled_with(load(tmp_path, content, weights_set=second_set), average)
    assert set(load_state_dict_file(tmp_path / "net.pth", raw.keys())) == set(raw)


@pytest.mark.parametrize(("holder", "chosen"), [("state_dict", "ema"), ("state_dict_ema", None), ("state_dict", None)])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_what_lies_beside_either_set_holds_for_both(tmp_path, raw, average, holder, chosen, prefix):
    content = {"state_dict": under(prefix, raw), "state_dict_ema": dict(average)}
    content[holder] |= statistics("normalize.mean", "normalize.std") | {"temperature": torch.tensor(2.0)}
    network = load(tmp_path, content, weights_set=chosen)
    assert (network.mean, network.std) == (pytest.approx(CIFAR[0]), pytest.approx(CIFAR[1]))
    assert "normalize.mean" in network.origin.normalization
    assert network.origin.temperature == 2
    nearest = content["state_dict" if chosen is None else "state_dict_ema"]
    nearest |= statistics("normalize.mean", "normalize.std", CIFAR[::-1])
    assert load(tmp_path, content, weights_set=chosen).mean == pytest.approx(CIFAR[1])  # its own comes first


@pytest.mark.parametrize(
    ("beside", "settled"),
    [
        ({"norm.weight": torch.ones(3), "norm.bias": torch.zeros(3)}, {"mean": "none"}),
        ({"logit_scale": torch.tensor(2.6)}, {"temperature": 1}),
        ({"a.temperature": torch.tensor(2.0), "b.temperature": torch.tensor(3.0)}, {"temperature": 2}),
    ],
)
@pytest.mark.parametrize("chosen", ["ema", None])
def test_what_cannot_be_read_beside_another_set_is_refused(tmp_path, raw, average, beside, settled, chosen):
    content = {"state_dict": raw, "state_dict_ema": average}
    holder = "state_dict" if chosen else "state_dict_ema"
    content[holder] = content[holder] | beside
    with pytest.raises(ValueError, match=rf"{holder}\.{next(iter(beside))}.*give"):
        load(tmp_path, content, weights_set=chosen)
    load(tmp_path, content, weights_set=chosen, **settled)


def test_an_average_alone_is_taken(tmp_path, average):
    assert is_filled_with(load(tmp_path, {"state_dict_ema": average}), average)


def test_sets_that_nothing_tells_apart_are_refused(tmp_path, raw, average):
    content = under("models.0.", raw) | under("models.1.", average)
    with pytest.raises(ValueError, match=r"several sets that fit, 'models\.0\.', 'models\.1\.'.*weights_set"):
        load(tmp_path, content)
    assert is_filled_with(load(tmp_path, content, weights_set="models.1"), average)
    with pytest.raises(ValueError, match="weights_set must name one of"):
        load(tmp_path, content, weights_set="ema")
    assert is_filled_with(load(tmp_path, under("model.", raw) | under("attacker.model.", raw)), raw)


@pytest.mark.parametrize("top", [{"temperature": 2.0}, {"temperature": torch.tensor([2.0])}])
def test_a_temperature_divides_the_logits(tmp_path, raw, top):
    x = torch.rand(2, 3, 16, 16)
    plain = load(tmp_path, raw).eval()
    for content in (
        {"state_dict": raw, **top},
        {"state_dict": under("model.", raw) | {"temperature": torch.tensor(2.0)}},
    ):
        cooled = load(tmp_path, content).eval()
        torch.testing.assert_close(cooled(x), plain(x) / 2)
        assert "temperature    2" in "\n".join(cooled.origin.lines(cooled.mean, cooled.std, 16))
        torch.testing.assert_close(load(tmp_path, content, temperature=1).eval()(x), plain(x))


def test_a_scale_of_the_logits_is_refused(tmp_path, raw):
    content = under("model.", raw) | {"logit_scale": torch.tensor(2.6)}
    for name in ("log_temperature", "inv_temperature", "softmax_temperature"):
        with pytest.raises(ValueError, match=rf"{name} beside the network.*give the temperature"):
            load(tmp_path, under("model.", raw) | {name: torch.tensor(0.9)})
    with pytest.raises(ValueError, match=r"logit_scale beside the network.*give the temperature"):
        load(tmp_path, content)
    load(tmp_path, content, temperature=0.5)


def test_a_class_path_is_not_normalised_unasked(tmp_path, raw):
    for network in (create_network(NET, input_size=16), load(tmp_path, raw)):
        assert (network.mean, network.std) == ((0.0,) * 3, (1.0,) * 3)
    assert load(tmp_path, raw, mean="imagenet").mean == (0.485, 0.456, 0.406)
    assert create_network("cifar_resnet20").mean == (0.485, 0.456, 0.406)
    with pytest.raises(ValueError, match=r"mean must be a number .* got 'imagenette'"):
        load(tmp_path, raw, mean="imagenette", std=1)


class TenOutputs(nn.Module):
    """A network whose constructor knows nothing of classes, with a last layer of a usual or an unusual name."""

    def __init__(self, name="fc"):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), name
        self.add_module(name, nn.Linear(4, 10))

    def forward(self, x):
        return getattr(self, self.last)(self.conv(x).relu().mean((2, 3)))


@pytest.mark.parametrize("last", ["fc", "answer"])
@pytest.mark.parametrize("num_classes", [None, 7])
def test_a_files_own_head_is_kept(tmp_path, last, num_classes):
    """The file and num_classes say 7, the constructor's default is 10."""
    trained = TenOutputs(last)
    setattr(trained, last, nn.Linear(4, 7))
    torch.save(trained.state_dict(), tmp_path / "seven.pth")
    name = {"fc": "TenOutputs", "answer": "Unusual"}[last]
    network = create_network(f"{__name__}.{name}", tmp_path / "seven.pth", num_classes, input_size=16)
    assert (network.num_classes, network.untrained) == (7, "")
    assert torch.equal(getattr(network.backbone, last).weight, getattr(trained, last).weight)


class Unusual(TenOutputs):
    """The same with a last layer of an unusual name."""

    def __init__(self):
        super().__init__("answer")


def test_a_random_head_is_known_as_such(tmp_path):
    torch.save(TenOutputs().state_dict(), tmp_path / "ten.pth")
    name = f"{__name__}.TenOutputs"
    assert create_network(name, tmp_path / "ten.pth", 5, input_size=16).untrained == "head"
    fresh = create_network(name, tmp_path / "ten.pth", 10, input_size=16, new_head=True)
    assert fresh.untrained == "head"
    assert not torch.equal(fresh.backbone.fc.weight, torch.load(tmp_path / "ten.pth")["fc.weight"])


class FeaturesFirst(TenOutputs):
    """Returns features before its logits."""

    def forward(self, x):
        features = self.conv(x).relu().mean((2, 3))
        return features, self.fc(features)


def test_logits_behind_features_are_refused():
    with pytest.raises(
        ValueError, match=r"must return its logits first.* got tuple of shape \[1, 4\], shape \[1, 10\]"
    ):
        create_network(f"{__name__}.FeaturesFirst", num_classes=10, input_size=16)


def test_averages_without_names_are_said_to_be_there(tmp_path, raw):
    network = load(tmp_path, {"model": raw, "ema": {"decay": 0.99, "shadow_params": list(raw.values())}})
    assert network.origin.left_out == ("ema.shadow_params",)
    assert "'ema.shadow_params'" in "\n".join(network.origin.lines(network.mean, network.std, 16))
