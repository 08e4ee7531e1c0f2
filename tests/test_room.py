"""``memory``: activations that do not fit are computed again, with the same numbers; what cannot fit is refused."""

import processes
import pytest
import torch
from helpers import Memory, small_batch, small_network

from lightning_advinterp.analyses import AccuracyAnalysis, Runner
from lightning_advinterp.analyses.base import room
from lightning_advinterp.analyses.base.room import KindActivations, Room
from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.core.result import REAL

KINDS = (REAL, "fgsm", "pgd", "noise")
LAYER = "penultimate"
GIB = 2**30


class Counted:
    """A network that counts its passes."""

    def __init__(self):
        self.network, self.passes = small_network().eval(), 0

    def forward_features(self, x, layers):
        self.passes += 1
        return self.network.forward_features(x, layers)


@pytest.mark.parametrize(("most", "passes"), [(None, 0), (2, 0), (1, 4), (0, 6)])
def test_kinds_that_do_not_fit_pass_again(most, passes):
    """Real images are held, ``most`` other kinds, and the kind that was read last."""
    network = Counted()
    images = {kind: torch.rand(3, 3, 8, 8) for kind in KINDS}
    activations, direct = KindActivations(network, (LAYER,), images, most), {}
    for kind in KINDS:
        activations.make_room()
        with torch.no_grad():
            direct[kind] = network.network.forward_features(images[kind], (LAYER,))[1]
        activations.put(kind, direct[kind])
    for _ in range(2):
        for kind in KINDS:
            assert torch.equal(activations[kind][LAYER], direct[kind][LAYER])
            assert torch.equal(activations[REAL][LAYER], direct[REAL][LAYER])
    assert network.passes == passes
    assert list(activations) == list(KINDS)


class Process:
    """A process that holds what a test says."""

    def __init__(self, monkeypatch):
        self.now = self.peak = GIB
        monkeypatch.setattr(room, "memory_now", lambda device: self.now)
        monkeypatch.setattr(room, "memory_peak", lambda device: self.peak)
        monkeypatch.setattr(room, "forget_peak", lambda device: None)


def test_as_many_kinds_are_held_as_there_is_room_for(monkeypatch):
    process, network, x = Process(monkeypatch), small_network().eval(), torch.rand(16, 3, 8, 8)
    space = Room(4 * GIB, torch.device("cpu"))
    space.opens(network, x, (LAYER,))
    assert space.most == 0
    activations = KindActivations(network, (LAYER,), {kind: x for kind in KINDS}, 0)
    activations.put(REAL, {LAYER: torch.empty(GIB // 8, dtype=torch.float16, device="meta")})  # a quarter of a GiB
    process.peak = 3 * GIB  # the batch took 2 GiB
    space.closes(activations)
    space.opens(network, x, (LAYER,))
    assert space.most == 4  # 4 GiB less 1 and 2
    process.now = round(1.8 * GIB)  # states have grown
    space.opens(network, x, (LAYER,))
    assert space.most == 0
    process.now = round(2.2 * GIB)
    with pytest.raises(RunStoppedError, match=r"memory: 4 GiB are too few: .* holds 2.20 GiB, and a batch of 16"):
        space.opens(network, x, (LAYER,))


def test_a_batch_that_cannot_fit_is_refused_with_the_number_that_would(monkeypatch):
    process, network = Process(monkeypatch), small_network().eval()
    process.peak = round(1.25 * GIB)  # two of 16 images took a quarter of a GiB
    attacks = AccuracyAnalysis({})
    runner = Runner(network, Memory(small_batch(n=16)), batch_size=16, memory=round(2.1 * GIB))
    with pytest.raises(RunStoppedError, match=r"takes 2\.00 GiB more; --batch_size 8 fits, or --memory 3\.15"):
        runner.run([attacks])


@pytest.mark.parametrize("tables_of", [processes.units_on_a_share, processes.sensitivity_on_a_share])
def test_the_tables_are_the_same(tables_of, monkeypatch):
    """No kind but the real one and the one that is read is held."""
    plain, passed = tables_of(0, 1, 12), []
    getitem = KindActivations.__getitem__
    monkeypatch.setattr(Room, "most", property(lambda space: 0))
    monkeypatch.setattr(KindActivations, "__getitem__", lambda kinds, kind: passed.append(kind) or getitem(kinds, kind))
    assert tables_of(0, 1, 12) == plain
    assert len(set(passed)) > 1
