"""``memory``: activations that do not fit are computed again, with the same numbers; what cannot fit is refused."""

import processes
import pytest
import torch
from helpers import Memory, small_batch, small_network

from lightning_advinterp.analyses import AccuracyAnalysis, Runner
from lightning_advinterp.analyses.base import room
from lightning_advinterp.analyses.base.journal import Journal
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
        monkeypatch.setattr(room, "return_freed_memory", lambda: None)


def test_as_many_kinds_are_held_as_there_is_room_for(monkeypatch):
    process, network, x = Process(monkeypatch), small_network().eval(), torch.rand(16, 3, 8, 8)
    space = Room(4 * GIB, torch.device("cpu"))
    assert space.fitting(network, x, (LAYER,)) == 16
    assert space.most == 0
    closes(process, space, took=2 * GIB)
    assert space.fitting(network, x, (LAYER,)) == 16
    assert space.most == 4  # 4 GiB less 1 and 2
    process.now = round(1.8 * GIB)  # states have grown
    assert space.fitting(network, x, (LAYER,)) == 16
    assert space.most == 0
    process.now = round(2.2 * GIB)
    assert space.fitting(network, x, (LAYER,)) == 14  # an image takes an eighth of a GiB
    process.now = round(3.9 * GIB)
    with pytest.raises(RunStoppedError, match=r"4 GiB are too few: .* holds 3.90 GiB, and one image takes 0.12 GiB"):
        space.fitting(network, x, (LAYER,))


def closes(process, space, took, images=16):
    """End a batch, each image of which has activations of 16 MiB."""
    activations = KindActivations(None, (LAYER,), dict.fromkeys(KINDS), 0)
    activations.put(REAL, {LAYER: torch.empty(images * 2**23, dtype=torch.float16, device="meta")})
    process.peak = process.now + took
    space.closes(activations)


def test_a_batch_that_does_not_fit_is_looked_at_in_parts(monkeypatch):
    """Of 64 images first an eighth; then as many as fit by what these took, with what does not grow with them."""
    process, network, x = Process(monkeypatch), small_network().eval(), torch.rand(64, 3, 8, 8)
    space = Room(4 * GIB, torch.device("cpu"))
    process.peak = 2 * GIB  # eight images took a GiB: 24 would fit
    assert space.fitting(network, x, (LAYER,)) == 8
    for images, then in ((8, 21), (21, 36), (36, 44), (44, 46)):  # up to 48, which take all of it
        closes(process, space, took=GIB * 3 * (images + 16) // 64, images=images)
        assert space.fitting(network, x, (LAYER,)) == then
        assert space.most == 0
    closes(process, space, took=GIB * 3 * (46 + 16) // 64, images=46)
    assert space.fitting(network, x[:4], (LAYER,)) == 4  # the batch's last
    closes(process, space, took=GIB, images=4)
    assert space.fitting(network, x, (LAYER,)) == 47  # what few images took says less


@pytest.mark.parametrize(("free", "images"), [(7, 2), (9, 16)])
def test_a_batch_whose_passes_barely_fit_begins_with_a_part(free, images, monkeypatch):
    """Passes of two images take an eighth of a GiB, so of all 16 one; analyses may take four times as much."""
    process, network = Process(monkeypatch), small_network().eval()
    process.peak = round(1.125 * GIB)
    space = Room(round((1 + free / 2) * GIB), torch.device("cpu"))
    assert space.fitting(network, torch.rand(16, 3, 8, 8), (LAYER,)) == images


def test_memory_that_was_freed_does_not_count_as_held(monkeypatch):
    """The C library keeps what small tensors leave; it is returned before the process is looked at."""
    process, network, x = Process(monkeypatch), small_network().eval(), torch.rand(16, 3, 8, 8)
    monkeypatch.setattr(room, "return_freed_memory", lambda: setattr(process, "now", GIB))
    space = Room(4 * GIB, torch.device("cpu"))
    assert space.fitting(network, x, (LAYER,)) == 16
    closes(process, space, took=2 * GIB)
    process.now = 3 * GIB  # two of them free
    assert space.fitting(network, x, (LAYER,)) == 16
    assert space.most == 4


@pytest.mark.parametrize("size", [1, 3, 5])
def test_parts_are_one_batch_to_analyses_and_journal(size, monkeypatch):
    """A batch's images are seen once, and none counts as done before the last of its parts."""
    monkeypatch.setattr(Room, "fitting", lambda space, network, x, layers: min(size, len(x)))
    saved, seen = [], []
    monkeypatch.setattr(Journal, "save", lambda journal, sweep, done, keeping: saved.append((done, sum(seen))))
    update = AccuracyAnalysis.update
    monkeypatch.setattr(AccuracyAnalysis, "update", lambda *args: seen.append(len(args[2].index)) or update(*args))
    network, images = small_network().eval(), Memory(small_batch(n=10))
    table = Runner(network, images, batch_size=4).run([AccuracyAnalysis({})])["accuracy"].tables["accuracy"]
    assert [done for done, count in saved if count == done] == [4, 8, 10]
    assert len(saved) == 3
    assert sum(seen) == 10
    monkeypatch.undo()
    assert table == Runner(network, images, batch_size=4).run([AccuracyAnalysis({})])["accuracy"].tables["accuracy"]


def test_one_image_that_does_not_fit_is_refused(monkeypatch):
    process, network = Process(monkeypatch), small_network().eval()
    process.peak = round(3.5 * GIB)  # two of 16 images took 2.5 GiB
    runner = Runner(network, Memory(small_batch(n=16)), batch_size=16, memory=round(2.1 * GIB))
    with pytest.raises(RunStoppedError, match=r"one image takes 1\.25 GiB more; it takes --memory 2\.36"):
        runner.run([AccuracyAnalysis({})])


@pytest.mark.parametrize("tables_of", [processes.units_on_a_share, processes.sensitivity_on_a_share])
def test_the_tables_are_the_same(tables_of, monkeypatch):
    """No kind but the real one and the one that is read is held."""
    plain, passed = tables_of(0, 1, 12), []
    getitem = KindActivations.__getitem__
    monkeypatch.setattr(Room, "most", property(lambda space: 0))
    monkeypatch.setattr(KindActivations, "__getitem__", lambda kinds, kind: passed.append(kind) or getitem(kinds, kind))
    assert tables_of(0, 1, 12) == plain
    assert len(set(passed)) > 1
