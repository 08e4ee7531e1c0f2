"""Files of tensors: every flipped bit is noticed, at every door, and what a file may hold is data."""

import argparse
import pathlib
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lightning_advinterp.ablation.run import _same_weights
from lightning_advinterp.analyses.base.journal import Journal
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.cli.export import main as export
from lightning_advinterp.core.tensor_files import read_tensor_file
from lightning_advinterp.explanations.patterns import Patterns
from lightning_advinterp.networks import create_network, load_state_dict_file
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.networks.export import export_network
from lightning_advinterp.objectives.source_network import SourceNetwork
from lightning_advinterp.training.checkpoint_io import AtomicCheckpointIO, read_checkpoint
from lightning_advinterp.training.resume import examine


def checkpoint(path, **changes):
    """A checkpoint as a run writes it, but for changes of its entry ``advinterp``."""
    network = create_network("cifar_resnet20", num_classes=3)
    meta = {"format": 1, "network": network.spec(), "classes": ["a", "b", "c"], "seed": 0} | changes
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    AtomicCheckpointIO().save_checkpoint({"state_dict": state, "epoch": 0, "advinterp": meta}, path)
    return path


def flip(path, value):
    """Flip the lowest bit of the byte in the middle of a tensor's bytes."""
    content = bytearray(path.read_bytes())
    place = content.index(value.numpy().tobytes()) + value.nbytes // 2
    content[place] ^= 1
    path.write_bytes(content)


DOORS = {
    "network": load_checkpoint,
    "member": lambda path: Member(checkpoint=str(path)).load(),
    "member's weights": lambda path: Member("cifar_resnet20", str(path)).load(),
    "source": lambda path: SourceNetwork(checkpoint=str(path)).load(),
    "weights": lambda path: create_network("cifar_resnet20", path),
    "tensors": load_state_dict_file,
    "resume": examine,
    "trainer": lambda path: AtomicCheckpointIO().load_checkpoint(path, weights_only=False),
    "ablation": lambda path: _same_weights(path, path),
}


@pytest.mark.parametrize("door", DOORS)
def test_one_flipped_bit_in_a_checkpoint_is_noticed(tmp_path, door):
    path = checkpoint(tmp_path / "last.ckpt")
    flip(path, read_checkpoint(path)["state_dict"]["network.backbone.layer2.0.conv1.weight"])
    with pytest.raises(ValueError, match=r"last.ckpt is damaged: archive/data/\d+ differs from its checksum"):
        DOORS[door](path)


def test_export_notices_it_in_one_line(tmp_path, capsys):
    path = checkpoint(tmp_path / "last.ckpt")
    flip(path, read_checkpoint(path)["state_dict"]["network.backbone.conv1.weight"])
    with pytest.raises(SystemExit):
        export([str(path), "--output", str(tmp_path / "out")])
    assert "is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tensors_that_were_changed_and_packed_anew_are_noticed(tmp_path, caplog):
    path = checkpoint(tmp_path / "last.ckpt")
    content = torch.load(path)
    content["state_dict"]["network.backbone.conv1.weight"][0, 0, 0, 0] += 1e-6
    torch.save(content, path)
    for door in ("network", "member", "weights", "trainer", "ablation"):
        caplog.clear()
        DOORS[door](path)
        assert "last.ckpt holds other tensors in state_dict than its run wrote" in caplog.text
    del content["advinterp"]["sha256"]
    torch.save(content, path)
    caplog.clear()
    load_checkpoint(path)
    assert not caplog.text


@pytest.mark.parametrize("damage", ["flip", "truncate", "nothing"])
def test_a_journal(tmp_path, damage):
    class Counts:
        name = "counts"

        def __init__(self):
            self.seen = torch.arange(1000.0)

        def state_dict(self):
            return {"seen": self.seen}

        def load_state_dict(self, state):
            self.seen = state["seen"]

    path = tmp_path / "journal"
    Journal(path).save(0, 7, [Counts()], now=True)
    if damage == "flip":
        flip(path, Counts().seen)
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:2000])
    assert Journal(path).resume(0, [Counts()]) == (7 if damage == "nothing" else 0)


@pytest.mark.parametrize("kind", ["export", "patterns"])
def test_safetensors_of_this_project(tmp_path, kind):
    if kind == "export":
        path, _ = export_network(create_network("cifar_resnet20"), tmp_path)
        key = "layer1.0.conv1.weight"
    else:
        path, key = tmp_path / "patterns.safetensors", "conv1"
        Patterns({key: torch.rand(50)}).save(path)
    reader = load_state_dict_file if kind == "export" else Patterns.load
    reader(path)
    flip(path, load_file(path)[key])
    with pytest.raises(ValueError, match="is damaged: its tensors differ from the hash"):
        reader(path)


