import logging
import pickle

import pytest
import torch
from helpers import SmallBackbone, small_network
from safetensors.torch import save_file
from torch import nn

from lightning_advinterp.networks import create_network, load_state_dict_file, weights_hash
from lightning_advinterp.networks.weights import load_into, rename


@pytest.fixture
def state():
    return small_network().backbone.state_dict()


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


def lightning(state):
    return {
        "epoch": 3,
        "state_dict": {**prefixed(state, "network.backbone."), "val_acc.correct": torch.zeros(1)},
        "optimizer_states": [{"state": {0: {"step": torch.ones(1)}}}],
        "advinterp": {"format": 1, "network": {"name": "small"}},
    }


FILES = {
    "bare.pth": lambda state: state,
    "bare.pt": lambda state: {"model": state},
    "places365.pth.tar": lambda state: {
        "epoch": 90,
        "arch": "small",
        "state_dict": prefixed(state, "module."),
    },
    "cifar.th": lambda state: {"best_prec1": 91.0, "state_dict": prefixed(state, "module.")},
    "run.ckpt": lightning,
    "plain.ckpt": lambda state: {"state_dict": prefixed(state, "model.")},
    "compiled.ckpt": lambda state: {"state_dict": prefixed(state, "model._orig_mod.")},
    "both.pth": lambda state: prefixed(state, "module._orig_mod.backbone."),
    "half.pth": lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_and_prefix(tmp_path, state, name):
    file = tmp_path / name
    torch.save(FILES[name](state), file)
    tensors = load_state_dict_file(file, expected=state)
    assert set(tensors) == set(state)
    tolerance = 1e-2 if name == "half.pth" else 0
    for key, value in state.items():
        assert tensors[key].dtype == value.dtype
        torch.testing.assert_close(tensors[key], value, rtol=tolerance, atol=tolerance)
    assert create_network("helpers.SmallBackbone", file, input_size=16).num_classes == 5
    if name != "run.ckpt":
        assert set(load_state_dict_file(file)) == set(state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_safetensors(tmp_path, state, dtype):
    file = tmp_path / "weights.safetensors"
    save_file({key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}, file)
    tensors = load_state_dict_file(file)
    assert all(tensors[key].dtype == value.dtype for key, value in state.items())
    assert create_network("helpers.SmallBackbone", file, input_size=16).num_classes == 5


def test_a_parallel_part_inside():
    """ImageNet's old AlexNet and VGG files wrap ``features`` alone."""
    state = {"features.module.0.weight": torch.ones(1), "classifier.weight": torch.ones(1)}
    assert set(rename(state, "old")) == {"features.0.weight", "classifier.weight"}
    renamed = rename({"head.module.weight": torch.ones(1)}, "own", expected=["head.module.weight"])
    assert set(renamed) == {"head.module.weight"}


def test_old_densenet_keys():
    old = {
        "features.denseblock1.denselayer1.norm.1.weight": torch.ones(1),
        "features.denseblock1.denselayer10.conv.2.weight": torch.ones(1),
        "features.norm0.weight": torch.ones(1),
    }
    assert set(rename(old, "old")) == {
        "features.denseblock1.denselayer1.norm1.weight",
        "features.denseblock1.denselayer10.conv2.weight",
        "features.norm0.weight",
    }


def test_tensors_outside_the_prefix_are_logged(tmp_path, state, caplog):
    torch.save(lightning(state), tmp_path / "run.ckpt")
    with caplog.at_level(logging.INFO):
        load_state_dict_file(tmp_path / "run.ckpt", expected=state)
    assert "1 tensors outside 'network.backbone.' left out, like val_acc.correct" in caplog.text


def test_counters_of_old_files_may_be_missing(tmp_path, state):
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "old.pth")
    create_network("helpers.SmallBackbone", tmp_path / "old.pth", input_size=16)


def test_mismatches_are_listed(state):
    backbone = SmallBackbone()
    wrong = {**state, "extra.weight": torch.ones(1), "conv2.weight": torch.ones(8, 6, 1, 1)}
    del wrong["bn1.weight"]
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load_into(backbone, wrong, "wrong.pth")
    message = str(caught.value)
    assert "wrong.pth does not fit SmallBackbone" in message
    assert "missing: bn1.weight" in message
    assert "unexpected: extra.weight" in message
    assert "conv2.weight is (8, 6, 1, 1), the network has (8, 6, 3, 3)" in message
    with pytest.raises(ValueError, match=r"missing: conv1\.weight, .*\(14 in all\)"):
        load_into(backbone, {}, "empty")


def test_weights_of_another_architecture(tmp_path, state):
    torch.save(state, tmp_path / "small.pth")
    with pytest.raises(ValueError, match=r"small\.pth does not fit CifarResNet: missing: .*unexpected: "):
        create_network("cifar_resnet20", tmp_path / "small.pth")


class Evil:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".th", ".tar"])
def test_code_in_a_file_is_never_executed(tmp_path, state, suffix):
    trace, file = tmp_path / "trace", tmp_path / f"evil{suffix}"
    torch.save({"state_dict": state, "hyper_parameters": Evil(trace)}, file)
    with pytest.raises(ValueError, match=rf"evil\{suffix} holds more than tensors.*never executed"):
        create_network("helpers.SmallBackbone", file)
    assert not trace.exists()
    file.write_bytes(pickle.dumps(Evil(trace)))
    with pytest.raises(ValueError, match=rf"evil\{suffix}"):
        load_state_dict_file(file)
    assert not trace.exists()


def test_whole_pickled_networks_are_refused(tmp_path):
    torch.save(SmallBackbone(), tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"whole\.pth holds more than tensors.*state_dict\(\)"):
        load_state_dict_file(tmp_path / "whole.pth")


@pytest.mark.parametrize(
    "name", ["text.pth", "text.safetensors", "cut.pth", "cut.safetensors", "empty.pth", "empty.safetensors"]
)
def test_damaged_files_are_named(tmp_path, state, name):
    file = tmp_path / name
    if name.startswith("text"):
        file.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif name.startswith("empty"):
        file.touch()
    else:
        (save_file if name.endswith("safetensors") else torch.save)(state, file)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=name):
        load_state_dict_file(file)


def test_files_without_tensors(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    with pytest.raises(ValueError, match=r"holds no tensors by name.*found \['epoch'\]"):
        load_state_dict_file(tmp_path / "epoch.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="found list"):
        load_state_dict_file(tmp_path / "list.pth")


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.pth"):
        create_network("resnet18", tmp_path / "absent.pth")
    with pytest.raises(FileNotFoundError, match=r"no file absent\.safetensors"):
        create_network("resnet18", "absent.safetensors")


def test_the_hash_is_of_the_weights_alone():
    network, same = small_network(), small_network()
    assert len(weights_hash(network)) == 64
    assert weights_hash(network) == weights_hash(same) == weights_hash(network.backbone)
    network.forward_features(torch.rand(1, 3, 16, 16), ["conv1"])
    assert weights_hash(network) == weights_hash(same)
    with torch.no_grad():
        same.backbone.bn1.running_mean[0] += 1e-3
    assert weights_hash(network) != weights_hash(same)
    assert weights_hash(nn.BatchNorm2d(2)) != weights_hash(nn.BatchNorm2d(3))
    assert weights_hash(nn.Linear(2, 2).bfloat16())
