"""Tensors that no network can be right with are refused by name, at every door, unless asked for."""

import logging

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.cli import evaluate
from lightning_advinterp.cli.adversarial import main as make_set
from lightning_advinterp.cli.export import main as export
from lightning_advinterp.core.trust import trusting
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.networks.weights import load_into
from lightning_advinterp.objectives.source_network import SourceNetwork
from lightning_advinterp.training.checkpoint_io import AtomicCheckpointIO
from lightning_advinterp.training.resume import examine


def filled(value):
    def change(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[0] = value
        return tensor

    return change


KINDS = {  # the tensor, what is done to it, what is said
    "NaN": ("conv1.weight", filled(float("nan")), "NaN or infinity in conv1.weight"),
    "infinity": ("linear.bias", filled(float("inf")), "NaN or infinity in linear.bias"),
    "minus infinity": ("bn1.running_mean", filled(-float("inf")), "NaN or infinity in bn1.running_mean"),
    "negative variance": ("bn1.running_var", filled(-1.0), "negative variances in bn1.running_var"),
    "half NaN": ("conv1.weight", lambda t: filled(float("nan"))(t).half(), "NaN or infinity in conv1.weight"),
    "integers": ("conv1.weight", lambda t: (t * 100).long(), "values of type int64 in conv1.weight"),
    "complex": ("conv1.weight", lambda t: t + 1j * t, "values of type complex64 in conv1.weight"),
    "truth": ("conv1.weight", lambda t: t > 0, "values of type bool in conv1.weight"),
    "meta": ("conv1.weight", lambda t: t.to("meta"), "no values (it lies on the device meta) in conv1.weight"),
    "sparse": ("linear.weight", lambda t: t.to_sparse(), "sparse values in linear.weight"),
}
EVALUATED = ("NaN", "infinity", "minus infinity", "negative variance", "half NaN")


def changed(kind):
    network = create_network("cifar_resnet20", num_classes=12)
    name, change, _ = KINDS[kind]
    state = network.backbone.state_dict()
    return network, state | {name: change(state[name])}


def checkpoint(path, kind):
    network, state = changed(kind)
    meta = {"format": 1, "network": network.spec(), "classes": [], "seed": 0}
    torch.save({"state_dict": {f"network.backbone.{k}": v for k, v in state.items()}, "advinterp": meta}, path)
    return str(path)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (suffix, kind)
        for suffix in (".pth", ".ckpt", ".safetensors", "checkpoint")
        for kind in KINDS
        if suffix != ".safetensors" or kind not in ("meta", "sparse")  # the format has none
    ],
)
def test_refused_by_name(tmp_path, kind, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == "checkpoint":
        checkpoint(path, kind)
    elif suffix != ".safetensors":
        torch.save({"state_dict": changed(kind)[1]}, path)
    else:
        save_file(changed(kind)[1], path)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        load_checkpoint(path) if suffix == "checkpoint" else create_network("cifar_resnet20", path)
    assert KINDS[kind][2] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:.*quantize")
def test_quantised_weights(tmp_path):
    quantised = torch.quantize_per_tensor(torch.rand(2, 3), 0.1, 0, torch.qint8)
    with pytest.raises(ValueError, match="quantised values in weight; save the network's float weights"):
        load_into(nn.Linear(3, 2), {"weight": quantised, "bias": torch.zeros(2)}, "file")


def test_what_the_network_has_itself_and_what_counts_passes():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm2d(2)
            self.register_buffer("mask", torch.full((2, 2), -float("inf")).triu(1))

    state = Masked().state_dict()
    state["bn.num_batches_tracked"] = torch.tensor(3.0)
    state["bn.weight"] = state["bn.weight"].double()
    load_into(Masked(), state, "file")


@pytest.mark.parametrize("kind", EVALUATED)
def test_asked_for_they_are_used_with_a_warning(tmp_path, kind, caplog):
    path = checkpoint(tmp_path / "last.ckpt", kind)
    with caplog.at_level(logging.WARNING), trusting(on_bad_weights="use"):
        load_checkpoint(path)
    assert f"holds {KINDS[kind][2]}; used as they are" in caplog.text


TINY = ("--data", "concept_world", "--limit", "2")
DOORS = {
    "evaluate": lambda path: evaluate(["--checkpoint", path, *TINY]),
    "compare": lambda path: evaluate(["--network", "cifar_resnet20", "--num_classes", "12", "--compare", path, *TINY]),
    "members": lambda path: evaluate(
        [
            *("--network", "cifar_resnet20", "--num_classes", "12", *TINY),
            *("--attack", f'[{{type: transfer, steps: 1, members: [{{checkpoint: "{path}"}}]}}]'),
        ]
    ),
    "set": lambda path: make_set(["--checkpoint", path, *TINY]),
    "export": lambda path: export([path, "--output", "out"]),
}


@pytest.mark.parametrize("door", DOORS)
def test_commands_refuse_weights_that_are_no_numbers(tmp_path, monkeypatch, capsys, door):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        DOORS[door](checkpoint(tmp_path / "last.ckpt", "NaN"))
    assert stop.value.code in (1, 2)
    assert "last.ckpt holds NaN or infinity in conv1.weight" in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "door", [lambda path: Member(checkpoint=path).load(), lambda path: SourceNetwork(checkpoint=path).load()]
)
def test_members_and_sources(tmp_path, door):
    with pytest.raises(ValueError, match=r"holds NaN or infinity in conv1\.weight"):
        door(checkpoint(tmp_path / "last.ckpt", "NaN"))


