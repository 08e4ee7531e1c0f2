"""The dissection from images to tables: against a literal loop, over processes, interrupted, and its controls."""

import csv
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from analyses.journals import eager_runner
from concept_sets import CATEGORIES, CONCEPTS, FakeConcepts
from helpers import Memory, assert_untouched, fingerprint, small_batch, small_network
from processes import dissections_on_a_share, on_processes
from reference.dissection import dissect, top_quantile

from lightning_advinterp.analyses import (
    REAL,
    AccuracyAnalysis,
    DissectionAnalysis,
    DissectionConfig,
    Plan,
    Result,
    Runner,
    Sweep,
)
from lightning_advinterp.analyses.dissection.columns import DISSECTION
from lightning_advinterp.analyses.dissection.views import partners, random_twin, sign_noise
from lightning_advinterp.attacks import AttackConfig, sample_keys
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.columns import columns_of
from lightning_advinterp.data.broden import ConceptWorldConcepts, Segmentation
from lightning_advinterp.networks import Network
from lightning_advinterp.report.save import to_csv
from lightning_advinterp.units.rotation import rotation

LAYERS = ("relu1", "relu2")
SMALLER_BATCH = 60_000
"""Bytes; logits and activations of three images take 49,272, of four 65,696."""


def run(data, network=None, attacks=(), *, batch_size=4, journal=None, **settings):
    attacks = create_attacks(list(attacks))
    settings = {"layers": LAYERS, "quantile": 0.9, "groups": 4, "replicates": 10, **settings}
    runner = Runner(network or small_network().double(), data, attacks=attacks, batch_size=batch_size, journal=journal)
    analysis = DissectionAnalysis(data, attacks, DissectionConfig(**settings))
    return runner.run([analysis])["dissection"], analysis


def images_of(data):
    return torch.stack([data[item].image for item in range(len(data))])


def literal(data, maps, size, rule, quantile):
    """Per unit: threshold, IoU of every label."""
    numbers = sorted(CONCEPTS)
    values = maps.astype(np.float32).swapaxes(0, 1).reshape(maps.shape[1], -1)
    thresholds = np.array(
        [top_quantile(list(unit_values.astype(float)), quantile) for unit_values in values], dtype=np.float32
    )
    inside, area, truth = dissect(maps, thresholds, data.segmentations, CONCEPTS, size, rule)
    iou = [
        [inside[u, c] / max(area[u, c] + truth[c] - inside[u, c], 1) for c in numbers] for u in range(len(thresholds))
    ]
    return thresholds, np.array(iou)


@pytest.mark.parametrize("rule", ["original", "plain", "lite"])
def test_equals_a_literal_loop(rule):
    data, network = FakeConcepts(7), small_network().double()
    result, _ = run(data, network, rule=rule, exact=True)
    activations = network.forward_features(images_of(data), LAYERS)[1]
    numbers = np.array(sorted(CONCEPTS))
    category = np.array([CONCEPTS[number] for number in numbers])
    rows = {(row["layer"], row["unit"]): row for row in result.tables["dissection"]}
    for layer in LAYERS:
        maps = activations[layer].detach().numpy()
        thresholds, iou = literal(data, maps, data.label_size, rule, Fraction(9, 10))
        for unit, threshold in enumerate(thresholds):
            row = rows[layer, unit]
            assert row["threshold"] == threshold
            (written,) = csv.DictReader(to_csv([row], columns_of([row], DISSECTION[0].columns)).splitlines())
            assert np.float32(written["threshold"]) == threshold  # often an activation, which then does not exceed it
            assert row["iou"] == iou[unit].max()
            for number, name in enumerate(CATEGORIES):
                category_iou = np.where(category == number, iou[unit], 0)
                assert row[f"{name}_iou"] == category_iou.max()
                assert row[f"{name}_label"] == (
                    f"c{numbers[category_iou.argmax()]}" if category_iou.max() > 0 else None
                )


