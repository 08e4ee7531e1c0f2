"""Sensitivity against literal loops, planted networks, other processes and interruptions."""

from itertools import permutations

import numpy as np
import pytest
import torch
from analyses.journals import eager_runner
from analyses.tables import assert_same_tables
from helpers import Memory, small_batch, small_network
from processes import on_processes, sensitivity_on_a_share
from scipy import stats

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.sensitivity.analysis import SensitivityAnalysis, halves_of
from lightning_advinterp.analyses.sensitivity.interpretability import UnitConcept
from lightning_advinterp.analyses.sensitivity.noise import NOISES, noisy_images
from lightning_advinterp.analyses.sensitivity.relations import ClassMeanings
from lightning_advinterp.attacks import AttackConfig, sample_keys
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.result import REAL

ATTACKS = [AttackConfig("fgsm", "64/255"), AttackConfig("pgd", "64/255", steps=2, target="random")]
LAYERS = ("relu1", "relu2")
MEANINGS = ClassMeanings(tuple("abcde"), (torch.arange(5)[:, None] - torch.arange(5)).abs() <= 1)


def run(data, network=None, attacks=ATTACKS, **options):
    attacks = create_attacks(attacks)
    settings = {
        key: options.pop(key)
        for key in ("noise", "meanings", "concepts", "dissected", "layers", "caliper")
        if key in options
    }
    runner = Runner(network or small_network().double(), data, attacks=attacks, seed=4, **({"batch_size": 4} | options))
    return runner.run([SensitivityAnalysis(attacks, seed=4, share=0.2, **({"layers": LAYERS} | settings))])[
        "sensitivity"
    ]


def number(value):
    """What is missing is None in tables."""
    return np.nan if value is None else value


def kinds_of(network, batch):
    """Return the images of every kind, by the public pieces alone."""
    keys = sample_keys(batch.index, seed=4)
    kinds = {}
    for name, attack in create_attacks(ATTACKS).items():
        result = attack.run(network, batch.image, batch.label, keys=keys)
        kinds[name] = result.x_adv, result.target if name == "pgd" else network(result.x_adv).argmax(1), result.attacked
        for noise in NOISES:
            x = noisy_images(batch.image, result.x_adv, keys, noise)
            kinds[f"{name}~{noise}"] = (x, *kinds[name][1:])
    return kinds


def activations(network, x):
    maps = network.forward_features(x, LAYERS)[1]
    return {
        layer: (maps[layer].amax((2, 3)).detach().numpy(), maps[layer].mean((2, 3)).detach().numpy())
        for layer in LAYERS
    }


def test_units_equal_a_literal_loop():
    batch, network = small_batch(n=19, dtype=torch.float64), small_network().double()
    rows = run(Memory(batch)).tables["sensitivity"]
    assert list(rows[0])[:8] == ["layer", "unit", "images", "change", "change_sd", "iou", "label", "category"]
    real, kinds = activations(network, batch.image), kinds_of(network, batch)
    assert list(dict.fromkeys(row["images"] for row in rows)) == list(kinds)
    after = {kind: activations(network, x) for kind, (x, _, _) in kinds.items()}
    for row in rows:
        moved = kinds[row["images"]][2].numpy()
        for reading, prefix in enumerate(("", "mean_")):
            before = real[row["layer"]][reading][:, row["unit"]]
            change = (after[row["images"]][row["layer"]][reading][:, row["unit"]] - before)[moved]
            deviation = before.std() or np.nan
            expected = {f"{prefix}change": change.mean(), f"{prefix}change_sd": change.mean() / deviation}
            expected[f"{prefix}sensitivity"] = np.abs(change).mean() / deviation
            for column, value in expected.items():
                assert number(row[column]) == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), (row, column)
        assert row["n"] == moved.sum()
        assert row["iou"] is row["label"] is row["category"] is None


def test_directions_are_scipys_paired_tests():
    batch, network = small_batch(n=19, dtype=torch.float64), small_network().double()
    rows = run(Memory(batch)).tables["sensitivity"]
    kinds = kinds_of(network, batch)
    for layer in LAYERS:
        before, after = (activations(network, x)[layer][0] for x in (batch.image, kinds["fgsm"][0]))
        alive = before.std(0) > 0
        p = stats.ttest_rel(after[:, alive], before[:, alive]).pvalue
        adjusted = np.full(len(alive), np.nan)
        adjusted[alive] = stats.false_discovery_control(p)
        layer_rows = [row for row in rows if (row["layer"], row["images"]) == (layer, "fgsm")]
        assert [number(row["p"]) for row in layer_rows] == pytest.approx(adjusted, rel=1e-5, nan_ok=True)
        for row, value, change in zip(layer_rows, adjusted, (after - before).mean(0), strict=True):
            moved = ("promoted" if change > 0 else "suppressed") if value <= 0.05 else "neither"
            assert row["direction"] == (None if np.isnan(value) else moved)
    assert {row["direction"] for row in rows if row["images"] == "fgsm"} > {"promoted"}


