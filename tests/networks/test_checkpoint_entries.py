"""What a checkpoint says of its network and of itself: a closed list of keys, of the right kind, or one line."""

import helpers  # noqa: F401  # a class of an imported module
import pytest
import torch

from lightning_advinterp.cli import evaluate
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.networks.spec import checked_spec

WRONG = [None, 7, -1, 2.5, True, "text", b"bytes", [], ["x", 3], {}, {"a": 1}, float("nan"), 10**30, torch.zeros(2)]


def content(**network):
    model = create_network("cifar_resnet20", num_classes=3)
    state = {f"network.{key}": value for key, value in model.state_dict().items()}
    meta = {"format": 1, "network": model.spec() | network, "classes": ["a", "b", "c"], "class_names": ["A", "B", "C"]}
    return {"state_dict": state, "epoch": 0, "advinterp": meta | {"seed": 0, "resize": None, "phi": None}}


ENTRIES = [
    ("state_dict",),
    ("epoch",),
    ("advinterp",),
    *(("advinterp", key) for key in ("format", "network", "classes", "class_names", "seed", "resize")),
    *(("advinterp", "network", key) for key in ("name", "num_classes", "mean", "std", "input_size", "stem", "phi")),
    ("state_dict", "network.backbone.conv1.weight"),
]


@pytest.mark.parametrize("entry", ENTRIES, ids="/".join)
def test_entries_of_another_kind_end_in_words(tmp_path, entry):
    """Nothing but a ValueError comes of any of them, and the file is named."""
    refused = 0
    for wrong in WRONG:
        changed = content()
        inner = changed
        for key in entry[:-1]:
            inner = inner[key]
        inner[entry[-1]] = wrong
        path = tmp_path / "last.ckpt"
        torch.save(changed, path)
        try:
            load_checkpoint(path)
        except ValueError as error:
            assert "last.ckpt" in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
    assert refused >= len(WRONG) - 5  # an input size of 7 and a seed of −1 are right


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("timm/resnet18", "checkpoint_path", "evil.pth"),
        ("timm/resnet18", "pretrained", True),
        ("timm/resnet18", "pretrained_cfg", {"file": "evil.pth"}),
        ("timm/resnet18", "pretrained_cfg_overlay", {"url": "x"}),
        ("timm/resnet18", "cache_dir", "/tmp"),
        ("timm/resnet18", "features_only", True),
        ("resnet18", "pretrained", True),
        ("resnet18", "weights", "IMAGENET1K_V1"),
        ("resnet18", "weights", "/etc/passwd"),
        ("resnet18", "progress", False),
        ("cifar_resnet20", "weights", "evil.pth"),
        ("cifar_resnet20", "anything", 1),
        ("helpers.SmallBackbone", "weights", "evil.pth"),
        ("resnet18", "nonsense", 1),
    ],
)
def test_no_key_of_a_file_reads_another_one(tmp_path, monkeypatch, name, key, value):
    def refuse(*_, **__):
        raise AssertionError("a file's entry was opened or fetched")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("timm.models._factory.load_checkpoint", refuse)
    torch.save(content(name=name, stem=None, phi=None, **{key: value}), tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=rf"last\.ckpt.*({key}|options)"):
        load_checkpoint(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "timm/resnet18", "in_chans": 1, "drop_rate": 0.1, "norm_layer": "groupnorm"},
        {"name": "timm/vit_tiny_patch16_224", "img_size": 64, "drop_path_rate": 0.1, "dynamic_img_size": True},
        {"name": "timm/mobilenetv3_small_100", "bn_eps": 1e-3, "drop_rate": 0.2},
        {"name": "timm/deit_tiny_patch16_224", "qkv_bias": False},
        {"name": "timm/convnext_atto", "ls_init_value": None},
        {"name": "resnet18", "zero_init_residual": True, "width_per_group": 32},
        {"name": "mobilenet_v2", "dropout": 0.1, "width_mult": 0.5},
        {"name": "densenet121", "memory_efficient": True},
        {"name": "vit_b_32", "image_size": 64, "attention_dropout": 0.1},
        {"name": "vgg11_bn", "dropout": 0.1},
        {"name": "efficientnet_b0", "stochastic_depth_prob": 0.1},
        {"name": "inception_v3", "aux_logits": False, "transform_input": False},
    ],
)
def test_settings_of_an_architecture_pass(spec):
    assert checked_spec(spec, "file") == spec


def test_the_command_says_it_in_one_line(tmp_path, capsys):
    torch.save(content(num_classes="many"), tmp_path / "last.ckpt")
    with pytest.raises(SystemExit) as stop:
        evaluate(["--checkpoint", str(tmp_path / "last.ckpt")])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "network's num_classes must be a whole number from 1 to 1000000, got 'many'" in line