def test_columns_and_what_was_read():
    """The columns that the contract of evaluate.py names come first."""
    result, _ = run(FakeConcepts(5), attacks=[AttackConfig("fgsm", "8/255")], layers="all_conv")
    leading = ["layer", "unit", "images", "threshold", "label", "category", "iou", "color_label", "color_iou"]
    assert list(result.tables["dissection"][0])[:9] == leading
    assert list(result.tables["dissection_summary"][0])[:6] == [
        "layer", "images", "category", "detectors", "ratio", "unique",
    ]  # fmt: skip
    assert {(row["layer"], row["tap"]) for row in result.tables["dissection"]} == {
        ("conv1", "relu1"),
        ("conv2", "relu2"),
    }
    assert len(result.tables["dissection"]) == 2 * (6 + 8)
    assert {row["layer"] for row in result.tables["dissection_summary"]} == {"conv1", "conv2", "all"}
    attacked = [row for row in result.tables["dissection"] if row["images"] == "fgsm"]
    assert {row["eps"] for row in attacked} == {8 / 255}
    assert len(result.tables["dissection_retention"]) == 14
    assert {"real/color", "fgsm/all", "real/unique", "fgsm/retention", "fgsm/retention_noise"} <= set(result.scalars)
    for row in result.tables["dissection_summary"]:
        if row["layer"] == "all" and row["images"] == REAL:
            for control in ("shuffled", "rotated", "random"):
                assert result.scalars[f"{control}/{row['category']}"] == row[control]


@pytest.mark.parametrize("settings", [{}, {"exact": True, "layers": "all_conv"}, {"keep": True, "layers": "last"}])
def test_does_not_depend_on_batches(settings):
    data, attacks = FakeConcepts(7), [AttackConfig("fgsm", "32/255")]
    expected = run(data, attacks=attacks, batch_size=7, **settings)[0].tables
    tables = run(data, attacks=attacks, batch_size=2, **settings)[0].tables
    for name, rows in expected.items():
        for row, batched_row in zip(rows, tables[name], strict=True):
            assert row == pytest.approx(batched_row, abs=1e-12, nan_ok=True)


def test_kept_features_give_the_same_counts():
    data, attacks = FakeConcepts(7), [AttackConfig("fgsm", "32/255")]
    twice, remembered = (run(data, attacks=attacks, keep=keep)[0].tables for keep in (False, True))
    assert twice == remembered


@pytest.mark.parametrize("room", [SMALLER_BATCH, 1 << 20])
def test_passes_that_are_held_give_the_same_counts(room):
    """The smaller one of two batches, or both: of the network and of its copy with random weights."""
    data, network, config = FakeConcepts(7), small_network().double(), DissectionConfig(layers=LAYERS, quantile=0.9)
    passes, tables = [], []
    for remember in (0, room):
        shown = []
        handle = network.backbone.register_forward_pre_hook(
            lambda module, inputs, shown=shown: shown.append(len(inputs[0]))
        )
        runner = Runner(network, data, batch_size=4, remember=remember)
        tables.append(runner.run([DissectionAnalysis(data, {}, config)])["dissection"].tables)
        handle.remove()
        passes.append(sum(shown))
    assert tables[0] == tables[1]
    assert passes[0] - passes[1] == 2 * (3 if room == SMALLER_BATCH else 7)  # the copy has the hook too


def test_only_features_are_kept(monkeypatch):
    """Images are six times as large as the maps of ResNet-18's last layer."""
    observations, inner = [], DissectionAnalysis.settle

    def settle(self, sweep):
        observations.extend(batch[0] for batch in self._kept)
        inner(self, sweep)

    monkeypatch.setattr(DissectionAnalysis, "settle", settle)
    run(FakeConcepts(7), attacks=[AttackConfig("fgsm", "32/255")], keep=True)
    assert len(observations) == 2
    assert not any(
        (observation.images, observation.activations, observation.logits, observation.goal) != ({},) * 4
        for observation in observations
    )


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_count_like_one():
    """On an odd number of images, in float64, to the last count."""
    expected = dissections_on_a_share(0, 1, 9)
    for process_tables in on_processes(dissections_on_a_share, 2, 9):
        for name, tables in expected.items():
            for table, rows in tables.items():
                for row, process_row in zip(rows, process_tables[name][table], strict=True):
                    assert row.get("linf") == pytest.approx(process_row.get("linf"))  # a mean of floats, not a count
                    assert row | {"linf": None} == process_row | {"linf": None}, (name, table)


