"""Adversarial sets: what lies on disk is what the attack made, whatever the parts, processes and interruptions."""

import json
import pickle

import pytest
import torch
from helpers import Memory, assert_untouched, fingerprint, small_batch, small_network
from rich.progress import Progress

from lightning_advinterp.analyses.base.make_adversarial import make_adversarial_set
from lightning_advinterp.attacks import AttackConfig, create_attack
from lightning_advinterp.attacks.prediction.ensemble_attack import EnsembleAttack
from lightning_advinterp.data import adversarial_set
from lightning_advinterp.data.adversarial_set import AdversarialRow, AdversarialSet, AdversarialSetWriter, Manifest

COUNT, TARGETS = 7, 3


@pytest.fixture
def data():
    batch = small_batch(n=COUNT)
    return Memory(batch._replace(image=batch.image.mul(255).round() / 255))


def make(folder, data, config="pgd", **options):
    attack = create_attack(AttackConfig(config, "32/255", target="least_likely" if config == "pgd" else None))
    options = {"targets": TARGETS, "batch_size": 4, "part": 5} | options
    return make_adversarial_set(small_network(), data, attack, folder, **options)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_rows_tell_what_the_images_are(tmp_path, data):
    classes = 4  # all but the true one: the likeliest is the easiest target
    adversarial, network, batch = make(tmp_path, data, targets=classes), small_network(), data.batch
    assert len(adversarial) == COUNT * classes
    least = network(batch.image).scatter(1, batch.label[:, None], torch.inf).argsort(dim=1)[:, :classes]
    for place, row in enumerate(adversarial.rows):
        image, label, item = adversarial[place]
        source, turn = divmod(place, classes)
        assert (int(item), row.item, row.source) == (place, place, int(batch.index[source]))
        assert int(label) == row.label == int(batch.label[source])
        assert row.target == int(least[source, turn])
        x = image.float() / 255
        assert row.predicted == int(network(x[None]).argmax())
        assert row.success == (row.predicted == row.target)
        delta = x - batch.image[source]
        assert row.linf == pytest.approx(float(delta.abs().max()), abs=1e-6)
        assert row.l2 == pytest.approx(float(delta.norm()), rel=1e-5)
        assert 0 < row.linf <= 32 / 255 + 1e-6
    assert 0 < sum(row.success for row in adversarial.rows) < len(adversarial)
    assert adversarial.manifest["network"]["spec"]["name"] == "small"
    assert adversarial.verify() == []


def test_an_untargeted_attack(tmp_path, data):
    adversarial = make(tmp_path, data, "fgsm", targets=None)
    assert [row.target for row in adversarial.rows] == data.batch.label.tolist()
    assert all(row.success == (row.predicted != row.label) for row in adversarial.rows)


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 21}])
def test_does_not_depend_on_batches(tmp_path, data, options):
    expected, batched = make(tmp_path / "a", data), make(tmp_path / "b", data, **options)
    assert all(torch.equal(expected[place].image, batched[place].image) for place in range(len(expected)))


def test_processes_make_the_parts_of_one(tmp_path, data):
    make(tmp_path / "alone", data)
    for rank in (1, 0):
        make(tmp_path / "shared", data, rank=rank, world_size=2)
    assert content(tmp_path / "shared") == content(tmp_path / "alone")


def test_an_interrupted_set_goes_on(tmp_path, data):
    data.fingerprint = "the same"
    make(tmp_path / "whole", data)
    broken = Memory(data.batch, fails_at=5)
    broken.fingerprint = "the same"
    with pytest.raises(OSError, match="power cut"):
        make(tmp_path / "cut", broken)
    partial = AdversarialSet(tmp_path / "cut")
    assert 0 < len(partial) < COUNT * TARGETS, "readable while it is being written"
    done = {path.name for path in (tmp_path / "cut").glob("*.zip")}
    times = {name: (tmp_path / "cut" / name).stat().st_mtime_ns for name in done}
    make(tmp_path / "cut", data)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert {name: (tmp_path / "cut" / name).stat().st_mtime_ns for name in done} == times, "nothing is made twice"
    assert partial.refresh() == COUNT * TARGETS