@pytest.mark.slow
def test_classes_equal_a_literal_loop():
    """A unit's class comes from the images of the other half."""
    batch, network = small_batch(n=40, dtype=torch.float64), small_network().double()
    result = run(Memory(batch), meanings=MEANINGS)
    half, real = halves_of(batch.index, 4).numpy(), activations(network, batch.image)
    label, near = batch.label.numpy(), MEANINGS.near.numpy()

    def mode(values, images):
        count = max(1, int(np.ceil(0.2 * len(images) - 1e-9)))
        top = images[np.argsort(-values[images], kind="stable")[:count]]
        top = top[values[top] > 0]
        return np.bincount(label[top], minlength=5).argmax() if len(top) else -1

    for kind, (x, target, moved) in kinds_of(network, batch).items():
        after, target = activations(network, x), target.numpy()
        for layer in LAYERS:
            values = real[layer][0]
            deviation = values.std(0)
            change = (after[layer][0] - values) / np.where(deviation > 0, deviation, np.nan)
            modes = [
                [mode(values[:, unit], np.flatnonzero(half == h)) for h in (0, 1)] for unit in range(values.shape[1])
            ]
            means = {name: [] for name in ("target", "true", "both", "neither")}
            for image in np.flatnonzero(moved.numpy() & (label != target)):
                image_changes = {name: [] for name in means}
                for unit in range(values.shape[1]):
                    mode_class = modes[unit][1 - half[image]]
                    if mode_class < 0 or np.isnan(change[image, unit]):
                        continue
                    to = near[mode_class, label[image]], near[mode_class, target[image]]
                    name = {(1, 1): "both", (1, 0): "true", (0, 1): "target", (0, 0): "neither"}[to]
                    image_changes[name].append(change[image, unit])
                for name, unit_changes in image_changes.items():
                    if unit_changes:
                        means[name].append((np.mean(unit_changes), np.mean(np.array(unit_changes) > 0)))
            rows = {
                row["near"]: row
                for row in result.tables["sensitivity_classes"]
                if (row["layer"], row["images"], row["meaning"]) == (layer, kind, "class")
            }
            for name, image_means in means.items():
                assert rows[name]["n"] == len(image_means)
                if image_means:
                    assert rows[name]["change_sd"] == pytest.approx(
                        np.mean([entry[0] for entry in image_means]), rel=1e-6
                    )
                    assert rows[name]["rising"] == pytest.approx(np.mean([entry[1] for entry in image_means]))
                if len(image_means) > 1:
                    interval = stats.t.interval(
                        0.95,
                        len(image_means) - 1,
                        np.mean([entry[0] for entry in image_means]),
                        stats.sem([entry[0] for entry in image_means]),
                    )
                    assert (rows[name]["change_sd_low"], rows[name]["change_sd_high"]) == pytest.approx(interval)


def test_the_one_unit_that_an_attack_moves_is_ranked_first(monkeypatch):
    """A planted change of one unit's maps under attack, ten of its standard deviations."""
    batch, unit, layer = small_batch(n=16, dtype=torch.float64), 5, "relu2"
    attacks = create_attacks(ATTACKS[:1])
    observe = Runner._observe

    def planted(self, items, wants):
        observation = observe(self, items, wants)
        if "fgsm" in observation.activations:
            maps = observation.activations[REAL][layer].clone()
            maps[:, unit] += 10 * maps[:, unit].std()
            observation.activations["fgsm"][layer] = maps
        return observation

    monkeypatch.setattr(Runner, "_observe", planted)
    analysis = SensitivityAnalysis(attacks, layers=layer, noise=False, seed=4)
    runner = Runner(small_network().double(), Memory(batch), attacks=attacks, seed=4)
    rows = runner.run([analysis])["sensitivity"].tables["sensitivity"]
    assert {row["unit"] for row in rows if number(row["sensitivity"]) > 1e-9} == {unit}
    assert rows[unit]["direction"] == "promoted"
    assert rows[unit]["sensitivity"] > 5
    assert [analysis.ranking(half)[0] for half in (0, 1)] == [(layer, unit)] * 2


