"""The accuracy analysis against a hand-worked case and a literal loop; what the runner promises."""

import math

import pytest
import torch
from helpers import Memory, assert_untouched, fingerprint, small_batch, small_network
from PIL import Image
from processes import accuracy_on_a_share, on_processes
from torch.nn import functional as F

from lightning_advinterp.analyses import REAL, AccuracyAnalysis, Observation, Plan, Result, Runner, Sweep
from lightning_advinterp.analyses.base.journal import Journal
from lightning_advinterp.attacks import AttackConfig, sample_keys
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.data.image_folder import ImageFolderDataset
from lightning_advinterp.data.labels import subset_indices
from lightning_advinterp.data.transforms import EvalTransform
from lightning_advinterp.metrics import top_k_hits, wilson_interval

ATTACKS = [AttackConfig("fgsm", "64/255"), AttackConfig("pgd", "64/255", steps=3, target="random")]


def runner(network, dataset, **options):
    return Runner(network, dataset, attacks=create_attacks(ATTACKS), **options)


def accuracy(network, dataset, **options):
    return runner(network, dataset, **options).run([AccuracyAnalysis(create_attacks(ATTACKS))])["accuracy"]


def test_top_k_by_hand():
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [float("nan"), 2.0, 1.0]])
    assert top_k_hits(logits, torch.tensor([0, 1, 1]), 1).tolist() == [True, False, False]
    assert top_k_hits(logits, torch.tensor([0, 1, 1]), 2).tolist() == [True, True, False]
    assert top_k_hits(logits, torch.tensor([2, 2, 2]), 9).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 10), (3, 10), (10, 10), (758, 1000), (1, 3), (0, 7), (50_000, 50_000)]
)
def test_wilson_interval_by_its_definition(successes, n):
    """The shares from which the one that was seen is 1.96 standard errors away."""
    share, bounds = successes / n, wilson_interval(successes, n)
    for bound in bounds:
        assert (share - bound) ** 2 == pytest.approx(1.959963984540054**2 * bound * (1 - bound) / n, abs=1e-14)
    assert bounds[0] < share or successes == bounds[0] == 0
    assert bounds[1] > share or successes == n * bounds[1]


def test_there_is_no_interval_of_nothing():
    assert all(math.isnan(bound) for bound in wilson_interval(0, 0))


def test_equals_a_literal_loop():
    network, batch = small_network().double(), small_batch(n=23, dtype=torch.float64)
    result = accuracy(network, Memory(batch), batch_size=5, seed=4)
    attacks, keys = create_attacks(ATTACKS), sample_keys(batch.index, seed=4)
    for row in result.tables["accuracy"]:
        top1 = top5 = success = unchanged = 0
        linf = 0.0
        for i in range(23):
            x, y = batch.image[i : i + 1], batch.label[i : i + 1]
            if row["images"] == REAL:
                z = network(x)
            else:
                attacked = attacks[row["images"]].run(network, x, y, keys=keys[i : i + 1])
                z = network(attacked.x_adv)
                success, linf = success + int(attacked.success), linf + float(attacked.linf)
                unchanged += int(z.argmax() == network(x).argmax())
            rank = int((z[0] > z[0, y]).sum())
            top1, top5 = top1 + (rank < 1), top5 + (rank < 5)
        assert row["n"] == 23
        assert (row["top1"], row["top5"]) == (top1 / 23, top5 / 23)
        assert (row["top1_low"], row["top1_high"]) == wilson_interval(top1, 23)
        if row["images"] != REAL:
            assert (row["success"], row["label_kept"]) == (success / 23, unchanged / 23)
            assert row["linf"] == pytest.approx(linf / 23)
    assert result.scalars["acc"] == result.tables["accuracy"][0]["top1"]


@pytest.mark.parametrize("batch_size", [1, 4, 23])
def test_does_not_depend_on_batches(batch_size):
    network, data = small_network().double(), Memory(small_batch(n=23, dtype=torch.float64))
    rows = accuracy(network, data, batch_size=batch_size).tables["accuracy"]
    for row, expected in zip(rows, accuracy(network, data, batch_size=7).tables["accuracy"], strict=True):
        assert row == pytest.approx(expected)


def test_states_merge_to_the_whole():
    network, data = small_network().double(), Memory(small_batch(n=23, dtype=torch.float64))
    parts = []
    for rank in range(3):
        analysis, part_runner = AccuracyAnalysis(create_attacks(ATTACKS)), runner(network, data, batch_size=4)
        part_runner.indices = part_runner.indices[rank::3]
        part_runner.run([analysis])
        parts.append(analysis)
    for part in parts[1:]:
        parts[0].merge(part.state_dict())
    rows = accuracy(network, data, batch_size=4).tables["accuracy"]
    for row, expected in zip(parts[0].result().tables["accuracy"], rows, strict=True):
        assert row == pytest.approx({column: expected[column] for column in row})  # a runner adds how it attacked


