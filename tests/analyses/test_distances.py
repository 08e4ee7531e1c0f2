"""Distance ratios against literal loops over all images."""

import io
import math

import pytest
import scipy.stats
import torch
from analyses.journals import eager_runner
from analyses.tables import assert_same_tables
from helpers import Memory, small_batch, small_network
from reference import semantics as literal
from rich.console import Console

from lightning_advinterp.analyses import AccuracyAnalysis, DistancesAnalysis, Runner
from lightning_advinterp.analyses.distances.question import Distances
from lightning_advinterp.attacks import AttackConfig, sample_keys
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.result import Result
from lightning_advinterp.metrics.distance_ratio import RATIOS, ClassFeatures, distance_ratios, histogram, summarise
from lightning_advinterp.metrics.semantics import ClassSpace, whole_space
from lightning_advinterp.units.bases import Identity, Rotation
from lightning_advinterp.units.basis_files import BasisOrigin, save_basis
from lightning_advinterp.units.rotation import rotation

ATTACKS = [AttackConfig("fgsm", "64/255"), AttackConfig("pgd", "64/255", steps=2, target="random")]
SPACE = whole_space("abcde", torch.eye(5))


def run(data, space=SPACE, **options):
    attacks = create_attacks(ATTACKS)
    pool = {key: options.pop(key) for key in ("pool", "references", "layer") if key in options}
    runner = Runner(small_network().double(), data, attacks=attacks, seed=4, **({"batch_size": 4} | options))
    return runner.run([DistancesAnalysis(attacks, classes=space, **pool)])["distances"]


def test_by_hand():
    real = ClassFeatures(10)
    real.update(torch.tensor([[0.0, 0], [2, 0], [4, 0], [10, 0]]), torch.tensor([0, 0, 0, 1]), torch.arange(4))
    ratios = distance_ratios(torch.tensor([6.0, 0]), torch.tensor([0.0, 0]), 0, 1, 0, real)
    # Without the image itself the centre of its class is 3, its classmates lie 2 and 4 away.
    assert ratios == pytest.approx({"r_ctr": 3 / 4, "r_src": 6 / 3, "r_tgt": 4 / 3, "r_own": 1, "r_goal": 0.4})
    assert distance_ratios(torch.tensor([6.0, 0]), torch.tensor([0.0, 0]), 0, 0, 0, real).keys() == {"r_src", "r_own"}
    assert distance_ratios(torch.tensor([6.0, 0]), torch.tensor([0.0, 0]), 0, 4, 0, real).keys() == {"r_src", "r_own"}
    assert distance_ratios(torch.tensor([6.0, 0]), torch.tensor([10.0, 0]), 1, 0, 3, real) == {}, "it is alone"


def test_a_ratio_over_nothing_is_not_defined():
    """Classmates that are copies, a point in the target's centre: one infinite ratio would decide every mean."""
    real = ClassFeatures(10)
    real.update(torch.tensor([[1.0, 0], [1, 0], [3, 0]]), torch.tensor([0, 0, 1]), torch.arange(3))
    copies = distance_ratios(torch.tensor([2.0, 0]), torch.tensor([1.0, 0]), 0, 1, 0, real)
    assert copies == pytest.approx({"r_ctr": 1, "r_tgt": 1, "r_own": 0, "r_goal": 0.5})
    assert distance_ratios(torch.tensor([3.0, 0]), torch.tensor([1.0, 0]), 0, 1, 0, real) == {
        "r_tgt": 0,
        "r_own": 0,
        "r_goal": 0,
    }
    assert distance_ratios(torch.tensor([1.0, 0]), torch.tensor([1.0, 0]), 0, 1, 0, real) == {"r_ctr": 0, "r_goal": 1}


