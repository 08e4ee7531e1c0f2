"""Fragility against the attacks and measures called by hand, merging, budgets and presets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from analyses.journals import eager_runner, merge_halves
from analyses.tables import assert_same_tables
from helpers import Memory, SmallBackbone, assert_untouched, fingerprint, small_batch, small_network
from torch import nn

from lightning_advinterp.analyses import Observation, Runner
from lightning_advinterp.analyses.fragility.analysis import FragilityAnalysis
from lightning_advinterp.analyses.fragility.config import FragilityConfig
from lightning_advinterp.analyses.fragility.learnt_patterns import learn_missing_patterns
from lightning_advinterp.analyses.fragility.tables import spread, summarised
from lightning_advinterp.attacks import ExplanationAttackConfig, create_explanation_attack
from lightning_advinterp.core.randomness import sample_keys
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.explanations import ExplanationConfig, Gradient, IntegratedGradients, Patterns, learn_patterns
from lightning_advinterp.metrics.faithfulness import deletion_insertion
from lightning_advinterp.metrics.heatmaps import compare_images, compare_inputs, compare_maps
from lightning_advinterp.metrics.intervals import wilson_interval
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.smoothing import smoothed_relu


class Chosen(Memory):
    """Images of which some are chosen and read by their places."""

    def choice(self, limit, seed):
        return torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:limit].tolist()

    def readable(self, places):
        return [self[place] for place in places]


def test_a_missing_file_of_patterns_is_learnt_once_from_the_data(tmp_path):
    network, batch, path = small_network(), small_batch(n=20), tmp_path / "patterns" / "small.safetensors"
    settings = {"count": 12, "seed": 3, "batch_size": 5}
    learn_missing_patterns(path, network, Chosen(batch), **settings)
    chosen = torch.randperm(20, generator=torch.Generator().manual_seed(3))[:12]
    expected = learn_patterns(network, batch.image[chosen].split(5)).values
    learnt = Patterns.load(path).values
    assert learnt.keys() == expected.keys()
    for name, pattern in learnt.items():
        torch.testing.assert_close(pattern, expected[name])
    before = path.stat().st_mtime_ns
    learn_missing_patterns(path, network, Chosen(batch), **settings)
    assert path.stat().st_mtime_ns == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with pytest.raises(ValueError, match="pattern_images=5 learns a file of patterns; say which, by patterns"):
        FragilityConfig(pattern_images=5)


CONFIG = FragilityConfig(
    methods=(ExplanationConfig("gradient"), ExplanationConfig("integrated_gradients", name="ig", steps=3)),
    attacks=(
        ExplanationAttackConfig("random_sign", eps="8/255", k=20),
        ExplanationAttackConfig("topk", softplus=5.0),
        ExplanationAttackConfig("target_map", name="other", eps="16/255", step_size="2/255", softplus=5.0),
    ),
    eps=("4/255", "16/255"),
    steps=3,
    faithfulness=4,
    pool=3,
    show=2,
    batch_size=2,
    seed=5,
)


def network_and_batch(n=7):
    """All images but numbers 42 and 43 are classified correctly."""
    network, batch = small_network().double(), small_batch(n=n, size=12, dtype=torch.float64)
    label = network(batch.image).argmax(1)
    label[2:4] = (label[2:4] + 1) % 5
    return network, Batch(batch.image, label, batch.index)


@pytest.fixture(scope="module")
def analysed():
    network, batch = network_and_batch()
    before = fingerprint(network)
    analysis = FragilityAnalysis(CONFIG)
    result = Runner(network, Memory(batch), batch_size=3).run([analysis])["fragility"]
    assert_untouched(network, before)
    return network.eval(), batch, analysis, result


def test_a_median_has_its_interval_beside_its_quantiles():
    values = [0.3, None, 0.1, float("nan"), 0.2, 0.6, 0.5, 0.4, 0.9]
    row = summarised("topk", values)
    assert list(row) == ["topk", "topk_q10", "topk_q90", "topk_low", "topk_high"]
    assert list(row.values()) == pytest.approx([0.4, 0.16, 0.72, 0.1, 0.9])
    assert set(summarised("topk", [None]).values()) == {None}


def rows_of(result, **columns):
    return [row for row in result.tables["fragility"] if all(row[key] == value for key, value in columns.items())]


def test_rows_are_what_attack_and_measures_say(analysed):
    network, batch, _, result = analysed
    right = [0, 1, 4, 5, 6]
    x, y, keys = batch.image[right], batch.label[right], sample_keys(batch.index[right], seed=5)
    for name, method in (("gradient", Gradient()), ("ig", IntegratedGradients(steps=3))):
        maps = method.map(network, x, y, keys=keys)
        for eps in (4 / 255, 16 / 255):
            config = ExplanationAttackConfig("topk", eps=eps, steps=3, step_size=2.5 * eps / 3, softplus=5.0)
            attack = create_explanation_attack(config, method).run(network, x, y, keys=keys)
            after = method.map(network, attack.x_adv, y, keys=keys)
            expected = compare_maps(maps, after)
            expected |= compare_inputs(x, attack.x_adv, network(x), network(attack.x_adv), y)
            expected |= compare_images(x, attack.x_adv)
            rows = [row for row in rows_of(result, method=name, attack="topk") if row["eps"] == pytest.approx(eps)]
            assert [row["image"] for row in rows] == batch.index[right].tolist()
            for place, row in enumerate(rows):
                for measure, values in expected.items():
                    assert row[measure] == pytest.approx(values[place].item(), abs=1e-9), measure
                assert row["success"] == attack.success[place]
                assert row["linf"] <= eps + 1e-12
            assert attack.success.any()


def test_columns_of_the_contract(analysed):
    *_, result = analysed
    first = ["image", "method", "attack", "eps", "topk", "spearman", "center_shift"]
    for row in result.tables["fragility"]:
        keys = list(row)
        assert keys[:7] == first
        assert keys.index("label_kept") + 1 == keys.index("linf") > 7
        assert isinstance(row["label_kept"], bool)
    assert len(result.tables["fragility"]) == 5 * 2 * (1 + 2 + 1)


def test_summary_has_quantiles_shares_and_reference_levels(analysed):
    _, _, analysis, result = analysed
    assert result.scalars["fragility/images"] == 5
    assert result.scalars["fragility/skipped"] == 2
    for row in result.tables["fragility_summary"]:
        rows = rows_of(result, method=row["method"], attack=row["attack"], eps=row["eps"])
        assert row["n"] == len(rows) == 5
        for measure in ("topk", "spearman", "center_shift", "linf"):
            low, middle, high = np.quantile([case[measure] for case in rows], (0.1, 0.5, 0.9))
            assert (row[f"{measure}_q10"], row[measure], row[f"{measure}_q90"]) == pytest.approx((low, middle, high))
        assert row["topk_low"] is row["topk_high"] is None  # five images are too few for an interval
        labels_kept = sum(case["label_kept"] for case in rows)
        assert (row["label_kept"], row["label_kept_low"], row["label_kept_high"]) == pytest.approx(
            (labels_kept / 5, *wilson_interval(labels_kept, 5))
        )
        level = np.median([rows[row["method"]]["spearman"] for rows in analysis.state.others.values()])
        assert row["spearman_other"] == pytest.approx(level)
        largest = max(case["eps"] for case in rows_of(result, method=row["method"], attack=row["attack"]))
        if row["eps"] == largest:
            key = f"fragility/{row['method']}/{row['attack']}"
            assert result.scalars[f"{key}/spearman"] == row["spearman"]
            assert result.scalars[f"{key}/label_kept"] == row["label_kept"]
    assert result.scalars["fragility/ig/other_image/topk"] == pytest.approx(
        np.median([rows["ig"]["topk"] for rows in analysis.state.others.values()])
    )


def test_reference_levels_are_of_other_images(analysed):
    network, batch, analysis, _ = analysed
    maps = Gradient().map(network, batch.image, batch.label)
    numbers, pool = batch.index.tolist(), sorted(analysis.state.pool)
    assert len(pool) == 3
    for number, levels in analysis.state.others.items():
        place = numbers.index(number)
        possible = [
            float(compare_maps(maps[place][None], maps[numbers.index(pooled)][None])["pcc"])
            for pooled in pool
            if pooled != number
        ]
        assert min(abs(levels["gradient"]["pcc"] - value) for value in possible) < 1e-9


def test_target_maps_are_the_least_similar_of_the_pool(analysed):
    network, batch, analysis, result = analysed
    numbers, pool = batch.index.tolist(), sorted(analysis.state.pool)
    maps = Gradient().map(network, batch.image, batch.label)
    for row in rows_of(result, method="gradient", attack="other"):
        place = numbers.index(row["image"])
        values = [np.corrcoef(maps[place].flatten(), maps[numbers.index(pooled)].flatten())[0, 1] for pooled in pool]
        assert row["target_pcc_before"] == pytest.approx(min(values), abs=1e-9)
        assert row["aim"] >= row["aim_before"] - 1e-15
        assert row["success"] == (row["aim"] > row["aim_before"])


def test_faithfulness(analysed):
    network, batch, analysis, result = analysed
    place = 4
    maps = Gradient().map(network, batch.image, batch.label)

    def score(images):
        return network(images).softmax(1)[:, batch.label[place]]

    mean = torch.tensor(network.mean, dtype=torch.float64)[:, None, None]
    x = batch.image[place][None]
    expected = [float(value) for value in deletion_insertion(score, x, maps[place][None], mean, 4)]
    curves = analysis.state.faithfulness[int(batch.index[place])]["gradient"]
    assert [curves["deletion"], curves["insertion"]] == pytest.approx(expected, abs=1e-6)  # probabilities are float32
    rows = {row["method"]: row for row in result.tables["fragility_methods"]}
    assert list(rows) == ["gradient", "ig", "random"]
    assert rows["random"]["deletion"] is not None


def test_courses_begin_at_zero_and_leave_out_the_control(analysed):
    *_, result = analysed
    rows = result.tables["fragility_convergence"]
    assert {row["attack"] for row in rows} == {"topk", "other"}
    assert all(row["gain"] == 0 for row in rows if row["step"] == 0)
    assert max(row["step"] for row in rows) == 3


def test_pictures_are_of_the_first_images_at_the_largest_radius(analysed):
    _, _, analysis, _ = analysed
    assert sorted(analysis.state.pictures) == [40, 41]
    picture = analysis.state.pictures[41]
    assert picture.image.shape == (12, 12, 3)
    assert set(picture.maps) == {"gradient", "ig"}
    assert {analysis.cases[number].eps for number in picture.cases} == {8 / 255, 16 / 255}


def test_parts_merge_to_the_whole(analysed):
    network, batch, _, result = analysed
    parts = [FragilityAnalysis(CONFIG) for _ in range(2)]

    def update(part, sweep, share):
        with frozen_eval(network):
            part.update(sweep, observation(network, share))

    merge_halves(parts, network, batch, update)
    for part in parts:
        assert_same_tables(part.result().tables, result.tables, 1e-7)
        assert sorted(part.state.pictures) == [40, 41]


def observation(network, batch):
    return Observation(batch.index, batch.label, {"real": batch.image}, {"real": network(batch.image)}, {}, {}, {})


def test_what_is_remembered_holds_no_batches(analysed):
    _, _, analysis, _ = analysed
    tensors = [image for _, _, image in analysis.state.pool.values()]
    tensors += [course for image_courses in analysis.state.courses.values() for course in image_courses.values()]
    for tensor in tensors:
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_an_attack_on_another_method_s_maps():
    """What is found on the gradient map is measured on the smoothed one."""
    network, batch = network_and_batch()
    smooth = ExplanationConfig("gradient", name="smooth", softplus=2.0)
    attack = ExplanationAttackConfig("topk", name="transfer", of="gradient", softplus=5.0)
    config = replace(CONFIG, methods=(ExplanationConfig("gradient"), smooth), attacks=(attack,), eps=("16/255",))
    result = Runner(network, Memory(batch)).run([FragilityAnalysis(config)])["fragility"]
    network.eval()
    right = [0, 1, 4, 5, 6]
    x, y, keys = batch.image[right], batch.label[right], sample_keys(batch.index[right], seed=5)
    same = replace(attack, eps="16/255", steps=3, step_size=2.5 * 16 / 255 / 3)
    x_adv = create_explanation_attack(same, Gradient())(network, x, y, keys=keys)
    for name, method in (("gradient", Gradient()), ("smooth", Gradient(softplus=2.0))):
        expected = compare_maps(method.map(network, x, y), method.map(network, x_adv, y))["spearman"]
        correlations = [row["spearman"] for row in rows_of(result, method=name)]
        assert correlations == pytest.approx(expected.tolist(), abs=1e-9)


def test_an_interrupted_run_goes_on(analysed, tmp_path):
    network, batch, _, result = analysed
    journal = tmp_path / "journal"
    analysis = FragilityAnalysis(CONFIG)

    class Stops(FragilityAnalysis):
        def update(self, sweep, observation):
            if sweep == 1 and 44 in observation.index.tolist():
                raise KeyboardInterrupt
            super().update(sweep, observation)

    runner = eager_runner(network, Memory(batch), batch_size=2, journal=journal)
    with pytest.raises(KeyboardInterrupt):
        runner.run([Stops(CONFIG)])
    again = Runner(network, Memory(batch), batch_size=2, journal=journal).run([analysis])["fragility"]
    assert_same_tables(again.tables, result.tables, 1e-7)


def test_a_time_limit_leaves_images_out_and_says_how_many(caplog):
    network, batch = network_and_batch()
    config = replace(CONFIG, seconds=1e-9, attacks=CONFIG.attacks[:1])
    result = Runner(network, Memory(batch), batch_size=7).run([FragilityAnalysis(config)])["fragility"]
    assert result.scalars["fragility/images"] == 1  # the first image is always taken
    assert result.scalars["fragility/left"] == 4
    assert {row["image"] for row in result.tables["fragility"]} == {40}
    assert "was up after 1 images; 4 are left out (image 4" in caplog.text


def test_a_time_limit_holds_within_the_first_batch(monkeypatch):
    """An image takes 1 s: after the first one there is time for two more, in whatever batches."""
    network, batch = network_and_batch()
    now, sizes = [0.0], []

    class Timed(FragilityAnalysis):
        def _measure(self, index, x, y):
            now[0] += len(index)
            sizes.append(len(index))
            super()._measure(index, x, y)

    monkeypatch.setattr("lightning_advinterp.analyses.fragility.analysis.time.monotonic", lambda: now[0])
    analysis = Timed(replace(CONFIG, seconds=3.5, attacks=CONFIG.attacks[:1], batch_size=8))
    analysis.bind(network)
    with frozen_eval(network):
        for sweep in range(2):
            analysis.update(sweep, observation(network, batch))
            analysis.settle(sweep)
    assert sizes == [1, 2]
    assert analysis.result().scalars["fragility/left"] == 2


def test_nothing_is_classified_correctly(caplog):
    network, batch = network_and_batch()
    wrong = Batch(batch.image, (network(batch.image).argmax(1) + 1) % 5, batch.index)
    result = Runner(network, Memory(wrong)).run([FragilityAnalysis(CONFIG)])["fragility"]
    assert result.tables["fragility"] == []
    assert result.scalars == {"fragility/images": 0, "fragility/skipped": 7, "fragility/left": 0}
    assert "fragility: 0 of 7 images were taken; 7 are classified wrongly and left out. Raise limit" in caplog.text


def test_one_right_image_alone_has_no_reference_level_and_no_target(caplog):
    network, batch = network_and_batch()
    label = network(batch.image).argmax(1)
    label[1:] = (label[1:] + 1) % 5
    attacks = (ExplanationAttackConfig("random_sign"), ExplanationAttackConfig("target_map", steps=1))
    config = replace(CONFIG, methods=CONFIG.methods[:1], attacks=attacks)
    result = Runner(network, Memory(Batch(batch.image, label, batch.index))).run([FragilityAnalysis(config)])
    rows = result["fragility"].tables["fragility"]
    assert {row["attack"] for row in rows} == {"random_sign"}
    assert "no other image is classified rightly" in caplog.text


@pytest.mark.parametrize("parts", [1, 2])
def test_a_softplus_that_loses_the_classes_is_said(parts, caplog):
    network, batch = network_and_batch()
    methods = [ExplanationConfig("gradient")]
    methods += [
        ExplanationConfig("gradient", name=name, softplus=beta) for name, beta in (("near", 1e4), ("far", 0.02))
    ]
    config = replace(CONFIG, methods=tuple(methods), attacks=CONFIG.attacks[:1])
    merged = FragilityAnalysis(config)
    for part in range(parts):
        analysis = FragilityAnalysis(config)
        Runner(network, Memory(Batch(*(field[part::parts] for field in batch)))).run([analysis])
        merged.merge(analysis.state_dict())
    caplog.clear()
    result = merged.result()
    rows = {row["method"]: row for row in result.tables["fragility_methods"]}
    right = network(batch.image).argmax(1) == batch.label
    with smoothed_relu(0.02):
        share_kept = (network(batch.image).argmax(1) == batch.label)[right].double().mean().item()
    assert share_kept < 0.9
    assert rows["near"]["smooth_kept"] == 1
    assert (
        rows["far"]["smooth_kept"] == result.scalars["fragility/far/softplus/smooth_kept"] == pytest.approx(share_kept)
    )
    bounds = (rows["far"]["smooth_kept_low"], rows["far"]["smooth_kept_high"])
    assert bounds == pytest.approx(wilson_interval(round(5 * share_kept), 5))
    assert rows["gradient"]["smooth_kept"] is None
    assert "of method far" in caplog.text
    assert "of method near" not in caplog.text


def test_one_image_has_no_others():
    network, batch = network_and_batch()
    only = Batch(*(field[:1] for field in batch))
    result = Runner(network, Memory(only)).run([FragilityAnalysis(CONFIG)])["fragility"]
    assert {row["attack"] for row in result.tables["fragility"]} == {"random_sign", "topk"}
    assert all(row["spearman_other"] is None for row in result.tables["fragility_summary"])


class Gated(SmallBackbone):
    """A network that propagation rules refuse."""

    def __init__(self):
        super().__init__()
        self.relu2 = nn.Sigmoid()


def test_methods_that_refuse_a_network(tmp_path):
    torch.manual_seed(0)
    network = Network(Gated(), name="gated", num_classes=5, input_size=12).eval()
    preset = FragilityAnalysis(FragilityConfig("recommended", steps=1))
    preset.bind(network)
    assert set(preset.methods) == {"gradient", "integrated_gradients"}
    assert "relu2" in preset.refused["lrp"]
    assert {case.method for case in preset.cases} == set(preset.methods)
    assert {row["method"] for row in preset.result().tables["fragility_methods"] if row.get("refused")} == {
        "deeplift",
        "lrp",
    }
    analysis = FragilityAnalysis(FragilityConfig(methods=(ExplanationConfig("lrp"),), steps=1))
    with pytest.raises(ValueError, match=r"fragility\.methods: lrp: .*relu2"):
        analysis.bind(network)
    patterns = tmp_path / "patterns.safetensors"
    learn_patterns(small_network(), [small_batch(size=12).image]).save(patterns)
    analysis = FragilityAnalysis(FragilityConfig("dombrowski2019", patterns=str(patterns), steps=1))
    with pytest.raises(ValueError, match=r"fragility\.patterns: pattern_attribution: .*relu2"):
        analysis.bind(network)


def test_presets():
    ghorbani = FragilityConfig("ghorbani2019").cases()
    assert {case.method for case in ghorbani} == {"gradient", "integrated_gradients", "deeplift"}
    for case in ghorbani:
        deeplift = case.method == "deeplift"
        assert case.eps == pytest.approx((16 if deeplift else 8) / 255)
        assert (case.attack.steps, case.attack.criterion) == (300, "topk")
        assert case.attack.step_size == ("0.1/255" if deeplift else "0.5/255")
        if case.attack.type != "random_sign":
            assert case.attack.softplus == (0.0 if deeplift else 1.0)
    swept = FragilityConfig("ghorbani2019", eps=("1/255", "2/255"), steps=10).cases()
    assert {round(255 * case.eps) for case in swept} == {1, 2}
    assert {case.attack.steps for case in swept} == {10}
    dombrowski = {case.method: case for case in FragilityConfig("dombrowski2019").cases()}
    assert len(dombrowski) == 5
    assert all(case.eps == 1.0 and case.attack.penalty == 5e-4 for case in dombrowski.values())
    assert dombrowski["lrp"].attack.step_size == pytest.approx(4.5e-5)
    assert dombrowski["lrp"].attack.softplus == 0.0
    assert (dombrowski["integrated_gradients"].attack.steps, dombrowski["gradient"].attack.steps) == (500, 1500)
    assert dombrowski["gradient"].attack.softplus == (10.0, 100.0)
    six = {case.method: case for case in FragilityConfig("dombrowski2019", patterns="FILE").cases()}
    assert set(six) == {*dombrowski, "pattern_attribution"}
    attack = six["pattern_attribution"].attack
    assert (attack.steps, attack.softplus, attack.step_size) == (1500, (10.0, 100.0), pytest.approx(2e-3 * 0.225))
    assert len(FragilityConfig().cases()) == 3 * 3 * 2
    recommended = FragilityConfig("recommended").cases()
    assert len(recommended) == 4 * 4 * 4
    assert {case.attack.steps for case in recommended} == {20}
    for case in recommended:
        assert case.attack.step_size == pytest.approx(case.eps / 8)


def test_a_single_step_is_one_shot():
    (case,) = FragilityConfig(
        methods=(ExplanationConfig(),), attacks=(ExplanationAttackConfig("random_sign"),), eps=("4/255",), steps=1
    ).cases()
    assert case.attack.step_size is None
    assert case.attack.steps == 1
    kinds = (ExplanationAttackConfig("random_sign", name="once", steps=1), ExplanationAttackConfig("random_sign"))
    once, walk = FragilityConfig(methods=(ExplanationConfig(),), attacks=kinds, eps=("4/255",), steps=20).cases()
    assert (once.attack.steps, once.attack.step_size) == (1, None)
    assert walk.attack.steps == 20


def test_cost_counts_the_passes():
    """The network's own passes are counted; the steps of a gradient map are known."""
    network, batch = network_and_batch()
    methods = (ExplanationConfig("gradient"), ExplanationConfig("integrated_gradients", steps=3))
    attacks = (ExplanationAttackConfig("topk", softplus=5.0), ExplanationAttackConfig("random_sign", k=20))
    attacks += (ExplanationAttackConfig("target_map", target="centre", check_every=2, penalty=0.0),)
    analysis = FragilityAnalysis(FragilityConfig(methods=methods, attacks=attacks, eps=("4/255",), steps=5))
    forwards, _ = analysis.bind(network).passes
    counted = []
    right = Batch(*(field[[0, 1, 4, 5, 6]] for field in batch))
    with frozen_eval(network):
        observed = observation(network, right)
        analysis.update(0, observed)
        handle = network.backbone.register_forward_hook(lambda _, images, result: counted.append(len(result)))
        analysis.update(1, observed)
        handle.remove()
    assert sum(counted) == 5 * forwards + 4 * (1 + 3)  # the maps of the pool's four images
    alone = FragilityConfig(methods=methods[1:], attacks=attacks[:1], eps=("4/255",), steps=5, faithfulness=0)
    # maps: before, the attack's first, checked and last ones, after; five that are climbed; predictions beside
    assert FragilityAnalysis(alone).bind(network).passes == (2 + 9 * 3 + 5 * 3 + 1 + 5, 9 * 3 + 5 * 9)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "ghorbani"}, "preset must be one of"),
        ({"pool": 1}, "pool must be 2"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"attacks": ()}, "attacks: expected at least one"),
        ({"eps": ("8",)}, "in 0-255 units"),
        ({"attacks": (ExplanationAttackConfig("topk", of="ig"),)}, "of must name one of the methods gradient, deep"),
        ({"attacks": (ExplanationAttackConfig("topk"),) * 2}, "needs a name of its own"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        FragilityConfig(**wrong)


def test_a_constant_map_has_no_correlation():
    """NaN is missing, and medians leave it out."""
    assert spread([math.nan, 1.0, None, 3.0]) == pytest.approx((1.2, 2.0, 2.8))
    assert spread([math.nan]) == (None, None, None)