def test_an_interrupted_run_goes_on(tmp_path):
    network, batch = small_network().double(), small_batch(n=23, dtype=torch.float64)
    uninterrupted = accuracy(network, Memory(batch), batch_size=4)
    journal = tmp_path / "state"

    def start(dataset):
        started = runner(network, dataset, batch_size=4, journal=journal)
        started._journal._every = 0
        return started

    with pytest.raises(OSError, match="power cut"):
        start(Memory(batch, fails_at=17)).run([AccuracyAnalysis(create_attacks(ATTACKS))])
    assert len(list(tmp_path.iterdir())) == 1

    class Watched(Memory):
        def __getitem__(self, index):
            assert index >= 16, "the first four batches are done"
            return super().__getitem__(index)

    resumed = start(Watched(batch)).run([AccuracyAnalysis(create_attacks(ATTACKS))])["accuracy"]
    assert resumed == uninterrupted
    assert not list(tmp_path.iterdir())


def test_what_an_older_version_left_is_no_help(tmp_path, caplog):
    """Its sweeps may have been others: taken up, images would count twice."""
    network, batch = small_network(), small_batch(n=9)
    journal = Journal(tmp_path / "state.0")
    first_runner = runner(network, Memory(batch), batch_size=4, journal=tmp_path / "state")
    counted = AccuracyAnalysis(create_attacks(ATTACKS))
    uninterrupted = first_runner.run([counted])["accuracy"]
    journal.save(0, 4, [counted], now=True)
    assert (journal.sweep, journal.resume(0, [])) == (0, 4)
    torch.save(torch.load(tmp_path / "state.0") | {"format": 1}, tmp_path / "state.0")
    assert (journal.sweep, journal.resume(0, [])) == (None, 0)
    assert caplog.text.count("was left by another version of the package; the work starts anew") == 1
    again = runner(network, Memory(batch), batch_size=4, journal=tmp_path / "state")
    assert again.run([AccuracyAnalysis(create_attacks(ATTACKS))])["accuracy"] == uninterrupted
    assert not list(tmp_path.iterdir())


def test_what_other_numbers_of_processes_left_is_no_help(tmp_path):
    """The first of two had half of the images: taken up by one alone, the other half would be missing."""
    network, batch, path = small_network(), small_batch(n=9), tmp_path / "state.0"
    uninterrupted = accuracy(network, Memory(batch), batch_size=4)
    half = AccuracyAnalysis(create_attacks(ATTACKS))
    runner(network, Memory(batch), batch_size=4, limit=4).run([half])
    Journal(path).save(0, 4, [half], now=True)
    assert (Journal(path).sweep, Journal(path, world_size=2).sweep) == (0, None)
    Journal(path, world_size=2).save(0, 4, [half], now=True)
    assert accuracy(network, Memory(batch), batch_size=4, journal=tmp_path / "state") == uninterrupted
    assert not list(tmp_path.iterdir())


def test_nothing_is_touched():
    network, data = small_network(dropout=0.5).train(), Memory(small_batch(n=9))
    network.backbone.bn1.eval()
    before, state = fingerprint(network), torch.get_rng_state()
    accuracy(network, data, batch_size=4)
    assert_untouched(network, before)
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(OSError, match="power cut"):
        accuracy(network, Memory(small_batch(n=9), fails_at=8), batch_size=4)
    assert_untouched(network, before)


def test_passes_are_counted_as_they_are_run():
    network, data = small_network(), Memory(small_batch(n=9))
    counts = {"forward": 0}

    def count(_, inputs):
        counts["forward"] += len(inputs[0])

    network.backbone.register_forward_pre_hook(count)
    measured = runner(network, data, batch_size=4)
    analyses = [AccuracyAnalysis(create_attacks(ATTACKS))]
    expected = measured.passes(analyses)
    measured.run(analyses)
    assert expected["images"] == 9
    assert expected["forward_passes"] == counts["forward"]
    assert expected["backward_passes"] == 9 * (1 + 3)


class Reader:
    """Wants two sweeps, and layers of one kind of image in the second."""

    name = "reader"

    def __init__(self):
        self.seen = []

    def bind(self, network):
        return Plan((Sweep(labels=False), Sweep(("relu1", "phi"), (REAL, "fgsm"))))

    def update(self, sweep, observation):
        self.seen.append((sweep, observation))

    def result(self):
        return Result(self.name)


