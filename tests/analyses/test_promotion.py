"""The question of promotion against loops over images and cells, and what its tables count."""

import io
import math
from itertools import combinations

import pytest
import torch
from analyses.journals import eager_runner
from analyses.tables import assert_same_tables, missing
from helpers import Memory, PooledLinear, assert_untouched, fingerprint, small_batch, small_network
from processes import on_processes, promotion_on_a_share
from reference import promotion as literal
from rich.console import Console
from scipy.stats import spearmanr

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.base.watch import UNWATCHED
from lightning_advinterp.analyses.promotion.analysis import PromotionAnalysis
from lightning_advinterp.analyses.promotion.config import PromotionConfig
from lightning_advinterp.analyses.promotion.maps import Maps
from lightning_advinterp.analyses.promotion.question import Promotion
from lightning_advinterp.attacks import AttackConfig, sample_keys
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.randomness import mixed_seed
from lightning_advinterp.explanations import CAM
from lightning_advinterp.metrics.interpretability import PERCENTILES, interpretability_scores
from lightning_advinterp.networks import Network

ATTACKS = [AttackConfig("fgsm", "64/255"), AttackConfig("pgd", "128/255", steps=6, target=4)]
CONFIG = PromotionConfig(cell=5, screening=True, chunk=7, show=2)
COUNT = 9
FORMS = [(e, f) for e in ("remove", "add", "symmetric") for f in ("raw", "centred", "log_probability")]


def run(data, config=CONFIG, configs=ATTACKS, network=None, **options):
    attacks = create_attacks(configs)
    network = small_network().double() if network is None else network
    runner = Runner(network, data, attacks=attacks, seed=4, **({"batch_size": 4} | options))
    return runner.run([PromotionAnalysis(config, attacks, list("abcde"))])["promotion"]


def batch():
    return small_batch(n=COUNT, dtype=torch.float64)


@pytest.fixture(scope="module")
def result():
    network = small_network().double()
    before = fingerprint(network)
    result = run(Memory(batch()), network=network)
    assert_untouched(network, before)
    return result


def attacked():
    """By attack: image number to (x, x', target, true), of the images on which it succeeds."""
    data, network, kinds = batch(), small_network().double(), {}
    for kind, attack in create_attacks(ATTACKS).items():
        x_adv = attack(network, data.image, data.label, keys=sample_keys(data.index, seed=4))
        predicted = network(x_adv).argmax(1)
        target = predicted if kind == "fgsm" else torch.full_like(predicted, 4)
        fine = (predicted == target) & (target != data.label)
        kinds[kind] = {
            int(number): (data.image[i], x_adv[i], int(target[i]), int(data.label[i]))
            for i, number in enumerate(data.index)
            if fine[i]
        }
    assert all(0 < len(images) < COUNT for images in kinds.values()), "some fail, and some do not"
    return kinds