@pytest.mark.parametrize("pool", ["none", "mean", "max"])
def test_a_layer_in_a_basis(pool, tmp_path):
    """In the identity the numbers are the layer's; in a rotation the distances of whole maps are the same."""
    data = Memory(small_batch(n=19, dtype=torch.float64))
    turn = Rotation(rotation(8, 0, 0, torch.zeros((), dtype=torch.float64)), torch.zeros(8, dtype=torch.float64))
    for name, basis in (("same", Identity(8)), ("turned", turn)):
        save_basis(tmp_path / f"{name}.safetensors", basis, BasisOrigin("relu2", "small", ""))
    plain, same, turned = (
        run(data, pool=pool, layer=layer).tables["distances"]
        for layer in ("relu2", f"relu2@{tmp_path}/same.safetensors", f"relu2@{tmp_path}/turned.safetensors")
    )
    assert same == plain
    ratios = [[row["mean"] for row in rows] for rows in (plain, turned)]
    assert (ratios[0] == pytest.approx(ratios[1], rel=1e-5)) == (pool != "max")
    with pytest.raises(ValueError, match="must name one layer"):
        run(data, pool="mean", layer="relu1,relu2")


@pytest.mark.parametrize("pool", ["none", "mean", "max"])
def test_equals_literal_loops(pool):
    batch = small_batch(n=19, dtype=torch.float64)
    result = run(Memory(batch), pool=pool)
    network, attacks = small_network().double(), create_attacks(ATTACKS)

    def features(x):
        maps = network.forward_features(x, ["relu2"])[1]["relu2"].flatten(2)
        maps = {"none": maps.flatten(1), "mean": maps.mean(2), "max": maps.amax(2)}[pool]
        return maps.float().double().tolist()

    real, labels = features(batch.image), batch.label.tolist()
    for kind, attack in attacks.items():
        attacked = attack.run(network, batch.image, batch.label, keys=sample_keys(batch.index, seed=4))
        target = attacked.target if kind == "pgd" else network(attacked.x_adv).argmax(1)
        adversarial = features(attacked.x_adv)
        expected = [literal.ratios(adversarial[i], real, labels, i, int(target[i])) for i in range(19)]
        for row in (row for row in result.tables["distances"] if row["images"] == kind):
            values = [image_ratios[row["ratio"]] for image_ratios in expected if row["ratio"] in image_ratios]
            assert row["n"] == len(values)
            assert row["mean"] == pytest.approx(sum(values) / len(values), rel=1e-5)
            middle = sorted(values)
            half = len(values) // 2
            median = middle[half] if len(values) % 2 else (middle[half - 1] + middle[half]) / 2
            assert row["median"] == pytest.approx(median, rel=1e-5)
            assert row["share_above_one"] == sum(value > 1 for value in values) / len(values)
            assert result.scalars[f"distances/{kind}/{row['ratio']}"] == row["mean"]
    columns = ["images", "ratio", "mean", "median", "share_above_one", "n", "mean_low", "mean_high"]
    assert list(result.tables["distances"][0])[:8] == columns


@pytest.mark.parametrize("batch_size", [1, 19])
def test_does_not_depend_on_batches(batch_size):
    data = Memory(small_batch(n=19, dtype=torch.float64))
    for references in (2000, 10):
        tables = run(data, batch_size=batch_size, references=references).tables
        assert_same_tables(tables, run(data, references=references).tables, tolerance=1e-6)


@pytest.mark.parametrize("beside", [False, True])
def test_an_interrupted_run_goes_on_in_either_sweep(beside, tmp_path):
    """Also beside an analysis of one sweep, which has not begun when the first is interrupted."""
    batch = small_batch(n=19, dtype=torch.float64)
    uninterrupted = run(Memory(batch)).tables
    attacks = create_attacks(ATTACKS)
    alone = Runner(small_network().double(), Memory(batch), attacks=attacks, seed=4).run([AccuracyAnalysis(attacks)])

    for at in (9, 30):
        attacks = create_attacks(ATTACKS)

        def start(data, attacks=attacks):
            options = {"attacks": attacks, "seed": 4, "batch_size": 4, "journal": tmp_path / "state"}
            runner = eager_runner(small_network().double(), data, **options)
            return runner.run([DistancesAnalysis(attacks, classes=SPACE)] + beside * [AccuracyAnalysis(attacks)])

        with pytest.raises(OSError, match="power cut"):
            start(Memory(batch, readings=at))
        rest = Memory(batch, readings=2 * 19 - at + 4)  # at most the interrupted batch is read again
        results = start(rest)
        assert_same_tables(results["distances"].tables, uninterrupted)
        if beside:
            assert_same_tables(results["accuracy"].tables, alone["accuracy"].tables)


