"""RobustBench's architectures: each against a literal forward pass over the tensors of a file with the zoo's names."""

import pytest
import torch
from torch.nn import functional as F

from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.zoo.deepmind import DeepMindPreActResNet, DeepMindWideResNet
from lightning_advinterp.networks.zoo.resnet import PreActResNet, SmallImageResNet
from lightning_advinterp.networks.zoo.robustbench import _zoo, find_entry
from lightning_advinterp.networks.zoo.wide_resnet import WideResNet

CIFAR10 = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)


def _norm(x, state, key):
    mean, var, weight, bias = (state[f"{key}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias, False, 0.0, 1e-5)


def _head(x, state, key, size):
    return F.linear(F.avg_pool2d(x, size).flatten(1), state[f"{key}.weight"], state[f"{key}.bias"])


def _count(state, head):
    return len({key.removeprefix(head).split(".")[0] for key in state if key.startswith(head)})


def literal_wide(x, state):
    x = F.conv2d(x, state["conv1.weight"], padding=1)
    for group, stride in (("block1", 1), ("block2", 2), ("block3", 2)):
        for block in range(_count(state, f"{group}.layer.")):
            key, step = f"{group}.layer.{block}.", stride if block == 0 else 1
            active = F.relu(_norm(x, state, key + "bn1"))
            out = F.conv2d(active, state[key + "conv1.weight"], stride=step, padding=1)
            out = F.conv2d(F.relu(_norm(out, state, key + "bn2")), state[key + "conv2.weight"], padding=1)
            wide = state.get(key + "convShortcut.weight")
            x = out + (x if wide is None else F.conv2d(active, wide, stride=step))
    return _head(F.relu(_norm(x, state, "bn1")), state, "fc", 8)


def literal_deepmind_wide(x, state):
    x = F.conv2d(x, state["init_conv.weight"], padding=1)
    for group in range(3):
        for block in range(_count(state, f"layer.{group}.block.")):
            key, step = f"layer.{group}.block.{block}.", 2 if group and block == 0 else 1
            active = F.silu(_norm(x, state, key + "batchnorm_0"))
            padded = F.pad(active, (1, 1, 1, 1) if step == 1 else (0, 1, 0, 1))
            out = F.conv2d(padded, state[key + "conv_0.weight"], stride=step)
            out = F.conv2d(F.silu(_norm(out, state, key + "batchnorm_1")), state[key + "conv_1.weight"], padding=1)
            wide = state.get(key + "shortcut.weight")
            x = out + (x if wide is None else F.conv2d(active, wide, stride=step))
    return _head(F.silu(_norm(x, state, "batchnorm")), state, "logits", 8)


def literal_deepmind_preact(x, state):
    x = F.conv2d(x, state["conv_2d.weight"], padding=1)
    for group in range(4):
        for block in range(_count(state, f"layer_{group}.")):
            key, step = f"layer_{group}.{block}.", 2 if group and block == 0 else 1
            pad = (1, 1, 1, 1) if step == 1 else (0, 1, 0, 1)
            wide = state.get(key + "shortcut.weight")
            shortcut = x if wide is None else F.conv2d(F.pad(x, pad), wide, stride=step)
            out = F.pad(F.silu(_norm(x, state, key + "batchnorm_0")), pad)
            out = F.conv2d(out, state[key + "conv_2d_1.weight"], stride=step)
            x = shortcut + F.conv2d(
                F.silu(_norm(out, state, key + "batchnorm_1")), state[key + "conv_2d_2.weight"], padding=1
            )
    return _head(F.silu(_norm(x, state, "batchnorm")), state, "logits", 4)


def literal_preact(x, state, late):
    x = F.conv2d(x, state["conv1.weight"], padding=1)
    for group in range(1, 5):
        for block in range(2):
            key, step = f"layer{group}.{block}.", 2 if group > 1 and block == 0 else 1
            active = F.relu(_norm(x, state, key + "bn1"))
            wide = state.get(key + "shortcut.0.weight")
            shortcut = x if wide is None else F.conv2d(active if late else x, wide, stride=step)
            out = F.conv2d(active, state[key + "conv1.weight"], stride=step, padding=1)
            x = shortcut + F.conv2d(F.relu(_norm(out, state, key + "bn2")), state[key + "conv2.weight"], padding=1)
    return _head(F.relu(_norm(x, state, "bn")) if "bn.weight" in state else x, state, "linear", 4)


def literal_resnet(x, state, convolutions):
    x = F.relu(_norm(F.conv2d(x, state["conv1.weight"], padding=1), state, "bn1"))
    for group in range(1, 5):
        for block in range(_count(state, f"layer{group}.")):
            key, step = f"layer{group}.{block}.", 2 if group > 1 and block == 0 else 1
            wide = state.get(key + "shortcut.0.weight")
            shortcut = x if wide is None else _norm(F.conv2d(x, wide, stride=step), state, key + "shortcut.1")
            out = x
            for number in range(1, convolutions + 1):
                weight = state[f"{key}conv{number}.weight"]
                strided = number == (1 if convolutions == 2 else 2)
                out = F.conv2d(out, weight, stride=step if strided else 1, padding=weight.shape[-1] // 2)
                out = _norm(out, state, f"{key}bn{number}")
                out = F.relu(out) if number < convolutions else out
            x = F.relu(out + shortcut)
    return _head(x, state, "linear", 4)


def _random(network):
    """Every tensor random, BatchNorm's too, so that a forgotten one shows."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, value in network.state_dict().items():
        drawn = torch.rand(value.shape, generator=generator)
        centre = 0.5 if key.endswith(("var", "bn1.weight", "bn2.weight")) else -0.5 if value.ndim > 1 else 0.0
        scale = (value[0].numel() ** -0.5) * 2 if value.ndim > 1 else 1.0
        state[key] = (drawn + centre) * scale if value.is_floating_point() else value
    return state


CASES = {
    "wide": (WideResNet(16, 1), "robustbench:WRN-16-1", literal_wide),
    "deepmind wide": (DeepMindWideResNet(16, 1), "robustbench:DM-WRN-16-1", literal_deepmind_wide),
    "preact": (PreActResNet(), "robustbench:Andriushchenko2020Understanding", lambda x, s: literal_preact(x, s, False)),
    "preact v2": (
        PreActResNet(last_norm=True, late_shortcut=True),
        "robustbench:cifar10/L2/Rice2020Overfitting",
        lambda x, s: literal_preact(x, s, True),
    ),
    "deepmind preact": (DeepMindPreActResNet(18), "robustbench:Rebuffi2021Fixing_R18_ddpm", literal_deepmind_preact),
    "resnet18": (SmallImageResNet(18), "robustbench:Sehwag2021Proxy_R18", lambda x, s: literal_resnet(x, s, 2)),
    "resnet50": (SmallImageResNet(50), "robustbench:Engstrom2019Robustness", lambda x, s: literal_resnet(x, s, 3)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_of_the_zoo_gives_the_logits_of_a_literal_forward_pass(case, tmp_path):
    network, name, literal = CASES[case]
    state = _random(network)
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "zoo.pt")
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    loaded = create_network(name, tmp_path / "zoo.pt").eval()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (loaded.mean, loaded.std))
    with torch.no_grad():
        expected = literal((images - mean) / std, state)
        torch.testing.assert_close(loaded(images), expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


def test_the_unused_part_of_a_published_wide_resnet_is_left_out(tmp_path):
    network = WideResNet(10, 1)
    state = network.state_dict()
    state |= {f"sub_{key}": value for key, value in network.state_dict().items() if key.startswith("block1.")}
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "zoo.pt")
    loaded = create_network("robustbench:WRN-10-1", tmp_path / "zoo.pt")
    assert all(torch.equal(loaded.backbone.state_dict()[key], value) for key, value in network.state_dict().items())


def test_the_normaliser_of_a_file_comes_before_the_zoos_own(tmp_path):
    state = PreActResNet().state_dict() | {"mu": torch.full((1, 3, 1, 1), 0.4), "sigma": torch.full((1, 3, 1, 1), 0.3)}
    torch.save(state, tmp_path / "zoo.pt")
    loaded = create_network("robustbench:Wong2020Fast", tmp_path / "zoo.pt")
    assert loaded.mean == pytest.approx((0.4,) * 3)
    assert loaded.std == pytest.approx((0.3,) * 3)
    assert create_network("robustbench:Wong2020Fast").mean == pytest.approx(CIFAR10[0])


@pytest.mark.parametrize("row", _zoo(), ids=lambda row: f"{row['dataset']}/{row['name']}")
def test_every_row_of_the_table_is_an_entry(row):
    entry = find_entry(f"robustbench:{row['dataset']}/{row['threats'].split()[0]}/{row['name']}")
    assert entry.architecture == row["architecture"]
    assert len(entry.mean) == len(entry.std)
    assert entry.num_classes == {"cifar10": 10, "cifar100": 100, "imagenet": 1000}[row["dataset"]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("robustbench:Rice2020Overfitting", "several networks in the zoo; say which: .*cifar10/L2/Rice2020"),
        ("robustbench:Carmon2019", "Did you mean cifar10/Carmon2019Unlabeled"),
        ("robustbench:cifar100/Carmon2019Unlabeled", "one of .* networks of the zoo"),
        ("robustbench:WRN-29-10", "depth must be 6n"),
    ],
)
def test_other_names_are_refused_with_the_nearest(name, message):
    with pytest.raises(ValueError, match=message):
        create_network(name)


def test_named_weights_are_the_zoos_file_and_no_library_s():
    with pytest.raises(ValueError, match="weights must be the zoo's file for robustbench:imagenet/Salman2020Do_R18"):
        create_network("robustbench:imagenet/Salman2020Do_R18", "pretrained")