def test_sweeps_are_united_and_layers_read():
    network, batch = small_network(), small_batch(n=6)
    reader, counter = Reader(), AccuracyAnalysis(create_attacks(ATTACKS[:1]))
    shared = runner(network, Memory(batch), batch_size=6)
    shared.run([reader, counter])
    (first, observation), (second, deep) = reader.seen
    assert isinstance(observation, Observation)
    assert (first, second) == (0, 1)
    assert set(observation.logits) == {REAL}, "what asks for an attack waits for the sweep in which all others do"
    assert set(deep.activations["fgsm"]) == {"relu1", "phi"}
    torch.testing.assert_close(
        deep.activations[REAL]["phi"], network.forward_features(batch.image, ["relu2"])[1]["relu2"]
    )
    assert torch.equal(deep.index, batch.index)
    assert torch.equal(deep.success["fgsm"], deep.logits["fgsm"].argmax(1) != batch.label)
    loss = F.cross_entropy(deep.logits["fgsm"], batch.label)
    assert loss > F.cross_entropy(deep.logits[REAL], batch.label)


class Recorder(AccuracyAnalysis):
    """Counts, and remembers which of its own sweeps it was shown."""

    sweeps: tuple[int, ...] = ()

    def update(self, sweep, observation):
        self.sweeps = (*self.sweeps, sweep)
        super().update(sweep, observation)


def test_images_are_attacked_once_for_analyses_of_one_and_of_two_sweeps():
    network, data = small_network(), Memory(small_batch(n=6))
    shared = runner(network, data, batch_size=6)
    attack = shared.attacks["fgsm"]
    attacked_labels = []

    class Counted:
        def __getattr__(self, name):
            return getattr(attack, name)

        def on(self, index):
            return self

        def perturb(self, network, x, y, **options):
            attacked_labels.extend(y.tolist())
            return attack.perturb(network, x, y, **options)

    shared.attacks["fgsm"] = Counted()
    reader, recorder = Reader(), Recorder(create_attacks(ATTACKS[:1]))
    counts = AccuracyAnalysis(create_attacks(ATTACKS[:1]))
    alone = runner(network, data, batch_size=6).run([counts])["accuracy"]
    results = shared.run([reader, recorder])
    assert len(attacked_labels) == 6
    assert recorder.sweeps == (0,), "the only sweep it asked for, whenever the runner comes to it"
    assert results["accuracy"] == alone
    assert shared.passes([reader, recorder])["backward_passes"] == 6


def test_subsets_are_nested_and_seeded():
    small, large = subset_indices(100, 10, 3), subset_indices(100, 30, 3)
    assert set(small.tolist()) <= set(large.tolist())
    assert small.tolist() == sorted(small.tolist())
    assert small.tolist() != subset_indices(100, 10, 4).tolist()
    assert subset_indices(5, 9, 0).tolist() == [0, 1, 2, 3, 4]


def test_wrong_arguments_are_refused():
    network, batch = small_network(), small_batch(n=3)
    with pytest.raises(ValueError, match="batch_size must be 1 or more, got 0"):
        runner(network, Memory(batch), batch_size=0)
    with pytest.raises(ValueError, match="limit must be 1 or more images, got 0"):
        runner(network, Memory(batch), limit=0)
    unlabelled = Memory(batch._replace(label=torch.full((3,), -1)))
    with pytest.raises(ValueError, match="needs labels, but the images lie in no class folders"):
        accuracy(network, unlabelled)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 3])
def test_many_processes_report_what_one_reports(world_size):
    """23 images: no process has as many as another, and none is counted twice."""
    (alone,) = [accuracy_on_a_share(0, 1, 23)]
    for table in on_processes(accuracy_on_a_share, world_size, 23):
        for row, expected in zip(table, alone, strict=True):
            assert row == pytest.approx(expected, abs=1e-12)


def test_an_unreadable_image_is_left_out_and_never_replaced(tmp_path):
    for number in range(5):
        (tmp_path / f"class{number % 2}").mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (50 * number, 0, 0)).save(tmp_path / f"class{number % 2}" / f"{number}.png")
    (tmp_path / "class0" / "2.png").write_bytes(b"broken")
    dataset = ImageFolderDataset.from_folder(tmp_path, transform=EvalTransform(16, 16), on_bad_image="skip")
    result = Runner(small_network(), dataset, batch_size=1).run([AccuracyAnalysis()])["accuracy"]
    assert result.tables["accuracy"][0]["n"] == 4
