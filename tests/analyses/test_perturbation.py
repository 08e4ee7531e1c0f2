"""The sizes of several attacks' changes at equal success, against a literal loop; in halves and as a whole."""

import pytest
import torch
from helpers import Memory, small_batch, small_network

from lightning_advinterp.analyses import AccuracyAnalysis, Runner
from lightning_advinterp.analyses.accuracy.perturbation import MEASURES
from lightning_advinterp.attacks import AttackConfig, sample_keys
from lightning_advinterp.attacks.prediction.presets import create_attacks

ATTACKS = [
    AttackConfig("fgsm", 0.004), AttackConfig("pgd", 0.05, steps=4),
    AttackConfig("cw", steps=40, search_steps=4, initial_weight=1.0), AttackConfig("random_sign", 0.2),
]  # fmt: skip


def balanced_network():
    """A network whose classes are all near, so that attacks succeed on some images."""
    network = small_network().double()
    with torch.no_grad():
        network.backbone.fc.bias.sub_(network(small_batch(n=11, dtype=torch.float64).image).mean(0))
    return network


def run(data, attacks):
    runner = Runner(balanced_network(), data, attacks=create_attacks(attacks), batch_size=4, seed=2)
    return runner.run([AccuracyAnalysis(create_attacks(attacks))])["accuracy"].tables


def images(n=11):
    batch = small_batch(n=n, dtype=torch.float64)
    return batch._replace(label=balanced_network()(batch.image).argmax(1))


def test_equals_a_literal_loop():
    batch, network, keys = images(), balanced_network(), sample_keys(torch.arange(11) + 40, seed=2)
    rows = {row["images"]: row for row in run(Memory(batch), ATTACKS)["perturbation"]}
    assert list(rows) == ["fgsm", "pgd", "cw"], "the control is not compared"
    x_adv = {
        name: attack(network, batch.image, batch.label, keys=keys) for name, attack in create_attacks(ATTACKS).items()
    }
    common = [
        place
        for place in range(11)
        if all(int(network(x_adv[name][place : place + 1]).argmax()) != int(batch.label[place]) for name in rows)
    ]
    assert 0 < len(common) < 11
    for name, row in rows.items():
        sums = {"pixels": 0.0, "l1": 0.0, "l2": 0.0, "linf": 0.0}
        for place in common:
            delta = (x_adv[name][place] - batch.image[place]).flatten(1).T.tolist()
            values = [abs(value) for pixel in delta for value in pixel]
            sums["pixels"] += sum(max(map(abs, pixel)) >= 0.5 / 255 for pixel in delta) / len(delta)
            sums["l1"] += sum(values)
            sums["l2"] += sum(value**2 for value in values) ** 0.5
            sums["linf"] += max(values)
        expected = {key: value / len(common) for key, value in sums.items()}
        assert row["n"] == len(common)
        assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-6)
        assert 0 < row["success"] <= 1


def test_halves_add_up():
    attacks = create_attacks(ATTACKS)
    full_analysis, parts = AccuracyAnalysis(attacks), [AccuracyAnalysis(attacks) for _ in range(2)]
    batch = images()
    for analysis, places in ((full_analysis, range(11)), (parts[0], range(4)), (parts[1], range(4, 11))):
        part = batch._replace(**{name: getattr(batch, name)[list(places)] for name in batch._fields})
        Runner(balanced_network(), Memory(part), attacks=attacks, batch_size=11, seed=2).run([analysis])
    parts[0].merge(parts[1].state_dict())
    expected = full_analysis.result().tables["perturbation"]
    for row, expected_row in zip(parts[0].result().tables["perturbation"], expected, strict=True):
        for measure in ("n", *MEASURES):
            assert row[measure] == pytest.approx(expected_row[measure], rel=1e-9)
    assert expected[0]["n"] > 0


def test_one_attack_is_compared_with_none():
    assert "perturbation" not in run(Memory(images(3)), ATTACKS[:1])


def test_nothing_in_common_is_missing():
    network = balanced_network()
    batch = small_batch(n=3, dtype=torch.float64)
    batch = batch._replace(label=network(batch.image).argmax(1))
    rows = run(Memory(batch), [AttackConfig("fgsm", 0.0), AttackConfig("bim", 0.0, steps=1)])["perturbation"]
    assert [(row["n"], row["l2"], row["pixels"]) for row in rows] == [(0, None, None)] * 2