def test_every_byte_of_an_archive_is_noticed_or_of_no_weight(tmp_path):
    """A record's name, place, length or checksum, the table at the end: a flip ends in words or in the same tensors."""
    value = {"weight": torch.arange(6.0)}
    torch.save(value, tmp_path / "good.pth")
    good = (tmp_path / "good.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "good.pth") as archive:
        table = archive.start_dir
    flips = [(place, 4) for place in range(0, len(good), 5)]
    flips += [(place, 1 << bit) for place in range(table, len(good)) for bit in (0, 4, 7)]
    for place, flip in flips:
        path = tmp_path / f"{place}.pth"
        path.write_bytes(good[:place] + bytes([good[place] ^ flip]) + good[place + 1 :])
        try:
            content = read_tensor_file(path, what="weights")
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert torch.equal(content["weight"], value["weight"])
        path.unlink()


def test_an_archive_that_unfolds_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(1000, 1000)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain:
        packed = zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED)
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
        packed.close()
    with pytest.raises(ValueError, match="compressed records"):
        read_tensor_file(tmp_path / "packed.pth", what="weights")


@pytest.mark.parametrize("bomb", ["aliases", "depth", "expanded"])
def test_bombs(tmp_path, bomb):
    value = []
    for _ in range(40 if bomb == "aliases" else 5000):
        value = [value, value] if bomb == "aliases" else [value]
    content = {"x": torch.zeros(1).expand(10**6, 10**6) if bomb == "expanded" else value}
    if bomb == "depth":  # deeper than torch.save itself goes
        content = {"x": 0}
        for _ in range(100):
            content = {"x": content}
    torch.save(content, tmp_path / "bomb.pth")
    with pytest.raises(ValueError, match=r"unfolds to more|whose numbers it lacks|levels deep"):
        read_tensor_file(tmp_path / "bomb.pth", what="weights")


def test_what_is_data_can_be_read(tmp_path):
    settings = argparse.Namespace(lr=0.1, root=pathlib.PurePosixPath("a/b"))
    content = {
        "state_dict": {"weight": torch.ones(2)},
        "best": np.float64(91.5),
        "epoch": np.int64(3),
        "right": np.bool_(True),
        "dtype": np.dtype("float32"),
        "type": np.float32,
        "curve": np.arange(6, dtype=">f4").reshape(2, 3),
        "classes": np.array(["tench", "goldfish"]),
        "args": settings,
    }
    torch.save(content, tmp_path / "w.pth")
    assert set(load_state_dict_file(tmp_path / "w.pth")) == {"weight"}
    loaded = read_tensor_file(tmp_path / "w.pth", what="weights")
    assert (loaded["best"], loaded["epoch"], loaded["right"]) == (91.5, 3, True)
    assert np.array_equal(loaded["curve"], content["curve"])
    assert list(loaded["classes"]) == ["tench", "goldfish"]
    assert (loaded["args"].lr, loaded["args"].root) == (0.1, "a/b")


class Crafted:
    """A dtype whose pickled state NumPy would believe."""

    def __init__(self, code, state):
        self.code, self.state = code, state

    def __reduce__(self):
        return (np.dtype, (self.code, False, True), self.state)


@pytest.mark.parametrize(
    "kind", [("O", (3, "|", None, None, None, -1, -1, 63)), ("V8", (3, "|", None, ("a",), 1, 8, 1, 0))]
)
def test_a_crafted_dtype_ends_in_words(tmp_path, kind):
    torch.save({"x": Crafted(*kind), "weight": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="is no plain number or text"):
        read_tensor_file(tmp_path / "w.pth", what="weights")


class Odd(nn.Module):
    """A type of somebody's own."""


def test_a_refused_type_is_named_in_one_line(tmp_path):
    torch.save({"net": Odd()}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"plain data: \S*Odd\. Code in a file is never executed.*state_dict") as error:
        read_tensor_file(tmp_path / "w.pth", what="weights")
    assert not {"\n", "\x1b"} & set(str(error.value))


@pytest.mark.parametrize(
    ("name", "neighbours"),
    [
        ("runs/a/lost.ckpt", "; {}/runs/a holds best.ckpt, last.ckpt"),
        ("runs/c/last.ckpt", "; {}/runs holds a, b"),
        ("runs/a/lost.pth", ""),
    ],
)
def test_a_file_that_is_not_there_is_said_with_what_is(tmp_path, name, neighbours):
    for path in ("runs/a/last.ckpt", "runs/a/best.ckpt", "runs/a/config.yaml", "runs/b/last.ckpt", "runs/x.ckpt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    with pytest.raises(FileNotFoundError) as caught:
        read_tensor_file(tmp_path / name, what="checkpoint")
    assert str(caught.value) == f"checkpoint: no file {tmp_path / name}{neighbours.format(tmp_path)}."
