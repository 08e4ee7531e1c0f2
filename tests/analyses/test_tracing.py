"""Tracing of predictions: against literal ablations, on planted networks, over processes and interruptions."""

import dataclasses

import pytest
import torch
from analyses.tables import assert_same_tables, missing
from helpers import small_batch, small_network
from torch import nn

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.base.plans import Plans
from lightning_advinterp.analyses.base.question import Scene
from lightning_advinterp.analyses.base.watch import UNWATCHED
from lightning_advinterp.analyses.registry import complete_settings
from lightning_advinterp.analyses.tracing.control import alike_units, matched_images
from lightning_advinterp.analyses.tracing.question import Tracing
from lightning_advinterp.attacks import AttackConfig, sample_keys
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.core.result import Result
from lightning_advinterp.data.class_labels import Outputs
from lightning_advinterp.data.memory_set import MemoryDataset
from lightning_advinterp.networks import Network
from lightning_advinterp.networks.taps import taps

WNIDS = ("n02085620", "n02085782", "n02123045", "n03028079", "n04515003")
NAMES = ("Chihuahua", "Japanese spaniel", "tabby", "church", "upright")


def images(n=24, size=16):
    batch = small_batch(n=n, size=size)
    return MemoryDataset((255 * batch.image).byte(), batch.label.tolist())


def varied_network():
    """A small network that says other things of other images."""
    network = small_network()
    with torch.no_grad():
        network.backbone.fc.bias -= network(images().images.float() / 255).mean(0)
        network.backbone.fc.weight *= 20
        network.backbone.fc.bias *= 20
    return network


def half_right(network, n=24):
    """Images of which the network gets about half right."""
    data = images(n)
    with torch.no_grad():
        predicted = network(data.images.float() / 255).argmax(1).tolist()
    return MemoryDataset(
        data.images,
        [p if place % 2 else label for place, (p, label) in enumerate(zip(predicted, data.labels, strict=True))],
    )


def scene(network, data, question, attacks=(), files=None, **more):
    settings = complete_settings({"tracing": question})
    return Scene(
        network, Outputs(WNIDS, NAMES), create_attacks(list(attacks)), data, settings, ("tracing",), files=files, **more
    )


def run(question, data, *, attacks=(), network=None, files=None, batch_size=5, **options):
    network = varied_network() if network is None else network
    traced_scene = scene(network, data, question, attacks, files)
    (analysis,) = question.build(traced_scene)
    runner = Runner(network, data, attacks=traced_scene.attacks, batch_size=batch_size, seed=0, **options)
    return runner.run([analysis])["tracing"]


def of(rows, **values):
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


ATTACK = AttackConfig("fgsm", "32/255")