def test_an_interrupted_run_goes_on(tmp_path):
    class Failing(FakeConcepts):
        """Breaks at an image, in its nth visit."""

        visits = 0

        def __getitem__(self, item):
            self.visits += item == 5
            if self.visits == self.fails_at:
                raise OSError("power cut")
            return super().__getitem__(item)

    attacks = [AttackConfig("fgsm", "32/255")]
    expected = run(FakeConcepts(9), attacks=attacks, exact=True, batch_size=2)[0].tables
    for fails_at in (1, 2, 3):
        journal = tmp_path / f"{fails_at}"
        data = Failing(9)
        data.fails_at = fails_at

        def resume(data, journal=journal):
            network, built = small_network().double(), create_attacks(attacks)
            config = DissectionConfig(layers=LAYERS, quantile=0.9, groups=4, replicates=10, exact=True)
            runner = eager_runner(network, data, attacks=built, batch_size=2, journal=journal)
            return runner.run([DissectionAnalysis(data, built, config)])["dissection"].tables

        with pytest.raises(OSError, match="power cut"):
            resume(data)

        class Watched(FakeConcepts):
            seen = 0

            def __getitem__(self, item):
                self.seen += 1
                return super().__getitem__(item)

        watched = Watched(9)
        assert resume(watched) == expected
        assert watched.seen == 5 + 9 * (3 - fails_at)  # the first two batches of the broken sweep are done
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "attacked_in"),
    [
        ({}, {1}),
        ({"keep": True}, {0}),
        ({"exact": True}, {2}),
        ({"threshold_source": "recompute"}, {0, 1}),
    ],
)
def test_analyses_share_the_sweep_that_attacks(settings, attacked_in, monkeypatch):
    """Accuracy looks at that one alone; both report what they report by themselves."""
    data = FakeConcepts(7)
    attacks = create_attacks([AttackConfig("fgsm", "32/255")])
    batch = small_batch(n=7, dtype=torch.float64)
    labelled = Memory(batch._replace(index=torch.tensor(data.indices)))
    for name in ("segmentation", "indices", "categories", "concepts", "label_size", "fingerprint"):
        setattr(labelled, name, getattr(data, name))
    counts, attacked = AccuracyAnalysis(attacks), []

    def results(*analyses):
        return Runner(small_network().double(), labelled, attacks=attacks, batch_size=3).run(analyses)

    def dissection():
        config = DissectionConfig(layers=LAYERS, quantile=0.9, replicates=0, **settings)
        return DissectionAnalysis(labelled, attacks, config)

    observe = Runner._observe

    def watched(self, batch, wants):
        attacked.append(wants.kinds)
        return observe(self, batch, wants)

    monkeypatch.setattr(Runner, "_observe", watched)
    together = results(counts, dissection())
    assert {place // 3 for place, kinds in enumerate(attacked) if "fgsm" in kinds} == attacked_in  # three batches each
    assert together["accuracy"] == results(AccuracyAnalysis(attacks))["accuracy"]
    assert together["dissection"].tables == results(dissection())["dissection"].tables


def test_the_network_is_left_alone():
    network = small_network().double().train()
    before, state = fingerprint(network), torch.random.get_rng_state()
    run(FakeConcepts(5), network, [AttackConfig("pgd", "8/255", steps=2)])
    assert_untouched(network, before)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_unlabelled_image_is_attacked_away_from_its_prediction():
    """The same images as with the prediction as their label."""

    class Watch:
        name = "watch"

        def __init__(self):
            self.seen = []

        def bind(self, network):
            return Plan((Sweep(kinds=(REAL, "fgsm", "random"), labels=False),))

        def update(self, sweep, observation):
            self.seen.append(observation)

        def result(self):
            return Result(self.name)

    network, data, watch = small_network().double(), FakeConcepts(5), Watch()
    attacks = create_attacks(
        [AttackConfig("fgsm", "8/255"), AttackConfig("fgsm", "8/255", name="random", target="random")]
    )
    Runner(network, data, attacks=attacks, batch_size=5).run([watch])
    (observation,) = watch.seen
    x = images_of(data)
    predicted = network(x).argmax(1)
    assert observation.label.tolist() == [-1] * 5
    assert torch.equal(observation.goal["fgsm"], predicted)
    assert torch.equal(observation.images["fgsm"], attacks["fgsm"](network, x, predicted))
    assert (observation.goal["random"] != predicted).all()


def test_noise_is_as_large_as_the_attack():
    x = torch.rand(3, 3, 8, 8) * 0.5 + 0.25
    x_adv = x + torch.tensor([0.1, 0.02, 0.0]).view(3, 1, 1, 1) * torch.rand(3, 3, 8, 8)
    radius = (x_adv - x).flatten(1).abs().amax(1)
    keys = sample_keys(torch.arange(3))
    noisy = sign_noise(x, x_adv, keys)
    delta = (noisy - x).flatten(1)
    assert torch.allclose(delta.abs(), radius[:, None].expand_as(delta), atol=1e-6)
    assert abs(delta[0].sign().mean()) < 0.3
    assert torch.equal(noisy[1:], sign_noise(x[1:], x_adv[1:], keys[1:]))


def test_rotations_are_orthogonal_and_differ():
    like = torch.zeros(1, dtype=torch.float64)
    first, second = rotation(9, 0, 0, like), rotation(9, 0, 1, like)
    assert torch.allclose(first @ first.T, torch.eye(9, dtype=torch.float64), atol=1e-12)
    assert not torch.allclose(first, second)
    assert torch.equal(first, rotation(9, 0, 0, like))


def test_every_image_gets_anothers_labels():
    partner_of = partners(list(range(100, 111)), 0)
    assert sorted(partner_of) == sorted(partner_of.values()) == list(range(100, 111))
    assert all(image != partner for image, partner in partner_of.items())


def test_a_random_twin_has_nothing_of_the_trained_weights():
    network = small_network()
    network.prepare(["relu1"])
    state = torch.random.get_rng_state()
    twin, again = random_twin(network, 0), random_twin(network, 0)
    for name, value in network.named_parameters():
        if value.dim() > 1:
            assert not torch.allclose(value, twin.get_parameter(name))
        assert torch.equal(again.get_parameter(name), twin.get_parameter(name))
    assert torch.equal(torch.random.get_rng_state(), state)
    x = torch.rand(2, 3, 16, 16)
    assert not torch.equal(
        twin.forward_features(x, ["relu1"])[1]["relu1"], network.forward_features(x, ["relu1"])[1]["relu1"]
    )


def test_a_control_knows_nothing_of_the_labels():
    """Units that are a concept's mask: IoU 1, and far less with another image's labels."""

    class Masks(FakeConcepts):
        def _labels(self, generator):
            mask = generator.choice([0, 7], p=[0.9, 0.1], size=(1, *self.label_size)).astype(np.int32)
            return Segmentation({1: mask}, {})

    data = Masks(9, size=8)
    for place, segmentation in enumerate(data.segmentations):
        data.images[place] = torch.from_numpy(segmentation.maps[1] == 7).double()

    class Copy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu, self.fc = torch.nn.Conv2d(3, 2, 1), torch.nn.ReLU(), torch.nn.Linear(2, 3)

        def forward(self, x):
            return self.fc(self.relu(self.conv(x)).mean((2, 3)))

    network = Network(
        Copy(), name="copy", num_classes=3, mean=(0, 0, 0), std=(1, 1, 1), input_size=8, phi="relu"
    ).double()
    with torch.no_grad():
        network.backbone.conv.weight.fill_(1)
        network.backbone.conv.bias.zero_()
    result, _ = run(data, network, layers="last", quantile=0.8)
    assert {row["iou"] for row in result.tables["dissection"]} == {1.0}
    assert {row["label"] for row in result.tables["dissection"]} == {"c7"}
    (row,) = [row for row in result.tables["dissection_summary"] if row["category"] == "object"]
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (1, 1, 1)
    _, analysis = run(data, network, layers="last", quantile=0.8, controls=("shuffled",))
    assert float(analysis._state.counts["shuffled"]["relu"].iou().max()) < 0.3


def test_the_concept_worlds_truth():
    """A network whose units are masks of an object, a colour and a part has IoU 1 for each of them."""
    world = ConceptWorldConcepts(8, size=32)
    segmentations = [world.segmentation(number) for number in world.indices]
    truth = {}
    for name in ("object", "color", "part"):
        category = world.categories.index(name)
        stacks = [segmentation.maps[category] for segmentation in segmentations if category in segmentation.maps]
        areas = Counter(np.concatenate([stack[stack > 0] for stack in stacks]).tolist())
        truth[next(number for number, _ in areas.most_common() if world.concepts[number].category == category)] = name

    class Masks(torch.utils.data.Dataset):
        def __len__(self):
            return len(world)

        def __getitem__(self, item):
            layers = np.concatenate([*segmentations[item].maps.values()])
            masks = [(layers == number).any(0) for number in truth]
            return world[item]._replace(image=torch.from_numpy(np.stack(masks)).double())

    backbone = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    network = Network(backbone, name="masks", num_classes=3, mean=(0, 0, 0), std=(1, 1, 1), input_size=32, phi="0")
    analysis = DissectionAnalysis(world, config=DissectionConfig(layers=("0",), quantile=0.6, controls=("shuffled",)))
    rows = Runner(network.double(), Masks()).run([analysis])["dissection"].tables["dissection"]
    for row, (number, category) in zip(rows, truth.items(), strict=True):
        assert (row[f"{category}_label"], row[f"{category}_iou"]) == (world.concepts[number].name, 1.0)


class PatchTokens(torch.nn.Module):
    """Mean colours of patches as tokens behind a class token whose values are larger than all of theirs."""

    def __init__(self):
        super().__init__()
        self.patch_embed = torch.nn.Conv2d(3, 3, 4, stride=4, bias=False)
        self.patch_embed.weight.data = torch.eye(3)[:, :, None, None].repeat(1, 1, 4, 4) / 16
        self.cls_token = torch.nn.Parameter(torch.full((1, 1, 3), 100.0))
        self.blocks, self.head = torch.nn.Identity(), torch.nn.Linear(3, 2)

    def forward(self, x):
        patches = self.patch_embed(x).flatten(2).transpose(1, 2)
        return self.head(self.blocks(torch.cat([self.cls_token.expand(x.shape[0], -1, -1), patches], 1))[:, 0])


def test_a_planted_detector_of_patches_has_iou_1_on_their_grid():
    """Two concepts fill patches, each in its colour; the third colour is of patches that nothing is told of."""
    data, generator = FakeConcepts(9, size=32), np.random.default_rng(3)
    for number in range(9):
        patches = generator.choice([0, 3, 7, 9], size=(8, 8), p=[0.4, 0.2, 0.2, 0.2]).astype(np.int32)
        colours = np.stack([patches == name for name in (3, 7, 9)]).repeat(4, 1).repeat(4, 2)
        data.images[number] = torch.from_numpy(colours)
        data.segmentations[number] = Segmentation({1: np.where(patches == 9, 0, patches)[None]}, {})
    network = Network(PatchTokens(), name="patches", num_classes=2, mean=(0, 0, 0), std=(1, 1, 1), input_size=32)
    result, _ = run(data, network.double(), layers=("blocks",), quantile=0.7, exact=True)
    rows = [row for row in result.tables["dissection"] if row["images"] == REAL]
    assert [(row["object_label"], row["object_iou"]) for row in rows[:2]] == [("c3", 1.0), ("c7", 1.0)]
    assert rows[2]["object_iou"] == 0


def test_successes_and_failures_are_counted_apart():
    """Together they are the whole, for the attack and for the same images without it."""
    data, network, attacks = FakeConcepts(9), small_network(seed=1).double(), [AttackConfig("fgsm", "128/255")]
    result, analysis = run(data, network, attacks, by_success=True, noise=False)
    ungrouped, _ = run(data, network, attacks, noise=False)
    assert result.tables["dissection"] == ungrouped.tables["dissection"]
    assert result.tables["dissection_summary"] == ungrouped.tables["dissection_summary"]
    counts, reached = analysis._state.counts, analysis._state.reached["fgsm"]
    assert 0 < reached["success"] < 9
    for layer in LAYERS:
        real, paired, attacked = (counts[view][layer] for view in (REAL, "fgsm~real", "fgsm"))
        assert paired.images.tolist() == [9 - reached["success"], reached["success"]]
        assert attacked.images.view(2, 4).sum(1).tolist() == paired.images.tolist()
        for name in ("intersection", "area", "truth"):
            assert torch.equal(getattr(paired, name).sum(0), getattr(real, name).sum(0))
    changes = [row["change"] for row in result.tables["dissection_retention_summary"] if row["layer"] == "all"]
    assert changes == ["attack", "failure", "success", "split_half"]
    assert {row["noise_ratio"] for row in result.tables["dissection_success"]} == {None}


def test_ratios_and_noise_by_success_equal_a_literal_loop():
    """Detectors of the images on which an attack succeeds, of their real versions, and under noise on them."""
    data, network, configs = FakeConcepts(9), small_network(seed=1).double(), [AttackConfig("fgsm", "128/255")]
    tables = run(data, network, configs, by_success=True, batch_size=9)[0].tables
    x, attack = images_of(data), create_attacks(configs)["fgsm"]
    keys = sample_keys(torch.tensor(data.indices))
    x_adv = attack(network, x, network(x).argmax(1), keys=keys)
    views = {"": x_adv, "real_": x, "noise_": sign_noise(x, x_adv, keys)}
    success = network(x_adv).argmax(1) != network(x).argmax(1)
    numbers, rows = sorted(CONCEPTS), tables["dissection_success"]
    real = [row for row in tables["dissection"] if row["images"] == REAL]
    for layer in LAYERS:
        thresholds = np.array([row["threshold"] for row in real if row["layer"] == layer])
        best_concepts = {}
        for prefix, images in views.items():
            maps = network.forward_features(images, [layer])[1][layer].detach().numpy()
            for change in ("failure", "success"):
                part = (success == (change == "success")).nonzero().squeeze(1).tolist()
                labels = [data.segmentations[place] for place in part]
                inside, area, truth = dissect(maps[part], thresholds, labels, CONCEPTS, data.label_size, "original")
                iou = [
                    [inside[u, c] / max(area[u, c] + truth[c] - inside[u, c], 1) for c in numbers]
                    for u in range(maps.shape[1])
                ]
                best = [numbers[int(np.argmax(unit_iou))] if max(unit_iou) >= 0.04 else None for unit_iou in iou]
                best_concepts[prefix, change] = best
                for place, category in enumerate(CATEGORIES):
                    in_category = [number for number in best if number and CONCEPTS[number] == place]
                    (row,) = [
                        row
                        for row in rows
                        if (row["layer"], row["change"], row["category"]) == (layer, change, category)
                    ]
                    assert row[f"{prefix}ratio"] == len(in_category) / len(best), (layer, prefix, change, category)
                    assert row[f"{prefix}unique"] == len(set(in_category))
                    assert row["n"] == len(part)
        for change in ("failure", "success"):
            before, after = best_concepts["real_", change], best_concepts["noise_", change]
            (row,) = [
                row
                for row in tables["dissection_retention_summary"]
                if (row["layer"], row["change"]) == (layer, f"noise_{change}")
            ]
            unchanged = [first == second for first, second in zip(before, after, strict=True) if first]
            assert row["same_concept"] == sum(unchanged) / len(unchanged)


def test_ratios_of_no_images_are_empty():
    """An attack that never succeeds: 0 units of 14 would be a statement about images that are not there."""
    tables = run(FakeConcepts(5), attacks=[AttackConfig("fgsm", 0.0)], by_success=True)[0].tables
    for row in tables["dissection_success"]:
        empty = row["n"] == 0
        assert empty == (row["change"] == "success")
        assert all((row[key] is None) == empty for key in ("detectors", "ratio", "unique", "real_ratio", "noise_ratio"))
        assert empty or row["ratio"] == row["real_ratio"] == row["noise_ratio"]


def test_retention_is_read_from_the_counts():
    """An attack without effect keeps every concept; halves and thresholds are those of the real images."""
    result, _ = run(FakeConcepts(9), attacks=[AttackConfig("fgsm", 0.0)], threshold_source="recompute")
    (attack, noise) = [
        row
        for row in result.tables["dissection_retention_summary"]
        if row["layer"] == "all" and row["change"] in ("attack", "noise")
    ]
    for row in (attack, noise):
        assert row["detectors"] > 0
        assert (row["same_concept"], row["same_category"], row["any"], row["lost"]) == (1, 1, 1, 0)
    for row in result.tables["dissection_retention"]:
        assert row["kept"] == row["noise_kept"] == ("concept" if row["real_iou"] >= 0.04 else None)
        assert (row["label"], row["iou"]) == (row["real_label"], row["real_iou"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"controls": ()}, "without a control nobody can tell"),
        ({"controls": ("none",)}, "controls must name at least one of shuffled, rotated, random"),
        ({"threshold_source": "both"}, "threshold_source must be real or recompute, got 'both'"),
        ({"iou": 40}, r"iou must lie in \(0, 1\], got 40"),
        ({"groups": 1}, "groups must be 2 or more"),
        ({"replicates": -1}, "replicates must be 0 or more"),
        ({"quantile": 99.5}, "quantile must lie between 0 and 1 or be 'official', got 99.5"),
        ({"rule": "both"}, "rule must be one of original, plain, lite"),
        ({"keep": True, "exact": True}, "choose one of keep and exact"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        DissectionConfig(**settings)


@pytest.mark.parametrize("name", ["random", "shuffled", "fgsm~noise", "fgsm~real"])
def test_attacks_are_not_called_like_controls(name):
    """The control's images would stand in the attack's rows."""
    with pytest.raises(ValueError, match=f"attack: '{name}' is what dissection calls a control"):
        run(FakeConcepts(3), attacks=[AttackConfig("fgsm", "8/255", name=name)])


def test_layers_may_be_separated_by_commas():
    settings = {"replicates": 0, "controls": ("shuffled",)}
    joined, listed = (run(FakeConcepts(3), layers=layers, **settings)[0].tables for layers in ("relu1, relu2", LAYERS))
    assert joined == listed


def test_layers_that_cannot_be_dissected():
    data = FakeConcepts(3)
    with pytest.raises(ValueError, match=r"'fc' gives vectors \[B, 5\]"):
        run(data, layers=("fc",))
    with pytest.raises(ValueError, match=r"got 'relu3'.*relu2"):
        run(data, layers=("relu3",))
    with pytest.raises(ValueError, match="got none"):
        run(data, layers=())


@pytest.mark.parametrize("keep", [True, False])
def test_thresholds_that_memory_does_not_suffice_for_are_refined(keep, monkeypatch):
    """One more sweep, for these units alone, makes them exact; where all are known there is none."""
    settings = {"keep": keep, "controls": ("rotated",)}
    exact, _ = run(FakeConcepts(9), controls=("rotated",), exact=True)
    visits = []

    class Watched(FakeConcepts):
        def __getitem__(self, item):
            visits.append(item)
            return super().__getitem__(item)

    run(Watched(9), **settings)
    assert len(visits) == 9 * (1 if keep else 2)
    monkeypatch.setattr("lightning_advinterp.metrics.quantile.FINE", 1)
    monkeypatch.setattr("lightning_advinterp.metrics.quantile.FINE_OF_LAYER", 0)
    visits.clear()
    capped, _ = run(Watched(9), **settings)
    assert len(visits) == 9 * (1 if keep else 3)
    thresholds = [row["threshold"] for row in exact.tables["dissection"]]
    assert [row["threshold"] for row in capped.tables["dissection"]] == thresholds


def test_the_cost_is_known_before():
    """Real, an attack and its noise, and the network with random weights: forward passes of a dry run."""
    data, attacks = FakeConcepts(4), create_attacks([AttackConfig("fgsm", "8/255")])
    runner = Runner(small_network().double(), data, attacks=attacks)
    config = DissectionConfig(layers=LAYERS)
    first, second = 2, (1 + 1 + 1) + 1 + 1  # real, random; real, attack and its own pass, noise, random
    assert runner.passes([DissectionAnalysis(data, attacks, config)]) == {
        "images": 4,
        "forward_passes": 4 * (first + second),
        "backward_passes": 4,
    }