def test_cells_equal_a_loop_over_cells(result):
    network, rows = small_network().double(), iter(result.tables["promotion"])
    for kind, images in attacked().items():
        for number, (x, x_adv, target, true) in images.items():
            scores = literal.cell_scores(network, x[None], x_adv[None], torch.tensor([target]), torch.tensor([true]), 5)
            effects = literal.effects([part[0] for part in scores])
            for effect, logits in FORMS:
                for cell, (t, s) in enumerate(effects[effect, logits]):
                    row = next(rows)
                    assert (row["image"], row["images"], row["effect"]) == (number, kind, effect)
                    assert (row["logits"], row["cell"]) == (logits, cell)
                    assert (row["promotion"], row["suppression"]) == pytest.approx((t, s), rel=1e-7, abs=1e-10)
                    assert row["sensitivity"] == pytest.approx(t + s, rel=1e-7, abs=1e-10)
                    top, left = 5 * (cell // 4), 5 * (cell % 4)
                    norm = float((x_adv - x)[:, top : top + 5, left : left + 5].norm())
                    assert row["delta_l2"] == pytest.approx(norm)
                    name, counter, ratio = literal.kind_of_cell(t, s, norm, 1e-3, 1.0)
                    assert (row["type"], row["counter"]) == (name, counter)
                    assert row["ratio"] == pytest.approx(ratio, rel=1e-6, abs=1e-9)
    assert next(rows, None) is None
    leading = ["image", "images", "eps", "effect", "logits", "cell", "promotion", "suppression", "ratio", "type"]
    assert list(result.tables["promotion"][0])[:12] == [*leading, "counter", "delta_l2"]


def cells_of(result, kind, form):
    return [row for row in result.tables["promotion"] if (row["images"], row["effect"], row["logits"]) == (kind, *form)]


def test_the_summary_counts_the_rows(result):
    summary = {
        tuple(row[key] for key in ("images", "effect", "logits", "xi", "threshold", "type")): row
        for row in result.tables["promotion_summary"]
    }
    assert len(summary) == len(result.tables["promotion_summary"]) == 2 * 9 * 12 * 6
    for (kind, effect, logits, xi, threshold, name), row in summary.items():
        cells = cells_of(result, kind, (effect, logits))
        types = [
            literal.kind_of_cell(cell["promotion"], cell["suppression"], cell["delta_l2"], xi, threshold)[:2]
            for cell in cells
        ]
        of_type = [counter if name == "counter" else cell_type == name for cell_type, counter in types]
        active = [cell_type != "inactive" for cell_type, _ in types]
        total = len(cells) if name == "inactive" else sum(active)
        assert row["n"] == total
        assert row["share"] == pytest.approx(sum(of_type) / total)
        weights = [cell["delta_l2"] for cell in cells]
        assert row["share_by_l2"] == pytest.approx(
            sum(w for w, is_of_type in zip(weights, of_type, strict=True) if is_of_type) / sum(weights)
        )
        assert row["share_low"] <= row["share"] + 1e-9
        assert row["share"] - 1e-9 <= row["share_high"]
        if name not in ("counter", "inactive") and any(of_type):
            both = sum(1 for cell_type, counter in types if cell_type == name and counter)
            assert row["counter_within"] == pytest.approx(both / sum(of_type))
    assert list(result.tables["promotion_summary"][0])[:11] == [
        *("images", "effect", "logits", "xi", "threshold", "type"),
        *("share", "share_low", "share_high", "share_by_l2", "n"),
    ]


def test_agreement_counts_equal_types(result):
    rows = result.tables["promotion_agreement"]
    for kind in ("fgsm", "pgd"):
        types = {form: [cell["type"] for cell in cells_of(result, kind, form)] for form in FORMS}
        agreements = [row for row in rows if row["images"] == kind]
        assert len(agreements) == 37
        for row, (first, second) in zip(agreements, combinations(FORMS, 2), strict=False):
            assert (row["effect"], row["logits"], row["other_effect"], row["other_logits"]) == (*first, *second)
            same = [a == b for a, b in zip(types[first], types[second], strict=True)]
            assert row["agreement"] == pytest.approx(sum(same) / len(same))
            chance = (
                sum(types[first].count(name) * types[second].count(name) for name in set(types[first])) / len(same) ** 2
            )
            assert row["chance"] == pytest.approx(chance)
        alike = [len(set(cell_types)) == 1 for cell_types in zip(*types.values(), strict=True)]
        assert agreements[-1]["effect"] == "all"
        assert agreements[-1]["agreement"] == pytest.approx(sum(alike) / len(alike))
        assert result.scalars[f"promotion/{kind}/agreement"] == agreements[-1]["agreement"]


def test_conclusions_are_those_of_the_shares(result):
    summary = result.tables["promotion_summary"]
    for row in result.tables["promotion_conclusions"]:
        first, second = row["claim"].split(" > ")
        shares = {}
        for entry in summary:
            at_settings = (entry["xi"], entry["threshold"]) == (1e-3, 1.0)
            if entry["images"] == row["images"] and (row["scope"] == "sweep" or at_settings):
                for weighing in ("share", "share_by_l2"):
                    form = (entry["effect"], entry["logits"], entry["xi"], entry["threshold"], weighing)
                    shares.setdefault(form, {})[entry["type"]] = entry[weighing]
        showing = sum(share[first] > share[second] + 1e-12 for share in shares.values())
        assert row["forms"] == len(shares) == (216 if row["scope"] == "sweep" else 18)
        assert row["showing"] == showing
        assert row["holds"] == (showing == len(shares))
        assert row["surely"] + row["contrary"] <= row["forms"]
    assert len(result.tables["promotion_conclusions"]) == 2 * 2 * 3


def test_sums_and_whole_effects(result):
    network = small_network().double()
    images = attacked()
    for row in result.tables["promotion_completeness"]:
        x, x_adv, target, true = images[row["images"]][row["image"]]
        assert (row["target"], row["true"]) == (target, true)
        cells = [
            cell
            for cell in cells_of(result, row["images"], (row["effect"], row["logits"]))
            if cell["image"] == row["image"]
        ]
        assert row["promotion"] == pytest.approx(sum(cell["promotion"] for cell in cells))
        assert row["suppression"] == pytest.approx(sum(cell["suppression"] for cell in cells))
        if row["logits"] == "raw":
            with torch.no_grad():
                gain = (network(x_adv[None]) - network(x[None]))[0]
            assert row["promotion_whole"] == pytest.approx(float(gain[target]), rel=1e-6)
            assert row["suppression_whole"] == pytest.approx(-float(gain[true]), rel=1e-6)
    for row in result.tables["promotion_completeness_summary"]:
        entries = [
            entry
            for entry in result.tables["promotion_completeness"]
            if all(entry[key] == row[key] for key in ("images", "effect", "logits"))
        ]
        for name in ("promotion", "suppression"):
            total = sum(entry[f"{name}_whole"] for entry in entries)
            assert row[name] == pytest.approx(sum(entry[name] for entry in entries) / total)


def test_interpretability_scores_of_all_pairs(result):
    data, network = batch(), small_network().double()
    attacks = create_attacks(ATTACKS)
    ranked = sorted(data.index.tolist(), key=lambda number: mixed_seed(CONFIG.seed, number, 0x6F74686572))
    rows = {
        tuple(row[key] for key in ("image", "images", "map", "of", "class", "percentile")): row
        for row in result.tables["promotion_is"]
    }
    assert len(rows) == COUNT * 2 * 2 * 4 * len(PERCENTILES)
    for kind, attack in attacks.items():
        x_adv = attack(network, data.image, data.label, keys=sample_keys(data.index, seed=4))
        predicted = network(x_adv).argmax(1)
        target = predicted if kind == "fgsm" else torch.full_like(predicted, 4)
        for i, number in enumerate(data.index.tolist()):
            foreign_number = ranked[0] if number != ranked[0] else ranked[1]
            u = data.image[data.index.tolist().index(foreign_number)]
            delta = (x_adv[i] - data.image[i])[None]
            t, y = target[i : i + 1], data.label[i : i + 1]
            images = {"real": data.image[i], "adversarial": x_adv[i]}
            for of, which in (("real", "true"), ("real", "target"), ("adversarial", "true"), ("adversarial", "target")):
                c, c2 = (y, t) if which == "true" else (t, y)
                maps = {
                    "cam": lambda image, c=c, c2=c2: (
                        CAM(interpolation="bicubic").explain(network, image[None], c).sum(1, keepdim=True)
                    )
                }
                maps["asm"] = lambda image, c=c, c2=c2: slope(network, image, c) * slope(network, image, c2).abs()
                for name, map_of in maps.items():
                    scores, rolled = interpretability_scores(delta, map_of(images[of]), nonzero=name == "asm")
                    foreign, _ = interpretability_scores(delta, map_of(u), nonzero=name == "asm")
                    for place, percentile in enumerate(PERCENTILES):
                        row = rows[number, kind, name, of, which, percentile]
                        if t == y and (name == "asm" or which == "target"):
                            assert missing(row["score"])
                            continue
                        for key, values in (("score", scores), ("rolled", rolled), ("other", foreign)):
                            value = float(values[0, place])
                            assert row[key] == (None if math.isnan(value) else pytest.approx(value, rel=1e-6, abs=1e-9))
                        assert row["chance"] == math.sqrt(1 - percentile / 100)
    assert list(result.tables["promotion_is"][0])[:9] == [
        *("image", "images", "map", "of", "class", "percentile", "score", "chance", "rolled"),
    ]


def slope(network, image, c):
    leaf = image[None].clone().requires_grad_()
    return torch.autograd.grad(network(leaf)[0, int(c)], leaf)[0]


def test_the_summary_of_scores_is_of_successes(result):
    for row in result.tables["promotion_is_summary"]:
        keys = ("images", "map", "of", "class", "percentile")
        reached_rows = [
            entry
            for entry in result.tables["promotion_is"]
            if entry["reached"] and all(entry[key] == row[key] for key in keys)
        ]
        scores = [entry["score"] for entry in reached_rows if not missing(entry["score"])]
        assert (row["n"], row["missing"]) == (len(scores), len(reached_rows) - len(scores))
        assert row["score"] == pytest.approx(sum(scores) / len(scores))
        assert row["minus_chance"] == pytest.approx(row["score"] - row["chance"])
        assert row["minus_rolled"] == pytest.approx(row["score"] - row["rolled"])
        assert row["minus_chance_low"] <= row["minus_chance"] <= row["minus_chance_high"]
        if row["percentile"] == 70:
            key = f"promotion/{row['images']}/is_{row['map']}_{row['of']}_{row['class']}_minus_chance"
            assert result.scalars[key] == row["minus_chance"]


def test_correlations_over_cells(result):
    network, images = small_network().double(), attacked()
    rows = [row for row in result.tables["promotion_correlation"] if row["map"] == "cam" and row["of"] == "real"]
    assert rows
    for row in rows:
        values = []
        for number, (x, _, target, true) in images[row["images"]].items():
            c = true if row["class"] == "true" else target
            heatmap = CAM(interpolation="bicubic").explain(network, x[None], torch.tensor([c])).sum(1)[0]
            means = [
                float(heatmap[top : top + 5, left : left + 5].mean())
                for top in range(0, 16, 5)
                for left in range(0, 16, 5)
            ]
            cells = [
                cell[row["quantity"]]
                for cell in cells_of(result, row["images"], (row["effect"], row["logits"]))
                if cell["image"] == number
            ]
            values.append(spearmanr(cells, means).statistic)
        assert row["correlation"] == pytest.approx(sum(values) / len(values), abs=1e-9)
        assert row["minus_rolled"] == pytest.approx(row["correlation"] - row["rolled"], abs=1e-9)


def test_screening_finds_cells_by_gradients(result):
    network, images = small_network().double(), attacked()
    for row in result.tables["promotion_screening"]:
        recalls = []
        for number, (x, x_adv, target, true) in images[row["images"]].items():
            slopes = [slope(network, image, target) - slope(network, image, true) for image in (x_adv, x)]
            weights = {"remove": (1, 0), "add": (0, 1), "symmetric": (0.5, 0.5)}[row["effect"]]
            product = sum(w * (gradient[0] * (x_adv - x)).sum(0) for w, gradient in zip(weights, slopes, strict=True))
            first = [
                abs(float(product[top : top + 5, left : left + 5].sum()))
                for top in range(0, 16, 5)
                for left in range(0, 16, 5)
            ]
            exact = [
                abs(cell["sensitivity"])
                for cell in cells_of(result, row["images"], (row["effect"], "raw"))
                if cell["image"] == number
            ]
            k = max(1, round(16 * row["top"]))
            best = [set(sorted(range(16), key=lambda i, v=v: -v[i])[:k]) for v in (exact, first)]
            recalls.append(len(best[0] & best[1]) / k)
        assert row["recall"] == pytest.approx(sum(recalls) / len(recalls))
        assert (row["cells"], row["chance"]) == (k, k / 16)


def test_failures_are_counted_and_said(result, caplog):
    images = attacked()
    for kind in images:
        assert result.scalars[f"promotion/{kind}/failed"] == COUNT - len(images[kind])
    unmoved = run(Memory(batch()), configs=[AttackConfig("fgsm", "0/255", target=3)])
    assert unmoved.tables["promotion"] == unmoved.tables["promotion_summary"] == []
    assert f"promotion: fgsm fails on {COUNT} of {COUNT} images" in caplog.text
    assert all(missing(row["score"]) for row in unmoved.tables["promotion_is"]), "δ = 0"
    question = Promotion(cell=5)
    assert question.figures(unmoved, "net") == {}
    assert question.brief(unmoved, "net").row_count == 0


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 9}])
def test_does_not_depend_on_batches(result, options):
    config = PromotionConfig(cell=5, screening=True, chunk=100, show=2, batch_size=3)
    rebatched = run(Memory(batch()), config, **options)
    assert_same_tables(rebatched.tables, result.tables, tolerance=1e-6)
    assert rebatched.arrays.keys() == result.arrays.keys()