def test_a_dead_unit_is_missing_and_ranks_last():
    batch, network = small_batch(n=16, dtype=torch.float64), small_network().double()
    before = [
        row for row in run(Memory(batch)).tables["sensitivity"] if (row["layer"], row["images"]) == ("relu2", "fgsm")
    ]
    still, off = [row["unit"] for row in before if row["real_sd"]][:2]
    dead = sum(row["real_sd"] is None for row in before)
    with torch.no_grad():
        network.backbone.bn2.weight[[still, off]] = 0
        network.backbone.bn2.bias[still], network.backbone.bn2.bias[off] = 0.7, -1  # the same for all images, never on
    result = run(Memory(batch), network, meanings=MEANINGS)
    rows = {(row["layer"], row["unit"]): row for row in result.tables["sensitivity"] if row["images"] == "fgsm"}
    for unit in (still, off):
        row = rows["relu2", unit]
        for name in ("change_sd", "sensitivity", "mean_change_sd", "real_sd", "p"):
            assert row[name] is None, name
        assert row["direction"] is None
        assert row["change"] == 0
        assert row["mode_class"] is None
    layers = {(row["layer"], row["images"]): row for row in result.tables["sensitivity_layers"]}
    assert layers["relu2", "fgsm"]["dead"] == dead + 2
    assert layers["relu2", "fgsm"]["units"] == 8
    assert np.isfinite(layers["relu2", "fgsm"]["sensitivity"])
    assert all(np.isfinite(value) for value in result.scalars.values())


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_exactly_as_large_as_the_attack(noise, dtype):
    batch = small_batch(n=6, dtype=dtype)
    x = batch.image.clone()
    x[0], x[1], x[2] = 0, 1, x[2].round()  # whole images at the edges of the box
    generator = torch.Generator().manual_seed(0)
    x_adv = (x + 0.2 * torch.randn(x.shape, generator=generator, dtype=dtype)).clamp(0, 1)
    x_adv[2] = 1 - x[2]  # the farthest corner of the box
    x_adv[5] = x[5]
    noisy = noisy_images(x, x_adv, sample_keys(batch.index), noise)
    assert noisy.dtype == dtype
    assert float(noisy.min()) >= 0
    assert float(noisy.max()) <= 1
    order = torch.inf if noise == "noise_linf" else 2
    noise_norms, attack = ((image.double() - x.double()).flatten(1).norm(order, dim=1) for image in (noisy, x_adv))
    assert noise_norms.tolist() == pytest.approx(attack.tolist(), rel=1e-5 if dtype == torch.float32 else 1e-12)
    assert torch.equal(noisy[5], x[5])
    moved = (noisy - x)[3:5].flatten(1)
    cosine = torch.nn.functional.cosine_similarity(moved, (x_adv - x)[3:5].flatten(1))
    assert cosine.abs().max() < 0.15
    again = noisy_images(x.flip(0), x_adv.flip(0), sample_keys(batch.index).flip(0), noise).flip(0)
    assert torch.equal(noisy, again)


def concepts_of(detectors, units=6):
    """Return a dissection in which some units of relu1 detect something."""
    return {
        ("relu1", unit): UnitConcept(0.01 + 0.1 * (unit in detectors) + unit / 1000, "c", "object", unit in detectors)
        for unit in range(units)
    }


def test_the_claim_is_tested_on_images_that_dissection_has_not_seen():
    batch = small_batch(n=30, dtype=torch.float64)
    dissected = frozenset(batch.index[::2].tolist())
    concepts = concepts_of({0, 1, 2})
    result = run(Memory(batch), concepts=concepts, dissected=dissected)
    undissected = torch.tensor([number not in dissected for number in batch.index.tolist()])
    alone = run(Memory(type(batch)(*(field[undissected] for field in batch))), concepts=concepts)
    claims, claims_alone = (
        {
            (row["layer"], row["images"], row["reading"], row["category"]): row
            for row in outcome.tables["sensitivity_test"]
        }
        for outcome in (result, alone)
    )
    row = claims["relu1", "fgsm", "max", "all"]
    assert row["n"] == undissected.sum() == 15
    assert (row["detectors"], row["others"]) == (3, 3)
    assert row["effect_unmatched"] is not None
    assert row["spearman"] is not None
    assert result.tables["sensitivity"][0]["n"] == 30
    assert {row["n"] for row in alone.tables["sensitivity"] if row["images"] == "fgsm"} == {15}
    assert claims_alone["relu1", "fgsm", "max", "all"]["n"] == 15