def test_differences_equal_literal_ablations():
    """Every row against a forward pass of its own, with the unit's map exchanged by hand."""
    network, data = varied_network(), images()
    question = Tracing(units=8, baselines=["zero", "mean"], of="errors", layers="relu2")
    result = run(question, data, attacks=[ATTACK], network=network)
    x = torch.stack([data[place].image for place in range(len(data))]).float() / 255
    with torch.no_grad():
        logits, features = network.forward_features(x, ["relu2"])
    means = features["relu2"].mean((0, 2, 3))
    attack = create_attacks([ATTACK])["fgsm"]
    attacked = attack(network, x, torch.tensor(data.labels), keys=sample_keys(torch.arange(24), seed=0))
    wrong = (logits.argmax(1) != torch.tensor(data.labels)).nonzero().flatten().tolist()
    rows = result.tables["tracing"]
    assert {row["image"] for row in rows} >= set(wrong)
    for row in rows[:: max(1, len(rows) // 60)]:
        image = (x if row["images"] == "real" else attacked)[row["image"]][None]
        value = 0.0 if row["baseline"] == "zero" else float(means[row["unit"]])

        def exchanged(output, unit=row["unit"], value=value):
            output = output.clone()
            output[:, unit] = value
            return output

        with torch.no_grad():
            before, activation = network.forward_features(image, ["relu2"])
            with taps(network, replace={"relu2": exchanged}):
                after = network(image)
        p, q = before.double().softmax(1)[0, row["class_index"]], after.double().softmax(1)[0, row["class_index"]]
        expected = {
            "probability": p - q,
            "logit": before[0, row["class_index"]] - after[0, row["class_index"]],
            "log_odds": (p / (1 - p)).log2() - (q / (1 - q)).log2(),
        }[row["form"]]
        # float32 rounds a logit where the CPU's kernels place it: four roundings of the largest one are allowed.
        rounding = 4 * torch.finfo(torch.float32).eps * float(torch.cat([before, after]).abs().max())
        assert row["difference"] == pytest.approx(float(expected), abs=max(2e-6, rounding))
        assert row["activation"] == pytest.approx(float(activation["relu2"][0, row["unit"]].mean()), abs=1e-6)


def test_the_strongest_come_first_and_signs_are_kept():
    rows = run(Tracing(units=8, layers="relu2"), images()).tables["tracing"]
    image_rows = of(rows, image=rows[0]["image"], images="real", form="logit", **{"class": "predicted"})
    values = [row["difference"] for row in image_rows]
    assert [row["rank"] for row in image_rows] == list(range(8))
    assert values == sorted(values, reverse=True)
    assert values[0] > 0 > values[-1]
    assert sorted(row["unit"] for row in image_rows) == list(range(8))
    assert list(image_rows[0])[:15] == [
        *("image", "images", "class", "class_index", "layer", "unit", "form", "baseline", "difference", "rank"),
        *("activation", "label", "iou", "lc", "mode_class"),
    ]


def test_errors_are_matched_and_their_units_removed():
    network, data = varied_network(), images()
    question = Tracing(layers="relu2", together=3)
    result = run(question, data, network=network)
    rows = result.tables["tracing_errors"]
    x = torch.stack([data[place].image for place in range(len(data))]).float() / 255
    with torch.no_grad():
        logits = network(x)
    labels = torch.tensor(data.labels)
    wrong = set((logits.argmax(1) != labels).nonzero().flatten().tolist())
    right = set(range(24)) - wrong
    assert {row["image"] for row in rows if not row["right"]} == wrong
    matched = {row["image"] for row in rows if row["right"]}
    assert matched <= right
    assert len(matched) == min(len(wrong), len(right))
    for row in rows:
        removed = of(result.tables["tracing_removed"], image=row["image"], which="named", **{"class": "predicted"})
        for entry in removed:
            units = list(map(int, entry["units"].split()))
            with torch.no_grad(), taps(network, ablate={"relu2": units}):
                after = network(x[row["image"]][None]).double().softmax(1)[0]
            assert entry["probability"] == pytest.approx(float(after[entry["class_index"]]), abs=1e-6)
            assert entry["predicted"] == int(after.argmax())
        if removed:
            flips = entry["predicted"] == data.labels[row["image"]] if not row["right"] else None
            assert row["named_flips"] == flips
    summary = {row["group"]: row for row in result.tables["tracing_summary"]}
    flips = [row["named_flips"] for row in rows if row["named_flips"] is not None and row["control_flips"] is not None]
    assert summary["wrong"]["named_flips"] == pytest.approx(sum(flips) / len(flips))
    assert result.scalars["tracing/counterfactual"] == summary["wrong"]["named_flips"]


@pytest.mark.parametrize("of_which", ["right", "attacked", "errors"])
def test_which_images_are_traced(of_which):
    network = varied_network()
    question = Tracing(of=of_which, limit=3, show=2, layers="relu2")
    attack = AttackConfig("fgsm", "160/255")
    result = run(question, half_right(network), attacks=[attack], network=network)
    rows = result.tables["tracing_errors"]
    real = {row["image"]: row["right"] for row in rows if row["images"] == "real"}
    attacked = {row["image"]: row["right"] for row in rows if row["images"] == "fgsm"}
    pages = {row["image"] for row in result.tables["tracing_pages"]}
    if of_which == "errors":
        assert sum(not right for right in real.values()) == 3
        assert not any(real[image] for image in pages)
    else:
        assert all(real.values())
        assert len(real) <= 3
    if of_which == "attacked":
        assert attacked
        assert not any(attacked.values())
        assert result.tables["tracing_switched"]
    assert len(pages) <= 2


class Planted(nn.Module):
    """Unit 3 decides; unit 5 is dead, and units 0 and 1 are alike."""

    def __init__(self, outputs=5):
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Linear(6, outputs)
        with torch.no_grad():
            self.conv.weight.fill_(0.5)
            self.conv.bias.zero_()
            self.conv.weight[5], self.conv.bias[5] = -1.0, -99.0
            self.fc.weight.zero_()
            self.fc.bias.zero_()
            self.fc.weight[0, 3] = 5.0
            self.fc.weight[0, :2] = 0.1

    def forward(self, x):
        return self.fc(self.relu(self.conv(x)).mean((2, 3)))


def planted(outputs=5, size=16):
    return Network(Planted(outputs), name="planted", num_classes=outputs, input_size=size, phi="relu", head="fc").eval()


def test_a_planted_network_is_traced_to_its_unit():
    result = run(Tracing(layers="relu", units=6, of="errors"), images(), network=planted())
    for image in {row["image"] for row in result.tables["tracing"]}:
        rows = of(result.tables["tracing"], image=image, form="probability", **{"class": "predicted"})
        assert rows[0]["unit"] == 3
        assert [row["unit"] for row in rows[1:3]] == [0, 1], "of equal units the first"
        assert {row["unit"]: row["difference"] for row in rows}[5] == 0, "a dead unit has no difference"
    dead = [row for row in result.tables["tracing"] if row["unit"] == 5]
    assert dead
    assert all(missing(row["lc"]) for row in dead)


def test_one_class_alone_has_no_log_odds():
    data = MemoryDataset((255 * small_batch(n=6).image).byte(), [0] * 6)
    network = planted(outputs=1)
    question = Tracing(of="right", layers="relu")
    traced_scene = Scene(network, Outputs((), ()), {}, data, complete_settings({"tracing": question}), ("tracing",))
    (analysis,) = question.build(traced_scene)
    rows = Runner(network, data).run([analysis])["tracing"].tables["tracing"]
    assert {row["difference"] for row in rows if row["form"] == "probability"} == {0.0}
    assert all(missing(row["difference"]) for row in rows if row["form"] == "log_odds")


def test_screening_keeps_the_exact_values_and_reports_its_recall():
    exact_rows = run(Tracing(layers="conv1", units=3), images()).tables["tracing"]
    screened = run(Tracing(layers="conv1", units=3, screen=4), images())
    for row in screened.tables["tracing"]:
        same = of(exact_rows, **{key: row[key] for key in ("image", "images", "class", "form", "unit")})
        assert not same or same[0]["difference"] == pytest.approx(row["difference"], abs=1e-9)
    (recall,) = {row["recall"] for row in screened.tables["tracing_summary"]}
    assert 0.5 < recall <= 1


def test_samples_are_taken_from_the_data():
    network, data = varied_network(), images()
    result = run(Tracing(layers="relu2", baselines=["sampled"], samples=24, forms=["logit"], units=8), data)
    x = torch.stack([data[place].image for place in range(len(data))]).float() / 255
    with torch.no_grad():
        maps = network.forward_features(x, ["relu2"])[1]["relu2"].mean((2, 3))
    weight = network.backbone.fc.weight.detach()
    for row in result.tables["tracing"][:40]:
        lost = maps[row["image"], row["unit"]] - maps[:, row["unit"]].mean()
        expected = float(weight[row["class_index"], row["unit"]] * lost)
        assert row["difference"] == pytest.approx(expected, abs=1e-5)


def test_an_image_without_a_label_has_no_true_class():
    data = MemoryDataset(images().images, [-1] * 24)
    question = Tracing(classes=["true", "2"], layers="relu2")
    network = varied_network()
    traced_scene = scene(network, data, question, files=data)
    (analysis,) = question.build(traced_scene)
    result = Runner(network, data).run([analysis])["tracing"]
    assert {row["class"] for row in result.tables["tracing"]} == {"2"}
    (analysis,) = Tracing(classes=["true"], layers="relu2").build(traced_scene)
    assert Runner(network, data).run([analysis])["tracing"].tables["tracing"] == []


@pytest.mark.parametrize("batch_size", [1, 24])
def test_batches_change_nothing(batch_size):
    question = Tracing(layers="relu2", baselines=["zero", "sampled"], show=2)
    expected = run(question, images(), attacks=[ATTACK])
    result = run(question, images(), attacks=[ATTACK], batch_size=batch_size)
    assert_same_tables(result.tables, expected.tables, 1e-4)


@pytest.mark.slow
def test_two_processes_make_one():
    """Both halves, merged as the runner merges them, give what one process gives."""
    question, data = Tracing(layers="relu2", baselines=["mean", "sampled"], show=2), images(23)
    expected = run(question, data, attacks=[ATTACK])
    network = varied_network()
    traced_scene = scene(network, data, question, [ATTACK])
    halves = [question.build(traced_scene)[0] for _ in range(2)]
    runners = [
        Runner(network, data, attacks=traced_scene.attacks, batch_size=5, seed=0, rank=rank, world_size=2)
        for rank in (0, 1)
    ]
    plans = Plans(network)
    for half in halves:
        plans.of(half)
        half.expect(23)
    for sweep in (0, 1):
        for runner, half in zip(runners, halves, strict=True):
            wants = plans.of(half).sweeps[sweep]
            places = list(range(23)) if sweep == 0 else sorted(half.choose({}))
            for _, observation in runner._sweep(wants, places, 0, UNWATCHED):
                half.update(sweep, observation)
        states = [half.state_dict() for half in halves]
        halves[0].load_state_dict(states[0])
        halves[0].merge(states[1])
        merged = halves[0].state_dict()
        for half in halves:
            half.load_state_dict(merged)
            half.settle(sweep)
    for table in expected.tables.values():
        for row in table:  # what the runner says of the attack beside the results
            for name in ("norm", "success"):
                row.pop(name, None)
    for half in halves:
        assert_same_tables(half.result().tables, expected.tables, 1e-4)


def test_an_interrupted_run_goes_on(tmp_path):
    class Cut(MemoryDataset):
        batches_left = 10**9

        def __getitems__(self, items):
            Cut.batches_left -= 1
            if Cut.batches_left < 0:
                raise OSError("power cut")
            return super().__getitems__(items)

    def cut():
        data = images()
        return Cut(data.images, data.labels)

    question = Tracing(layers="relu2", show=2)
    expected = run(question, images(), attacks=[ATTACK])
    from lightning_advinterp.analyses.base import journal

    for batch_count in (3, 9, 15):
        path = tmp_path / f"journal-{batch_count}"
        Cut.batches_left = batch_count
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal.time, "monotonic", iter(range(0, 10**6, 100)).__next__)
            with pytest.raises(OSError, match="power cut"):
                run(question, cut(), attacks=[ATTACK], journal=path)
            Cut.batches_left = 10**9
            result = run(question, cut(), attacks=[ATTACK], journal=path)
        assert_same_tables(result.tables, expected.tables, 1e-4)


def test_a_concept_is_found_under_another_name_of_the_layer():
    from lightning_advinterp.analyses.tracing.concepts import concepts_of
    from lightning_advinterp.networks import create_network
    from lightning_advinterp.units.spaces import unit_layers

    network = create_network("resnet18", num_classes=5).eval()
    rows = [
        {
            "layer": "layer4.1.conv2",
            "tap": "layer4.1",
            "unit": 7,
            "images": "real",
            "label": "dog",
            "category": "object",
        },
        {
            "layer": "layer4.1.conv1",
            "tap": "layer4.1.relu#0",
            "unit": 7,
            "images": "real",
            "label": "x",
            "category": "y",
        },
    ]
    rows = [row | {"iou": 0.2} for row in rows]
    concepts = concepts_of(network, unit_layers(network, "last"), Result("dissection", tables={"dissection": rows}))
    assert concepts == {("layer4", 7): {"label": "dog", "category": "object", "iou": 0.2}}


@pytest.mark.parametrize(
    ("unit", "number", "near"),
    [
        ({"mode_index": 0, "label": None, "iou": None}, 1, True),  # two breeds of toy dogs
        ({"mode_index": 0, "label": None, "iou": None}, 3, False),
        ({"mode_index": 3, "label": "dog", "iou": 0.2}, 0, True),  # the concept alone
        ({"mode_index": 3, "label": "dog", "iou": 0.01}, 0, False),  # no detector
        ({"mode_index": 3, "label": "dog", "iou": 0.2}, 2, False),
        ({"mode_index": None, "label": "animal", "iou": 0.2}, 2, True),  # far above, but a tabby is one
        ({"mode_index": None, "label": "a word of nobody", "iou": 0.2}, 2, False),
    ],
)
def test_a_unit_is_near_a_class_by_its_modal_class_or_its_concept(unit, number, near):
    network, data = small_network(), images()
    question = Tracing(layers="relu2")
    traced_scene = scene(network, data, question)
    concepts = {("relu2", 0): {"label": unit["label"], "category": "object", "iou": unit["iou"]}}
    (analysis,) = question.build(traced_scene)
    classes = question.concept_classes(traced_scene, concepts, 0.04)
    names = dataclasses.replace(analysis.names, concept_classes=classes, iou=0.04)
    assert names.near(unit, number) is near


def test_control_units_are_others_and_as_active():
    activation = torch.tensor([5.0, 4.9, 0.0, 5.1, 0.1, 4.8] + [0.0] * 20)
    control = alike_units(activation, [0, 3], torch.tensor(7))
    assert len(set(control)) == 2
    assert not {0, 3} & set(control)
    assert alike_units(torch.tensor([1.0, 2.0]), [0, 1], torch.tensor(7)) == []


def test_matches_are_as_sure_and_used_once():
    confidence = {1: 0.9, 2: 0.5, 3: 0.52, 4: 0.91, 5: 0.1}
    assert matched_images([2, 1, 5], [3, 4], confidence) == {2: 3, 1: 4}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ["predicted", "9"]}, "tracing.classes: small has outputs 0 to 4, got 9"),
        ({"of": "attacked"}, "tracing.of: attacked images need an attack"),
        ({"layers": "dropout"}, None),
    ],
)
def test_what_does_not_suit_is_refused_before_any_work(settings, message):
    network, question = varied_network(), Tracing(**settings)
    traced_scene = scene(network, images(), question)
    if message is None:
        (analysis,) = question.build(traced_scene)
        assert analysis.bind(network).sweeps
        return
    with pytest.raises(ValueError, match=message):
        question.build(traced_scene)[0].bind(network)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": 0}, "units must be 1 or more"),
        ({"screen": 3}, "screen must be at least units"),
        ({"forms": []}, "forms must be one or more of"),
        ({"forms": ["logit", "logit"]}, "each once"),
        ({"baselines": ["none"]}, "baselines must be one or more of zero, mean, sampled"),
        ({"of": "all"}, "of must be one of errors, right, attacked"),
        ({"classes": ["best"]}, "classes must be predicted, true or numbers"),
        ({"show": -1}, "show must be 0 or more"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Tracing(**settings)


def test_settings_are_a_question():
    assert {field.name for field in dataclasses.fields(Tracing)} >= {"of", "limit", "forms", "baselines", "dissection"}