def test_parts_merge_into_one(result):
    """As two processes would, which the next test does in earnest."""
    data, attacks = batch(), create_attacks(ATTACKS)
    parts = [PromotionAnalysis(CONFIG, attacks, list("abcde")) for _ in range(2)]
    plans, pool = [], {}
    for part, start in zip(parts, (0, 1), strict=True):
        share = type(data)(*(field[start::2] for field in data))
        runner = Runner(small_network().double(), Memory(share), attacks=attacks, seed=4, batch_size=4)
        plans.append(part.bind(runner.network))
        for _, observation in runner._sweep(plans[-1].sweeps[0], range(len(share.label)), 0, UNWATCHED):
            part.update(0, observation)
        pool |= part.pool
    for part, plan, start in zip(parts, plans, (0, 1), strict=True):
        part.pool = dict(pool)
        part._trim()
        share = type(data)(*(field[start::2] for field in data))
        runner = Runner(small_network().double(), Memory(share), attacks=attacks, seed=4, batch_size=4)
        for _, observation in runner._sweep(plan.sweeps[1], range(len(share.label)), 0, UNWATCHED):
            part.update(1, observation)
    parts[0].merge(parts[1].state_dict())
    by_runner = ("norm", "success")  # which adds them to the rows of attacks
    expected = {
        name: [{key: value for key, value in row.items() if key not in by_runner} for row in rows]
        for name, rows in result.tables.items()
    }
    assert_same_tables(parts[0].result().tables, expected, tolerance=1e-6)


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_report_what_one_reports(result):
    for tables in on_processes(promotion_on_a_share, 2, COUNT):
        assert_same_tables(tables, result.tables, tolerance=1e-6)