def test_the_claim_equals_a_literal_one():
    """From the columns of the units' table alone: all pairings tried, scipy's tests, Holm by its definition."""
    detectors = {("relu1", 0), ("relu1", 2), ("relu1", 5), ("relu2", 0), ("relu2", 3), ("relu2", 4), ("relu2", 7)}
    concepts = {
        (layer, unit): UnitConcept(0.2 - unit / 100, "c", "object", (layer, unit) in detectors)
        for layer, width in (("relu1", 6), ("relu2", 8))
        for unit in range(width)
    }
    network = small_network().double()
    with torch.no_grad():
        network.backbone.bn2.bias += 3  # no unit is dead
    tables = run(Memory(small_batch(n=19, dtype=torch.float64)), network, concepts=concepts, caliper=1).tables
    groups, p_values = {}, {}
    for layer in LAYERS:
        unit_rows = [
            row for row in tables["sensitivity"] if (row["layer"], row["images"]) == (layer, "pgd") and row["real_sd"]
        ]
        ranks = stats.rankdata(
            [[row[key] for key in ("real_mean", "active", "real_sd")] for row in unit_rows], axis=0
        ) / len(unit_rows)
        first = [place for place, row in enumerate(unit_rows) if (layer, row["unit"]) in detectors]
        second = [place for place in range(len(unit_rows)) if place not in first]
        small, large = sorted((first, second), key=len)
        best = min(
            permutations(large, len(small)), key=lambda partners: ((ranks[small] - ranks[list(partners)]) ** 2).sum()
        )
        pairs = (small, list(best)) if small is first else (list(best), small)
        values = np.array([row["sensitivity"] for row in unit_rows])
        groups[layer] = (
            values[pairs[0]],
            values[pairs[1]],
            values,
            [concepts[layer, row["unit"]].iou for row in unit_rows],
        )
        p_values[layer] = stats.mannwhitneyu(*groups[layer][:2], alternative="greater").pvalue
    rows = {
        row["layer"]: row
        for row in tables["sensitivity_test"]
        if (row["images"], row["reading"], row["category"]) == ("pgd", "max", "all")
    }
    least, worst = sorted(p_values.values())
    for layer, (detector_values, partner_values, values, iou) in groups.items():
        row = rows[layer]
        assert row["pairs"] == len(detector_values) >= 3
        assert (row["sensitivity"], row["matched"]) == pytest.approx((detector_values.mean(), partner_values.mean()))
        assert row["p"] == pytest.approx(p_values[layer])
        adjusted = 2 * least if p_values[layer] == least else max(2 * least, worst)
        assert row["p_holm"] == pytest.approx(min(1, adjusted))
        assert row["effect"] == pytest.approx(np.sign(detector_values[:, None] - partner_values).mean())
        assert row["spearman"] == pytest.approx(stats.spearmanr(values, iou).statistic)
    assert rows["all"]["pairs"] == sum(len(detector_values) for detector_values, *_ in groups.values())
    assert rows["all"]["p_holm"] is None


def test_no_dissection_no_claim():
    result = run(Memory(small_batch(n=8, dtype=torch.float64)), noise=False)
    assert "sensitivity_test" not in result.tables
    assert "sensitivity/interpretable_minus_matched" not in result.scalars
    assert set(result.scalars) == {
        f"sensitivity/{prefix}{name}" for prefix in ("", "pgd/") for name in ("sensitivity", "promoted", "suppressed")
    }


@pytest.mark.parametrize("batch_size", [1, 19])
def test_does_not_depend_on_batches(batch_size):
    data = Memory(small_batch(n=19, dtype=torch.float64))
    expected = run(data, meanings=MEANINGS, concepts=concepts_of({0, 1, 2}))
    parts = run(data, meanings=MEANINGS, concepts=concepts_of({0, 1, 2}), batch_size=batch_size)
    assert_same_tables(parts.tables, expected.tables, tolerance=1e-7)


@pytest.mark.parametrize("at", [9, 30])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, at):
    batch = small_batch(n=19, dtype=torch.float64)
    options = {"meanings": MEANINGS, "concepts": concepts_of({0, 1, 2})}
    expected = run(Memory(batch), **options)

    def start(data):
        attacks = create_attacks(ATTACKS)
        runner = eager_runner(
            small_network().double(), data, attacks=attacks, seed=4, batch_size=4, journal=tmp_path / "state"
        )
        analysis = SensitivityAnalysis(attacks, seed=4, share=0.2, layers=LAYERS, **options)
        return runner.run([analysis])["sensitivity"]

    with pytest.raises(OSError, match="power cut"):
        start(Memory(batch, readings=at))
    rest = start(Memory(batch))
    assert_same_tables(rest.tables, expected.tables, tolerance=1e-12)


@pytest.mark.slow
def test_two_processes_give_what_one_gives():
    (expected,) = on_processes(sensitivity_on_a_share, 1, 19)
    for tables in on_processes(sensitivity_on_a_share, 2, 19):
        assert_same_tables(tables, expected, tolerance=1e-9)