def test_damage_shows(tmp_path, data):
    adversarial = make(tmp_path, data)
    path = tmp_path / "part-00002.zip"
    damaged = bytearray(path.read_bytes())
    damaged[100] ^= 1
    path.write_bytes(damaged)
    (tmp_path / "part-00000.zip").unlink()
    assert adversarial.verify() == ["part-00000.zip", "part-00002.zip"]


def test_a_part_whose_images_were_removed_is_made_again(tmp_path, data, monkeypatch):
    """Until it is complete again it is no part of the set, wherever the making stops."""
    adversarial = make(tmp_path, data)
    files, rows = content(tmp_path), len(adversarial)
    (tmp_path / "part-00000.zip").unlink()
    manifest = Manifest(**{key: value for key, value in adversarial.manifest.items() if key != "format"})
    writer = AdversarialSetWriter(tmp_path, manifest)
    assert writer.missing() == [0]
    assert (adversarial.refresh(), adversarial.verify()) == (rows - 5, [])

    def cut(*_):
        raise OSError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(adversarial_set, "write_part", cut)
        with pytest.raises(OSError, match="power cut"):
            make(tmp_path, data)
    assert writer.missing() == [0]
    assert (adversarial.refresh(), adversarial.verify()) == (rows - 5, [])
    make(tmp_path, data)
    assert content(tmp_path) == files


def test_loads_in_workers_and_copies(tmp_path, data):
    adversarial = make(tmp_path, data)
    first = adversarial[6].image
    assert torch.equal(pickle.loads(pickle.dumps(adversarial))[6].image, first)
    adversarial.close()


def test_a_set_of_other_images_is_not_gone_on_with(tmp_path, data):
    """The images have no fingerprint of their own, and there are as many."""
    make(tmp_path, data)
    batch = data.batch
    with pytest.raises(ValueError, match="holds another adversarial set"):
        make(tmp_path, Memory(batch._replace(image=batch.image.flip(0))))
    with pytest.raises(ValueError, match="holds another adversarial set"):
        make(tmp_path, Memory(batch._replace(label=batch.label.flip(0))))


def test_nothing_is_touched(tmp_path, data):
    network = small_network(dropout=0.5).train()
    before, state = fingerprint(network), torch.get_rng_state()
    attack = create_attack(AttackConfig("pgd", "32/255", target="least_likely"))
    make_adversarial_set(network, data, attack, tmp_path)
    assert_untouched(network, before)
    assert torch.equal(state, torch.get_rng_state())


def test_wrong_arguments_are_refused(tmp_path, data, monkeypatch):
    make(tmp_path / "set", data)
    with pytest.raises(ValueError, match="holds another adversarial set"):
        make(tmp_path / "set", data, seed=1)
    with pytest.raises(ValueError, match="between 1 and the 5 classes to choose among, got 6"):
        make(tmp_path / "x", data, targets=6)
    with pytest.raises(ValueError, match="batch_size and part must be 1 or more"):
        make(tmp_path / "x", data, part=0)
    with pytest.raises(FileNotFoundError, match="holds no adversarial set"):
        AdversarialSet(tmp_path)
    manifest = Manifest("none", 0, {}, "", 4, 2, (3, 8, 8))
    writer = AdversarialSetWriter(tmp_path / "y", manifest)
    rows = [AdversarialRow(item, item, 0, 1, 1, True, 0.0, 0.0) for item in (0, 1)]
    with pytest.raises(ValueError, match="part 1 holds the items 2 to 3 as uint8"):
        writer.write(1, torch.zeros(2, 3, 8, 8, dtype=torch.uint8), rows)
    with pytest.raises(ValueError, match=r"must have the shape \(3, 8, 8\)"):
        writer.write(0, torch.zeros(2, 3, 9, 8, dtype=torch.uint8), rows)
    assert json.loads((tmp_path / "y" / "manifest.json").read_text())["items"] == 4
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(OSError, match="the missing 4 images need up to"):
        AdversarialSetWriter(tmp_path / "z", manifest)


