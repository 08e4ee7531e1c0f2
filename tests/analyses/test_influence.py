"""Influence before and after attacks, against a literal loop; the choice of images; parts of a run."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from analyses.journals import merge_halves
from analyses.tables import assert_same_tables
from helpers import Memory, assert_untouched, fingerprint, small_batch, small_network
from scipy.stats import spearmanr

from lightning_advinterp.analyses import Observation, Runner
from lightning_advinterp.analyses.influence.analysis import InfluenceAnalysis
from lightning_advinterp.analyses.influence.config import InfluenceConfig, Task, choose_images, make_task
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.explanations.influence import LastLayerInfluence
from lightning_advinterp.explanations.last_layer import fit_last_layer, penultimate
from lightning_advinterp.metrics.intervals import median_interval, wilson_interval
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.modes import frozen_eval

CONFIG = InfluenceConfig(training=16, test=8, steps=3, eps="4/255", overlap=4, show=2, batch_size=3, seed=1)


@pytest.fixture(scope="module")
def analysed():
    network, batch = small_network().double(), small_batch(n=30, size=8, dtype=torch.float64)
    label = (batch.image[:, 0].mean((1, 2)) > batch.image[:, 0].mean()).long() * 3 + 1  # classes 1 and 4
    batch = Batch(batch.image, label, batch.index)
    task = make_task(label.tolist(), batch.index.tolist(), CONFIG)
    before = fingerprint(network)
    analysis = InfluenceAnalysis(CONFIG, task)
    result = Runner(network, Memory(batch), batch_size=7).run([analysis])["influence"]
    assert_untouched(network, before)
    return network.eval(), batch, task, analysis, result


def test_rows_are_what_a_loop_finds(analysed):
    network, batch, task, analysis, result = analysed
    numbers = batch.index.tolist()
    training = [numbers.index(number) for number in sorted(task.training)]
    y = (batch.label == 4).long()
    with torch.no_grad():
        features = penultimate(network, batch.image)
    weight, bias = fit_last_layer(features[training], y[training], 2)
    influence = LastLayerInfluence(features[training], y[training], weight, bias)
    right = [n for n in sorted(task.test) if int((features[numbers.index(n)] @ weight.T + bias).argmax()) == y[n - 40]]
    assert result.scalars["influence/images"] == len(right) > 2
    assert result.scalars["influence/skipped"] == len(task.test) - len(right)
    rows = [row for row in result.tables["influence"] if row["attack"] == "iterated"]
    assert [row["image"] for row in rows] == right
    attack = analysis._attacks(influence)["iterated"]
    for row in rows:
        place = numbers.index(row["image"])
        x, label = batch.image[place][None], y[place][None]
        x_adv = attack(network, x, label)
        with torch.no_grad():
            vectors = [-influence.influence(penultimate(network, z), label)[0].numpy() for z in (x, x_adv)]
        assert row["spearman"] == pytest.approx(spearmanr(*vectors).statistic, abs=1e-9)
        first, second = (set(np.argsort(-vector)[:4].tolist()) for vector in vectors)
        assert row["overlap"] == len(first & second) / 4
        assert row["linf"] == pytest.approx(float((x_adv - x).abs().max()))
        assert row["class"] == int(batch.label[place])
        assert list(row)[:4] == ["image", "attack", "eps", "spearman"]
    assert {row["attack"] for row in result.tables["influence"]} == {"sign", "iterated", "random_sign"}
    exemplars = analysis.exemplars[sorted(analysis.exemplars)[0]]
    assert set(exemplars.after) == {"sign", "iterated", "random_sign"}
    assert set(exemplars.before) <= task.training
    assert len(analysis.exemplars) == 2


def test_a_training_image_of_another_class_is_raised(analysed):
    network, batch, task, *_ = analysed
    analysis = InfluenceAnalysis(replace(CONFIG, raised="other_class", steps=8, eps="16/255"), task)
    result = Runner(network, Memory(batch), batch_size=7).run([analysis])["influence"]
    rows = [row for row in result.tables["influence"] if row["attack"] == "raise"]
    assert {row["attack"] for row in result.tables["influence"]} == {"sign", "iterated", "random_sign", "raise"}
    label = dict(zip(batch.index.tolist(), batch.label.tolist(), strict=True))
    influence, numbers = analysis.influence(), sorted(task.training)
    for row in rows:
        assert label[row["raised"]] != row["class"]
        place = batch.index.tolist().index(row["image"])
        with torch.no_grad():
            features = penultimate(network, batch.image[place][None])
        values = -influence.influence(features, torch.tensor([int(row["class"] == 4)]))[0]
        assert row["raised_rank_before"] == values.argsort(descending=True).tolist().index(numbers.index(row["raised"]))
    (line,) = [row for row in result.tables["influence_summary"] if row["attack"] == "raise"]
    assert line["raised_rank"] == np.median([row["raised_rank"] for row in rows]) < line["raised_rank_before"]
    assert line["raised_top"] == np.mean([row["raised_rank"] < CONFIG.overlap for row in rows])
    assert next(iter(analysis.exemplars.values())).chosen in task.training


def test_a_number_of_a_training_image_is_raised_and_no_other(analysed):
    _, batch, task, *_ = analysed
    labels, numbers = batch.label.tolist(), batch.index.tolist()
    make_task(labels, numbers, replace(CONFIG, raised=min(task.training)))
    with pytest.raises(ValueError, match=r"raised must be the number of a training image \(among them .* got 3"):
        make_task(labels, numbers, replace(CONFIG, raised=3))
    with pytest.raises(ValueError, match="raised must be other_class or the number"):
        InfluenceConfig(raised="any")


def test_summary(analysed):
    *_, analysis, result = analysed
    for row in result.tables["influence_summary"]:
        cases = [case for case in result.tables["influence"] if case["attack"] == row["attack"]]
        assert row["n"] == len(cases)
        assert row["spearman"] == pytest.approx(np.median([case["spearman"] for case in cases]))
        low, high = median_interval([case["spearman"] for case in cases])
        missing = len(cases) < 6
        assert (row["spearman_low"], row["spearman_high"]) == ((None, None) if missing else (low, high))
        correlations = [case["spearman"] for case in cases if case["label_kept"]]
        assert row["spearman_kept"] == pytest.approx(np.median(correlations))
        share = len(correlations) / len(cases)
        assert (row["label_kept"], row["label_kept_low"], row["label_kept_high"]) == pytest.approx(
            (share, *wilson_interval(len(correlations), len(cases)))
        )
        assert result.scalars[f"influence/{row['attack']}/overlap"] == row["overlap"]
        assert row["training"] == 20
    vectors = {place: [] for place in (0, 1)}
    for number in sorted(analysis._vectors):
        place, vector = analysis._vectors[number]
        vectors[place].append(vector.numpy())
    values = [
        spearmanr(cases[n], cases[n - 1]).statistic
        for cases in vectors.values()
        if len(cases) > 1
        for n in range(len(cases))
    ]
    assert row["spearman_other"] == pytest.approx(np.median(values), abs=1e-6)


def test_parts_merge_to_the_whole(analysed):
    network, batch, task, _, result = analysed
    parts = [InfluenceAnalysis(CONFIG, task) for _ in range(2)]

    def update(part, sweep, share):
        with frozen_eval(network), torch.no_grad():
            logits, activations = network.forward_features(share.image, ("penultimate",))
            observation = Observation(
                share.index, share.label, {"real": share.image}, {"real": logits}, {"real": activations}, {}, {}
            )
            with torch.enable_grad():
                part.update(sweep, observation)

    merge_halves(parts, network, batch, update)
    for part in parts:
        assert_same_tables(part.result().tables, result.tables, 1e-7)


def test_the_networks_own_layer(analysed):
    network, batch, task, *_ = analysed
    label = network(batch.image).argmax(1)
    batch = Batch(batch.image, label, batch.index)
    analysis = InfluenceAnalysis(replace(CONFIG, layer="own"), task)
    result = Runner(network, Memory(batch)).run([analysis])["influence"]
    assert result.scalars["influence/skipped"] == 0
    torch.testing.assert_close(analysis.influence().theta[:, :-1], network.backbone.fc.weight)
    assert {row["class"] for row in result.tables["influence"]} <= set(label.tolist())


def test_an_own_layer_that_is_not_linear():
    analysis = InfluenceAnalysis(replace(CONFIG, layer="own"), Task((0, 1), frozenset({0}), frozenset({1})))
    with pytest.raises(ValueError, match=r"influence\.layer: .* is not linear \(Conv2d\)"):
        analysis.bind(create_network("squeezenet1_0", num_classes=4))


@pytest.mark.parametrize(("layer", "classes"), [("own", 2), ("retrained", 24)])
def test_a_layer_that_is_too_large_shows_before_the_first_image(layer, classes):
    task = Task(tuple(range(classes)), frozenset({0}), frozenset({1}))
    with pytest.raises(ValueError, match=r"of 513 parameters are 12,[0-9]{3}, whose Hessian is not formed"):
        InfluenceAnalysis(replace(CONFIG, layer=layer), task).bind(create_network("resnet18", num_classes=25))


def test_the_choice_of_images():
    labels = [0] * 5 + [7] * 12 + [3] * 12 + [2] * 9
    names = list("abcdefgh")
    config = InfluenceConfig(training=12, test=4)
    places = choose_images(labels, names, config)
    chosen = [labels[place] for place in places]
    assert (chosen.count(3), chosen.count(7), len(chosen)) == (8, 8, 16)  # of equal ones the lowest labels
    named = choose_images(labels, names, replace(config, classes=["a", "c"]))
    assert sorted({labels[place] for place in named}) == [0, 2]
    task = make_task(chosen, places, config)
    assert task.classes == (3, 7)
    assert not task.training & task.test
    assert task.training | task.test == set(places)
    for label in (3, 7):
        assert sum(labels[place] == label for place in task.test) == 2
    with pytest.raises(ValueError, match="x is no class of the data"):
        choose_images(labels, names, replace(config, classes=["a", "x"]))
    with pytest.raises(ValueError, match="two images of each of two classes"):
        choose_images([0, 0, 1], names, config)
    with pytest.raises(ValueError, match="leave 2 for training, fewer than 6"):
        make_task([0, 0, 1, 1], range(4), config)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layer": "first"}, "layer must be retrained or own"),
        ({"classes": 1}, "classes must be 2 or more"),
        ({"classes": ["a", "a"]}, "classes must be 2 or more"),
        ({"show": -1}, "show must be 0 or more"),
        ({"damping": 0.0}, "damping must be above 0"),
        ({"test": 0}, "test must be 1"),
        ({"eps": 8}, "in 0-255 units"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        InfluenceConfig(**wrong)