def test_an_interrupted_run_goes_on(result, tmp_path):
    attacks = create_attacks(ATTACKS)

    def start(readings):
        data = Memory(batch(), readings=readings)
        options = {"attacks": attacks, "seed": 4, "batch_size": 4, "journal": tmp_path / "state"}
        runner = eager_runner(small_network().double(), data, **options)
        return runner.run([PromotionAnalysis(CONFIG, attacks, list("abcde"))])["promotion"]

    for readings in (5, COUNT):  # in the first sweep, and in the second
        with pytest.raises(OSError, match="power cut"):
            start(readings)
    resumed = start(COUNT)
    assert_same_tables(resumed.tables, result.tables)


def test_which_maps_a_network_has():
    plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 3))
    assert Maps(small_network()).names == ("cam", "asm")
    assert Maps(Network(PooledLinear(3), name="p", num_classes=3, input_size=12, head="fc")).names == (
        "grad_cam",
        "asm",
    )
    assert Maps(Network(plain, name="flat", num_classes=3, input_size=8, head="1")).names == ("asm",)


def test_images_that_are_not_square_and_a_linear_network():
    network = Network(PooledLinear(3), name="linear", num_classes=3, input_size=12, head="fc").double().eval()
    data = small_batch(n=6, num_classes=3, dtype=torch.float64)
    wide = type(data)(torch.rand(6, 3, 9, 20, dtype=torch.float64), data.label, data.index)
    result = run(Memory(wide), PromotionConfig(cell=4), [AttackConfig("pgd", "200/255", steps=9)], network)
    cells = {row["cell"] for row in result.tables["promotion"]}
    assert cells == set(range(3 * 5))
    assert {row["map"] for row in result.tables["promotion_is"]} == {"grad_cam", "asm"}
    for row in result.tables["promotion_completeness_summary"]:
        if row["logits"] != "log_probability":
            assert (row["promotion"], row["suppression"]) == pytest.approx((1, 1), abs=1e-10), "a linear network"
    assert {
        row["agreement"]
        for row in result.tables["promotion_agreement"]
        if "log_probability" not in row.values() and row["effect"] != "all" and row["logits"] == row["other_logits"]
    } == {1.0}