def test_a_sample_of_classmates_is_close_to_all():
    batch = small_batch(n=200)
    exact, sampled = (
        {row["ratio"]: row["mean"] for row in run(Memory(batch), references=n, batch_size=50).tables["distances"][:3]}
        for n in (2000, 50)
    )
    assert sampled["r_ctr"] == exact["r_ctr"], "centres take all images"
    for ratio in ("r_src", "r_tgt"):
        assert sampled[ratio] == pytest.approx(exact[ratio], rel=0.1)


def test_images_outside_the_classes_do_not_count():
    batch = small_batch(n=19, dtype=torch.float64)
    space = ClassSpace((0, 1), ("a", "b"), torch.eye(2))
    rows = run(Memory(batch), space=space).tables["distances"]
    assert max(row["n"] for row in rows) <= int((batch.label < 2).sum())


def test_histogram_and_summary():
    values = torch.tensor([0.0, 0.039, 0.04, 1.0, 1.99, 2.0, 7.0], dtype=torch.float64)
    bars = histogram(values)
    assert len(bars) == 51
    assert [count for _, _, count in bars if count] == [2, 1, 1, 1, 2]
    assert bars[-1][:2] == (2.0, math.inf)
    summary = summarise(values)
    assert (summary.median, summary.n) == (1.0, 7)
    assert summary.share_above_one == 3 / 7
    assert math.isnan(summarise(values[:0]).mean)
    interval = scipy.stats.t.interval(0.95, 6, values.mean(), scipy.stats.sem(values))
    assert (summary.mean_low, summary.mean_high) == pytest.approx(interval, rel=1e-12)
    assert math.isnan(summarise(values[:1]).mean_low)


def ratio_rows(kind, means):
    return [
        {"images": kind, "ratio": ratio, "mean": mean, "mean_low": mean - 0.1, "mean_high": mean + 0.1}
        for ratio, mean in zip(RATIOS, means, strict=True)
    ]


def test_candidates_stand_beside_the_printed_values():
    before, after = ratio_rows("fgsm", [1.3, 2, 0.6, 0.75, 0.7]), ratio_rows("fgsm", [0.98, 1, 1.1, 0.9, 0.88])
    results = {"Before": Result("distances", tables={"distances": before})}
    results["After"] = Result("distances", tables={"distances": [*after[:4], *ratio_rows("pgd", [math.nan] * 5)]})
    console = Console(file=io.StringIO(), width=200)
    console.print(Distances().side_by_side(results, {"Before": {"fgsm": {"r1": 1.34}}}))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["fgsm", "r_ctr", "r1", "1.30", "[1.20,", "1.40]", "0.98", "[0.88,", "1.08]"] in lines
    assert ["fgsm", "r_src", "–", "2.00", "[1.90,", "2.10]", "1.00", "[0.90,", "1.10]"] in lines
    assert ["fgsm", "r_goal", "r2", "0.70", "[0.60,", "0.80]", "–"] in lines
    assert ["pgd", "r_ctr", "r1", "–", "–"] in lines
    assert ["fgsm", "printed", "r1", "1.34", "–"] in lines
    assert "r2 before 0.80 0.73 0.76, after 0.90 0.92 0.87. No" in " ".join(console.file.getvalue().split())
    beside = Distances().beside_printed(results["Before"], {"fgsm": {"r2": 0.76, "top1": 0.5}, "real": {"r1": 1}})
    assert [(line["measure"], line["measured"], line["printed"]) for line in beside] == [
        (f"r2 as {ratio}", mean, 0.76) for ratio, mean in zip(RATIOS, [1.3, 2, 0.6, 0.75, 0.7], strict=True)
    ]


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="pool must be none, mean or max"):
        DistancesAnalysis(classes=SPACE, pool="sum")


def test_a_network_without_a_known_feature_layer_is_refused_before_any_work():
    network = small_network()
    network.phi = None
    with pytest.raises(ValueError, match="distances: small has no known last feature layer"):
        DistancesAnalysis(classes=SPACE).bind(network)
    DistancesAnalysis(classes=SPACE, layer="relu1").bind(network)