def test_a_training_does_not_go_on_from_them(tmp_path):
    path = tmp_path / "last.ckpt"
    loops = {"epoch_progress": {"current": {"ready": 1, "processed": 1}}}
    loops["epoch_loop.batch_progress"] = {"current": {"processed": 1}}
    content = {"state_dict": {"a": torch.tensor([1.0])}, "loops": {"fit_loop": loops}, "global_step": 1}
    AtomicCheckpointIO().save_checkpoint(content, path)
    examine(path)
    torch.save(content | {"state_dict": {"a": torch.tensor([float("nan")])}}, path)
    with pytest.raises(ValueError, match=r"last.ckpt holds NaN or infinity in state_dict.a"):
        examine(path)


TAKEN_UP_IN_PART = {
    "sparse": lambda: torch.sparse_coo_tensor([[0]], [1.0], (10**12,), check_invariants=True),
    "csr": lambda: torch.eye(2).to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "complex": lambda: torch.ones(2, dtype=torch.complex64),
    "meta": lambda: torch.ones(2, device="meta"),
}


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:.*quantize", "ignore:.*[Qq]uantized", "ignore:TypedStorage")
@pytest.mark.parametrize("entry", ["state_dict", "current_model_state"])
@pytest.mark.parametrize("kind", TAKEN_UP_IN_PART)
def test_a_training_does_not_go_on_from_what_it_never_writes(tmp_path, kind, entry):
    path = tmp_path / "last.ckpt"
    loops = {"epoch_progress": {"current": {"ready": 1, "processed": 1}}}
    loops["epoch_loop.batch_progress"] = {"current": {"processed": 1}}
    content = {"state_dict": {"a": torch.tensor([1.0])}, "loops": {"fit_loop": loops}, "global_step": 1}
    torch.save(content | {entry: {"b": TAKEN_UP_IN_PART[kind]()}}, path)
    with pytest.raises(ValueError, match=rf"last.ckpt holds sparse, quantised, complex or no values in {entry}.b"):
        examine(path)


class Overflowing(nn.Module):
    """Finite weights, whose outputs are none."""

    def __init__(self, num_classes=12):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 1), nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(torch.sqrt(self.conv(x).mean((2, 3)) - 10))


def overflowing(path):
    network = create_network(f"{__name__}.Overflowing", num_classes=12, input_size=16)
    torch.save(network.backbone.state_dict(), path)
    return ("--network", f"{__name__}.Overflowing", "--weights", str(path), *TINY)


@pytest.mark.parametrize("door", [evaluate, make_set])
def test_outputs_that_are_no_numbers_stop_a_command(tmp_path, monkeypatch, capsys, door):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        door(overflowing(tmp_path / "w.pth"))
    assert stop.value.code == 1
    assert "logits of real images are NaN or infinite for image 0, 1" in capsys.readouterr().err.splitlines()[-1]


def test_asked_for_they_are_counted(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    evaluate([*overflowing(tmp_path / "w.pth"), "--on_bad_weights", "use"])
    assert "2 images in all had logits of real images that are NaN or infinite" in caplog.text