def test_all_columns_are_declared(result):
    declared = {table.name: [column.name for column in table.columns] for table in Promotion.tables}
    assert {name for name, rows in result.tables.items() if rows} == set(declared)
    for name, rows in result.tables.items():
        assert [key for key in rows[0] if key not in ("norm", "success")] == declared[name], name


def test_what_is_printed_and_drawn(result):
    question = Promotion(cell=5)
    console = Console(file=io.StringIO(), width=140)
    console.print(question.brief(result, "net"))
    text = console.file.getvalue()
    assert "net: shares of cells by type, ξ = 0.001, threshold 1" in text
    assert text.count("remove, log p") == 2
    agreement = [row for row in result.tables["promotion_agreement"] if row["effect"] == "all"]
    for row in agreement:
        assert (
            f"{row['images']}: {100 * row['agreement']:.1f} % of the cells have one type under all nine forms" in text
        )
    conclusions = [row for row in result.tables["promotion_conclusions"] if row["holds"]]
    for row in conclusions:
        assert row["claim"] in text
    figures = question.figures(result, "net")
    assert list(figures) == ["promotion", "promotion_agreement", "promotion_is", "promotion_fgsm", "promotion_pgd"]
    rows = [row for row in result.tables["promotion_pictures"] if row["images"] == "fgsm"]
    shown = [axes for axes in figures["promotion_fgsm"].axes if axes.images]
    assert len(rows) == 2
    assert len(shown) == 18
    cells = [row for row in cells_of(result, "fgsm", ("add", "raw")) if row["image"] == rows[0]["image"]]
    types = result.arrays[rows[0]["types"]][1, 0].flatten().tolist()
    names = ("suppression", "balanced", "promotion", "inert", "inactive")
    assert [names[code] for code in types] == [row["type"] for row in cells]
    assert shown[5].images[0].get_array().flatten().tolist() == types


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"limit": 0}, "limit must be 1 or more, got 0"),
        ({"cell": 0}, "cell must be 1 pixel or more, got 0"),
        ({"xi": 0.0}, "xi must be a finite number above 0, got 0.0"),
        ({"threshold": float("inf")}, "threshold must be a finite number above 0"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        PromotionConfig(**wrong)


def test_a_cell_that_is_larger_than_the_images_is_refused_before_any_work():
    with pytest.raises(ValueError, match=r"promotion\.cell must be 1 to 16 pixels, the image's longer side, got 17"):
        PromotionAnalysis(PromotionConfig(cell=17)).bind(small_network())