def test_an_ensemble_chooses_the_targets(tmp_path, data):
    members = [small_network(seed=1), small_network(seed=2)]
    attack = EnsembleAttack(create_attack(AttackConfig("targeted_optimization", weight=1.0, steps=2)), members)
    adversarial = make_adversarial_set(small_network(), data, attack, tmp_path, targets=2)
    scores = sum(member(data.batch.image).softmax(1) for member in members)
    least = scores.scatter(1, data.batch.label[:, None], torch.inf).argsort(dim=1)[:, :2]  # never the true class
    assert [row.target for row in adversarial.rows] == least.flatten().tolist()
    assert adversarial.manifest["network"].keys() == {"weights_sha256", "spec", "members"}


@pytest.mark.parametrize("shown", [False, True])
def test_a_bar_counts_the_images_that_are_still_to_be_made(tmp_path, data, monkeypatch, shown):
    make(tmp_path, data)
    (tmp_path / "part-00000.zip").unlink()
    moves = []

    def advance(self, task, by):
        moves.append((by, self.tasks[task].total, self.disable))

    monkeypatch.setattr(Progress, "advance", advance)
    make(tmp_path, data, progress=shown)
    assert moves == [(4, 5, not shown), (1, 5, not shown)]


@pytest.mark.parametrize(
    ("settings", "targets", "expected"),
    [
        ({"type": "pgd", "target": 2}, "auto", 2),
        ({"type": "pgd", "target": 2}, None, 2),
        ({"type": "fgsm", "label": "predicted"}, "auto", "predicted"),
        ({"type": "square", "queries": 3}, "auto", "label"),
        ({"type": "fgsm"}, "auto", "least"),
        ({"type": "fgsm"}, 1, "least"),
    ],
)
def test_an_attacks_own_rule_holds_unless_targets_are_asked_for(tmp_path, data, settings, targets, expected):
    attack = create_attack(AttackConfig(**settings, eps="8/255"))
    adversarial = make_adversarial_set(small_network(), data, attack, tmp_path, targets=targets)
    clean, y = small_network()(data.batch.image), data.batch.label
    least = clean.scatter(1, y[:, None], torch.inf).argmin(1)
    goals = {"predicted": clean.argmax(1), "label": y, "least": least}.get(expected, torch.full_like(y, 2))
    assert [row.target for row in adversarial.rows] == goals.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "pgd", "target": 2}, "targets must be null for pgd, which has its own target: 2, got 1"),
        ({"type": "fgsm", "target": "random"}, "its own target: random, got 1"),
        ({"type": "fgsm", "label": "predicted"}, "its own label: predicted, got 1"),
        ({"type": "autoattack"}, "targets must be null for autoattack, which takes no targets, got 1"),
    ],
)
def test_targets_that_contradict_the_attack_are_refused(tmp_path, data, settings, message):
    attack = create_attack(AttackConfig(**settings, eps="8/255"))
    with pytest.raises(ValueError, match=message):
        make_adversarial_set(small_network(), data, attack, tmp_path, targets=1)


@pytest.mark.parametrize("targets", [None, 2])
def test_unlabelled_images_are_attacked_away_from_the_prediction(tmp_path, data, targets):
    """The same images come out as if the predictions were the labels; the rows still know no label."""
    predictions = small_network()(data.batch.image).argmax(1)
    attack = create_attack(AttackConfig("fgsm", "16/255"))
    sets = []
    for name, labels in (("without", torch.full_like(predictions, -1)), ("with", predictions)):
        images = Memory(data.batch._replace(label=labels))
        sets.append(make_adversarial_set(small_network(), images, attack, tmp_path / name, targets=targets))
    without, labelled = sets
    assert {row.label for row in without.rows} == {-1}
    assert [row.target for row in without.rows] == [row.target for row in labelled.rows]
    assert [row.success for row in without.rows] == [row.success for row in labelled.rows]
    assert all(torch.equal(without[place].image, labelled[place].image) for place in range(len(without)))


def test_a_set_without_gradients_is_said(tmp_path, data, caplog):
    network = small_network()
    network.backbone.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0 + inputs[0].detach(),))
    attack = create_attack(AttackConfig("fgsm", "16/255"))
    make_adversarial_set(network, data, attack, tmp_path)
    assert f"fgsm: the gradient of {COUNT} of {COUNT} images (100.0 %) was exactly zero" in caplog.text
