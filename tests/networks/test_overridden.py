"""A stem of a configuration goes with the network that it was set for."""

import logging

import pytest

from lightning_advinterp.networks.overridden import without_foreign_stem

DROPPED = ["--model.stem", "null"]


@pytest.fixture
def config(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize(
    ("flags", "dropped"),
    [
        (["--model.network", "timm/resnet18"], True),
        (["--model.network=cifar_resnet20"], True),
        (["--model.network", "package.module.Net"], True),
        (["--model.network", "resnet50"], False),
        (["--model.network", "resnet18"], False),
        (["--model.network", "timm/resnet18", "--model.stem", "small"], False),
        (["--model.stem=small", "--model.network", "timm/resnet18"], False),
        ([], False),
    ],
)
def test_a_stem_goes_with_its_network(config, caplog, flags, dropped):
    base = config("base.yaml", "model: {network: resnet18, stem: medium}")
    args = ["--config", base, *flags]
    with caplog.at_level(logging.WARNING):
        assert without_foreign_stem(args, "model.") == [*args, *(DROPPED if dropped else [])]
    assert ("stem: medium was set for resnet18 and does not suit" in caplog.text) == dropped


def test_configurations_are_laid_one_over_the_other(config):
    base = config("base.yaml", "model: {network: resnet18, stem: medium}")
    overlay = config("other.yaml", "model: {network: vgg11}")
    both = config("both.yaml", "model: {network: vgg11, stem: small}")
    assert without_foreign_stem([f"--config={base}", f"--config={overlay}"], "model.")[2:] == DROPPED
    assert without_foreign_stem(["--config", base, "--config", both], "model.")[4:] == []  # its own word, and refused
    lone = config("lone.yaml", "model: {stem: small}")
    assert without_foreign_stem(["--config", lone, "--model.network", "vgg11"], "model.")[4:] == DROPPED


def test_what_cannot_be_read_is_left_to_the_parser(config, tmp_path):
    for text in ("a: [", "- 1", "model: 3", "a: &a [*a]"):
        args = ["--config", config("odd.yaml", text), "--model.network", "vgg11"]
        assert without_foreign_stem(args, "model.") == args
    assert without_foreign_stem(["--config", str(tmp_path / "absent.yaml")]) == [
        "--config",
        str(tmp_path / "absent.yaml"),
    ]


def test_an_evaluations_configuration_too(config):
    args = ["--config", config("eval.yaml", "{network: resnet18, stem: small}"), "--network", "timm/resnet18"]
    assert without_foreign_stem(args)[4:] == ["--stem", "null"]
