"""Detection from images to tables: disjoint parts, numbers against torchmetrics, processes, interruptions."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from analyses.journals import eager_runner
from analyses.tables import assert_same_tables
from detection_runs import ATTACKS, SIMILARITY, Numbered, analysis_of, labelled, run_detection, sharp_network
from helpers import fingerprint
from processes import detection_on_a_share, on_processes
from torch.autograd import gradcheck
from torchmetrics.functional.classification import binary_auroc

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.detection.adaptive import AdaptiveAttack
from lightning_advinterp.analyses.detection.config import DETECTORS, DetectionConfig
from lightning_advinterp.analyses.detection.evasion import Evasion, Level
from lightning_advinterp.analyses.detection.parts import check_spread, divide
from lightning_advinterp.analyses.detection.question import Detection
from lightning_advinterp.analyses.detection.scorer import Scorer
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.result import REAL
from lightning_advinterp.metrics.detection_scores import TRUST


@cache
def whole():
    return run_detection()


def test_no_image_serves_twice():
    data, attacks = Numbered(labelled(140)), create_attacks(ATTACKS[:1])
    analysis = analysis_of(data, attacks, adaptive_images=2, steps=1)
    Runner(sharp_network(), data, attacks=attacks, batch_size=16).run([analysis])
    learned, calibrated = set(analysis.reference.learned), set(analysis.reference.calibrated)
    reported = set(analysis.seen[REAL])
    assert (len(learned), len(calibrated), len(reported)) == (60, 40, 40)
    assert len(learned | calibrated | reported) == 140
    assert set(analysis.evaded["linf"]) <= analysis.parts.adaptive <= reported


def test_parts_depend_on_numbers_and_seed_alone():
    config = DetectionConfig(learn=50, calibrate=30, report=20)
    parts = divide(range(100), config, 0)
    assert parts == divide([*range(99, -1, -1)], config, 0)
    assert parts != divide(range(100), config, 1)
    more = divide(range(100), DetectionConfig(learn=40, calibrate=30, report=30), 0)
    assert parts.report < more.report
    few = divide(range(70), config, 0)
    assert (len(few.learn), len(few.calibrate), len(few.report)) == (35, 21, 14)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="30 images give 20 to learn from, 5 to calibrate on and 5 to report; a rate"):
        divide(range(30), DetectionConfig(), 0)


def test_classes_of_one_image_are_refused_before_any_work():
    check_spread([0, 1, 0])
    with pytest.raises(ValueError, match=r"detection\.learn: the 2 images to learn from are of as many classes"):
        check_spread([0, 1])


def test_the_tables_have_the_columns_of_the_contract():
    tables = whole().tables
    first = ["score", "images", "eps", "n", "auroc", "auroc_low", "auroc_high", "tpr_at_5", "tpr_low", "tpr_high"]
    assert list(tables["detection"][0])[:11] == [*first, "adaptive"]
    assert list(tables["errors"][0])[:3] == ["image", "label", "predicted"]
    assert set(TRUST) <= set(tables["errors"][0])
    for name in DETECTORS:
        kinds = [(row["images"], row["adaptive"]) for row in tables["detection"] if row["score"] == name]
        assert kinds == [(kind, False) for kind in ("fgsm", "pgd", "pgd_l2", "worst")] + [
            ("pgd", True),
            ("pgd_l2", True),
        ]


def test_numbers_follow_from_the_images_rows():
    """AUROC by torchmetrics, the true positive rate by counting, from what ``errors`` says of every image."""
    tables = whole().tables
    rows = {
        kind: [row for row in tables["errors"] if row["images"] == kind] for kind in (REAL, "fgsm", "pgd", "pgd_l2")
    }
    right = [not row["wrong"] for row in rows[REAL]]
    for detector in tables["detection"]:
        name, kind = detector["score"], detector["images"]
        if detector["adaptive"]:
            continue
        suspicion = {k: [-TRUST[name] * row[name] for row in rows[k]] for k in rows}
        if kind == "worst":
            turned = [[row["wrong"] and ok for row, ok in zip(rows[k], right, strict=True)] for k in rows if k != REAL]
            values = [suspicion[k] for k in rows if k != REAL]
            positive = [
                min(v[place] for v, t in zip(values, turned, strict=True) if t[place])
                for place in range(40)
                if any(t[place] for t in turned)
            ]
        else:
            turned = [row["wrong"] and ok for row, ok in zip(rows[kind], right, strict=True)]
            assert [bool(row["success"]) for row in rows[kind]] == turned
            positive = [value for value, counts in zip(suspicion[kind], turned, strict=True) if counts]
        assert (detector["n"], detector["attacked"], detector["real"]) == (len(positive), sum(right), 40)
        values = torch.tensor(suspicion[REAL] + positive)
        values = (values - values.min()) / (values.max() - values.min())
        expected = binary_auroc(values, torch.tensor([0] * 40 + [1] * len(positive)))
        assert detector["auroc"] == pytest.approx(float(expected), abs=2e-3)
        assert detector["tpr_at_5"] == sum(value > detector["threshold"] for value in positive) / len(positive)
        assert detector["evaded"] == pytest.approx((1 - detector["tpr_at_5"]) * len(positive) / sum(right))
        assert detector["false_alarms"] == sum(value > detector["threshold"] for value in suspicion[REAL]) / 40


def test_an_adaptive_attack_is_never_weaker_than_a_plain_one():
    """On the same images: image by image no more suspicious, and so at most as often flagged."""
    data, attacks = Numbered(labelled(140)), create_attacks(ATTACKS)
    analysis = analysis_of(data, attacks)
    runner = Runner(sharp_network(), data, attacks=attacks, seed=4, batch_size=16)
    result = runner.run([analysis])["detection"]
    rows = {(row["image"], row["images"]): row for row in result.tables["errors"]}
    compared = 0
    for norm, kinds in (("linf", ("fgsm", "pgd")), ("l2", ("pgd_l2",))):
        for number, outcomes in analysis.evaded[norm].items():
            for place, name in enumerate(analysis.config.scores):
                wrong, suspicion, plain = outcomes[place].tolist()
                assert suspicion <= plain
                for kind in kinds:
                    row = rows[number, kind]
                    if row["wrong"]:
                        compared += 1
                        assert wrong
                        assert suspicion <= -TRUST[name] * row[name] + 1e-9
    assert compared > 50
    stronger = 0
    for row in result.tables["detection"]:
        if row["adaptive"]:
            assert row["evaded"] >= row["plain_evaded"]
            stronger += row["evaded"] > row["plain_evaded"]
    assert stronger > 3, "and here and there it is stronger"


@pytest.mark.parametrize("batch_size", [1, 50])
def test_does_not_depend_on_batches(batch_size):
    settings = {"adaptive_images": 4, "steps": 2, "batch_size": 50}
    attacks = ATTACKS[1:2]
    result = run_detection(attacks=attacks, settings=settings, batch_size=batch_size)
    assert_same_tables(result.tables, run_detection(attacks=attacks, settings=settings).tables, tolerance=1e-5)


@pytest.mark.slow
def test_two_processes_report_what_one_reports():
    for tables in on_processes(detection_on_a_share, 2, 140):
        assert_same_tables(tables, whole().tables, tolerance=1e-5)


@pytest.mark.parametrize("at", [70, 155])
def test_an_interrupted_run_goes_on(at, tmp_path):
    """In the sweep that learns, and in the one that attacks."""
    settings = {"adaptive_images": 4, "steps": 2}
    batch = labelled(140)
    expected = run_detection(data=Numbered(batch), attacks=ATTACKS[1:2], settings=settings).tables

    def start(data):
        attacks = create_attacks(ATTACKS[1:2])
        options = {"attacks": attacks, "seed": 4, "batch_size": 8, "journal": tmp_path / "state"}
        runner = eager_runner(sharp_network(), data, **options)
        return runner.run([analysis_of(data, attacks, **settings)])["detection"].tables

    with pytest.raises(OSError, match="power cut"):
        start(Numbered(batch, readings=at))
    assert_same_tables(start(Numbered(batch, readings=140 + 40 - at + 16)), expected, tolerance=1e-5)


def scorer_of_images():
    """A network, images, their logits, and the scores that are learnt of them."""
    network, x = sharp_network(), labelled(60).image
    with torch.no_grad():
        logits, features = network.forward_features(x, ("penultimate",))
    return network, x, logits, Scorer(network, DetectionConfig(), features["penultimate"], logits.argmax(1), SIMILARITY)


@pytest.mark.parametrize("score", ["max_softmax", "margin", "energy", "mahalanobis", "knn"])
def test_the_gradient_of_the_adaptive_objective(score):
    """Of scores whose surrogate is the score itself; elsewhere a gradient stands for one that is not there."""
    network, x, logits, scorer = scorer_of_images()
    level = Level(threshold=0.0, middle=-1000.0, scale=1.0)  # far below: the score counts everywhere
    attack = AdaptiveAttack(scorer, score, level, norm="linf", eps=0.1, weights=[2.0])
    point = x[:2, :, :6, :6].clone().requires_grad_()
    goal = Evasion(logits[:2].argmax(1), None, keys=torch.arange(2))
    goal.begin(point.detach())
    assert gradcheck(lambda images: attack.objective(network, images, point, goal)[0], point)


@pytest.mark.parametrize("score", ["semantic_support", "concept_disagreement", "squeezing"])
def test_scores_without_a_gradient_are_given_one(score):
    _, x, _, scorer = scorer_of_images()
    point = x[:4].clone().requires_grad_()
    look = scorer.look(point, (score,))
    surrogate = scorer.score(score, replace(look, attacked=True))
    (gradient,) = torch.autograd.grad(surrogate.sum(), point)
    assert gradient.flatten(1).any(1).all()
    if score != "semantic_support":  # there it is a smooth score, elsewhere the score's own value
        assert torch.equal(surrogate, scorer.score(score, look))


def test_the_network_is_left_as_it_was():
    network, data, attacks = sharp_network(), Numbered(labelled(140)), create_attacks(ATTACKS[:1])
    before = fingerprint(network)
    analysis = analysis_of(data, attacks, adaptive_images=2, steps=1)
    Runner(network, data, attacks=attacks, batch_size=16).run([analysis])
    after = fingerprint(network)
    for old, new in zip(before, after, strict=True):
        assert old.keys() == new.keys()
        for key, value in old.items():
            same = torch.equal(value, new[key]) if isinstance(value, torch.Tensor) else value == new[key]
            assert same, key


def test_without_attacks_the_adaptive_one_stands_alone():
    rows = run_detection(attacks=[], settings={"eps": "16/255"}).tables["detection"]
    assert [(row["score"], row["images"], row["adaptive"]) for row in rows] == [
        (name, "adaptive", True) for name in DETECTORS
    ]
    assert {row["eps"] for row in rows} == {16 / 255}


def test_an_attack_without_a_radius_leaves_the_ball_to_the_settings():
    attack = AttackConfig("targeted_optimization", steps=3, weight=1.0)
    settings = {"scores": ("energy",), "adaptive_images": 3, "steps": 2}
    rows = run_detection(attacks=[attack], settings=settings).tables["detection"]
    assert [(row["images"], row["adaptive"], row["eps"]) for row in rows] == [
        ("targeted_optimization", False, None),
        ("worst", False, None),
        ("adaptive", True, 8 / 255),
    ]


def test_one_class_has_nothing_to_turn():
    batch = labelled(140)
    data = Numbered(batch._replace(label=torch.zeros_like(batch.label)))
    tables = run_detection(data=data, attacks=ATTACKS[:1], settings={"adaptive_images": 2}).tables
    assert len(tables["errors"]) == 80
    assert all(0 <= row["concept_disagreement"] <= 1 for row in tables["errors"]), "classes without images have one too"


def test_figures_are_drawn_from_the_result_alone():
    question = Detection()
    figures = question.figures(whole(), "net")
    assert set(figures) == {"detection", "risk_coverage"}
    assert question.brief(whole(), "net").row_count == 6 * len(DETECTORS)
    alone = run_detection(attacks=[], settings={"adaptive_images": 2, "steps": 1, "scores": ("energy",)})
    assert set(question.figures(alone, "net")) == {"detection", "risk_coverage"}


def test_a_network_without_a_linear_last_layer():
    network, data = sharp_network(), Numbered(labelled(140))
    network.head = "conv2"
    with pytest.raises(ValueError, match=r"semantic_support needs a linear last layer.*--detection.scores '\["):
        analysis_of(data, {}).bind(network)
    analysis = analysis_of(data, {}, scores=("energy", "knn"), adaptive_images=2, steps=1)
    result = Runner(network, data, batch_size=16).run([analysis])["detection"]
    assert "pd_concentration" not in result.tables["errors"][0]
    assert not math.isnan(result.scalars["detection/energy/real/aurc"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scores": ("softmax",)}, "detection.scores must be of semantic_support"),
        ({"scores": ()}, "got none"),
        ({"steps": 0}, "detection.steps must be 1 or more, got 0"),
        ({"rate": 0.0}, "detection.rate must lie above 0"),
        ({"calibrate": 18}, "detection.calibrate must be 19 or more for a rate of 0.05, got 18"),
        ({"bits": 9}, "detection.bits must be from 1 to 8"),
        ({"weights": (-1.0,)}, "detection.weights must hold numbers, 0 or more"),
        ({"temperature": 0.0}, "detection.temperature must be above 0"),
        ({"eps": 8}, "eps is a fraction"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DetectionConfig(**settings)
