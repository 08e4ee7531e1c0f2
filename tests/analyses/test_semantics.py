"""The semantics analysis against full sorts and literal equations, in any batches, parts and processes."""

import math

import numpy as np
import pytest
import torch
from analyses.tables import assert_same_tables, missing
from helpers import Memory, assert_untouched, fingerprint, small_batch, small_network
from processes import on_processes, units_on_a_share
from reference import semantics as literal

from lightning_advinterp.analyses import REAL, Runner, SemanticsAnalysis
from lightning_advinterp.analyses.base.classes import aim_within, semantic_classes
from lightning_advinterp.attacks import AttackConfig, sample_keys
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.metrics.semantics import ClassSpace, whole_space
from lightning_advinterp.units.spaces import unit_layers

ATTACKS = [AttackConfig("fgsm", "64/255"), AttackConfig("pgd", "64/255", steps=2, target="random")]
DISTANCES = (torch.arange(5.0)[:, None] - torch.arange(5.0)).abs()
SPACE = whole_space("abcde", torch.exp(-(DISTANCES.double() ** 2) / 2))
C = literal.similarity(DISTANCES.tolist())
COUNT = 23
OPTIONS = {"share": 0.2, "sample": 15, "show": 3, "by_success": True}


@pytest.fixture(scope="module")
def data():
    return Memory(small_batch(n=COUNT, dtype=torch.float64))


def analyse(data, batch_size=4, space=SPACE, network=None, configs=ATTACKS, **options):
    attacks = create_attacks(configs)
    runner = Runner(network or small_network().double(), data, attacks=attacks, batch_size=batch_size, seed=4)
    analysis = SemanticsAnalysis(attacks, classes=space, **(OPTIONS | options))
    return runner, analysis


def run(*arguments, **options):
    runner, analysis = analyse(*arguments, **options)
    return runner.run([analysis])["semantics"], analysis


def test_ceiling_and_measures_of_halves_equal_the_literal_equations(data):
    batch = data.batch
    result, _ = run(data)
    units, _, goals = reactions(batch, lambda m: m.amax(2))
    half = sample_keys(batch.index, seed=0x68616C66) & 1  # "half"
    assert 4 < half.sum() < COUNT - 4
    columns = ("lc_half", "cs1_half", "cs2_half", "cs1_cross", "cs2_cross", "cs_halves", "lc_target", "cs2_identity")
    compared = dict.fromkeys((*columns, "lc_identity", "lc_true"), 0)
    same = [[float(i == j) for j in range(5)] for i in range(5)]
    for place, row in enumerate(result.tables["semantics"]):
        unit, kind = place % 14, row["images"]

        def shares(kind, classes, inside, unit=unit):
            """Of the top fifth of some images by a unit's activation on one kind of them."""
            numbers, values = batch.index[inside].tolist(), units[kind][inside][:, unit].tolist()
            top = literal.top_images(values, numbers, math.ceil(len(numbers) / 5))
            chosen = [numbers.index(number) for number in top]
            fired = [int(classes[inside][at]) for at in chosen if values[at] > 0]
            return literal.shares(fired, 5) if fired else None

        everyone, first, second = half >= 0, half == 0, half == 1
        p = {name: shares(REAL, batch.label, inside) for name, inside in (("1", first), ("2", second))}
        true_shares = shares(kind, batch.label, everyone)
        pairs = {"lc_identity": (shares(REAL, batch.label, everyone),), "lc_true": (true_shares,)}
        if kind == REAL:
            pairs["cs_halves"] = p["1"], p["2"]
        else:
            q, aimed = shares(kind, batch.label, second), shares(kind, goals[kind], second)
            pairs |= {"lc_half": (p["1"],), "cs1_half": (p["2"], q), "cs2_half": (p["2"], aimed)}
            pairs |= {"cs1_cross": (p["1"], q), "cs2_cross": (p["1"], aimed)}
            pairs["lc_target"] = (shares(kind, goals[kind], everyone),)
            pairs["cs2_identity"] = shares(REAL, batch.label, everyone), shares(kind, goals[kind], everyone)
        for name, distributions in pairs.items():
            if any(distribution is None for distribution in distributions):
                assert missing(row[name]), name
                continue
            measure = literal.lc if len(distributions) == 1 else literal.cs
            expected = measure(*distributions, same if name.endswith("identity") else C)
            assert row[name] == pytest.approx(expected, abs=1e-12), name
            compared[name] += 1
    assert min(compared.values()) >= 8


def undecided_network(data):
    """Its predictions differ from image to image, as those of the small network hardly do."""
    network = small_network().double()
    with torch.no_grad():
        network.backbone.fc.weight.mul_(30)
        network.backbone.fc.bias.sub_(network(data.batch.image).mean(0))
    return network


def reactions(batch, reduce, network=None):
    """Per kind: unit activations ``[N, U]`` of both layers, and predicted classes; per attack its targets."""
    network, keys = network or small_network().double(), sample_keys(batch.index, seed=4)
    images, goals = {REAL: batch.image}, {}
    for name, attack in create_attacks(ATTACKS).items():
        attacked = attack.run(network, batch.image, batch.label, keys=keys)
        images[name], goals[name] = attacked.x_adv, attacked.target
    units, predicted = {}, {}
    for kind, x in images.items():
        logits, maps = network.forward_features(x, ["relu1", "relu2"])
        flat = [reduce(maps[name].flatten(2)) for name in ("relu1", "relu2")]
        units[kind] = torch.cat(flat, dim=1).float()
        predicted[kind] = logits.argmax(1)
    goals["fgsm"] = predicted["fgsm"]  # no target: what the network says stands for it
    return units, predicted, goals


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_equals_the_literal_equations(data, reduce):
    batch, count = data.batch, 5  # a fifth of 23, rounded up
    result, _ = run(data, reduce=reduce)
    function = (lambda m: m.amax(2)) if reduce == "max" else (lambda m: m.mean(2))
    units, predicted, goals = reactions(batch, function)
    where = {int(number): place for place, number in enumerate(batch.index)}

    def shares(kind, unit, classes):
        top = literal.top_images(units[kind][:, unit].tolist(), batch.index.tolist(), count)
        places = [where[number] for number in top if units[kind][where[number], unit] > 0]
        return literal.shares([int(classes[place]) for place in places], 5) if places else None

    rows = result.tables["semantics"]
    assert list(rows[0])[:7] == ["layer", "unit", "images", "lc", "cs1", "cs2", "mode_class"]
    assert len(rows) == 14 * 3
    dead = 0
    for place, row in enumerate(rows):
        unit = place % 14
        assert (row["layer"], row["unit"]) == (("conv1", unit) if unit < 6 else ("conv2", unit - 6))
        p = shares(REAL, unit, batch.label)
        dead += p is None
        if p is None:
            assert missing(row["lc"])
            assert row["mode_class"] is None
            assert row["dead"]
            continue
        assert row["lc"] == pytest.approx(literal.lc(p, C), abs=1e-12)
        assert row["mode_class"] == "abcde"[p.index(max(p))]
        kind = row["images"]
        label_shares = shares(kind, unit, batch.label)
        assert row["lc_predicted"] == pytest.approx(literal.lc(shares(kind, unit, predicted[kind]), C), abs=1e-12)
        assert row["entropy"] == pytest.approx(-sum(v * math.log(v) for v in label_shares if v), abs=1e-12)
        if kind == REAL:
            assert row["cs1"] is None
            assert row["cs2"] is None
        else:
            assert row["cs1"] == pytest.approx(literal.cs(p, label_shares, C), abs=1e-12)
            assert row["cs2"] == pytest.approx(literal.cs(p, shares(kind, unit, goals[kind]), C), abs=1e-12)
            predicted_shares = shares(kind, unit, predicted[kind])
            assert row["cs2_predicted"] == pytest.approx(literal.cs(p, predicted_shares, C), abs=1e-12)
            same = [[float(i == j) for j in range(5)] for i in range(5)]
            assert row["cs1_identity"] == pytest.approx(literal.cs(p, label_shares, same), abs=1e-12)
    assert result.tables["semantics_levels"][0]["n"] == COUNT
    assert result.scalars["semantics/all/dead"] == dead / 3 / 14


def test_images_by_success_equal_the_literal_equations(data):
    """Both versions of the images on which an attack succeeds, ranked among themselves; and of the others."""
    network = undecided_network(data)
    batch = data.batch
    result, _ = run(data, network=network)
    units, predicted, goals = reactions(batch, lambda m: m.amax(2), network)
    rows, parts = result.tables["semantics_success"], set()
    right = predicted[REAL] == batch.label
    assert 4 < right.sum() < len(right)
    for kind in ("fgsm", "pgd"):
        reached = predicted[kind] != batch.label if kind == "fgsm" else predicted[kind] == goals[kind]
        sets = {"failure": right & ~reached, "success": right & reached}
        count = min(int(inside.sum()) for inside in sets.values() if inside.any())  # fewer than ten in either part
        assert count <= 10
        for change, inside in sets.items():
            group_rows = [row for row in rows if (row["images"], row["change"]) == (kind, change)]
            if not inside.any():
                assert not group_rows
                continue
            parts.add(change)
            numbers, labels = batch.index[inside].tolist(), batch.label[inside].tolist()
            assert [row["layer"] for row in group_rows] == ["conv1", "conv2", "all"]
            assert {(row["n"], row["kept"]) for row in group_rows} == {(len(numbers), count)}
            measures = {"lc": [], "cs1": [], "cs2": []}
            for unit in range(14):

                def shares(activations, classes, unit=unit, numbers=numbers):
                    values = activations[:, unit].tolist()
                    top = [numbers.index(n) for n in literal.top_images(values, numbers, count)]  # noqa: B023
                    fired = [int(classes[place]) for place in top if values[place] > 0]
                    return literal.shares(fired, 5) if fired else None

                p, q = shares(units[REAL][inside], labels), shares(units[kind][inside], labels)
                aimed = shares(units[kind][inside], goals[kind][inside])
                if p is not None:
                    measures["lc"].append(literal.lc(p, C))
                if p is not None and q is not None:
                    measures["cs1"].append(literal.cs(p, q, C))
                    measures["cs2"].append(literal.cs(p, aimed, C))
            assert group_rows[-1]["dead"] == 14 - len(measures["lc"])
            for name, values in measures.items():
                if (kind, change, name) == ("fgsm", "failure", "cs2"):
                    assert group_rows[-1][name] is None, "it would be CS1"
                else:
                    assert group_rows[-1][name] == pytest.approx(sum(values) / len(values), abs=1e-12)
    assert parts == {"failure", "success"}, "else half of this was not tried"


def test_parts_too_small_to_read_have_no_scalars(data):
    result, _ = run(data, network=undecided_network(data))
    assert {row["readable"] for row in result.tables["semantics_success"]} == {False}
    assert not [key for key in result.scalars if "success" in key or "failure" in key]


def test_scalars_by_success_are_those_of_the_table():
    data = Memory(small_batch(n=480, dtype=torch.float64))
    attack = [AttackConfig("fgsm", "2/255")]
    result, _ = run(data, network=undecided_network(data), batch_size=120, configs=attack)
    rows = [row for row in result.tables["semantics_success"] if row["layer"] == "all"]
    assert [(row["change"], row["readable"]) for row in rows] == [("failure", True), ("success", True)]
    assert rows[0]["kept"] == rows[1]["kept"] == max(10, math.ceil(0.2 * min(row["n"] for row in rows)))
    for row in rows:
        for name in ("lc", "cs1", "cs2", "chance_lc", "chance_cs1", "chance_cs2"):
            key = f"semantics/all/{row['change']}/{name}"
            if row["change"] == "failure" and "cs2" in name:
                assert key not in result.scalars
            else:
                assert result.scalars[key] == row[name]


def test_nothing_to_split_is_said(data, caplog):
    network = undecided_network(data)
    wrong = (network(data.batch.image).argmax(1) + 1) % 5
    result, _ = run(Memory(data.batch._replace(label=wrong)), network=network)
    assert not result.tables["semantics_success"]
    assert "gets no image right" in caplog.text


def test_success_is_not_looked_at_unless_asked(data):
    assert not run(data, by_success=False)[0].tables["semantics_success"]


def test_scalars_are_means_of_the_table(data):
    result, _ = run(data)
    rows = result.tables["semantics"]
    for prefix, kind in (("semantics", "fgsm"), ("semantics/pgd", "pgd")):
        for layer in ("conv1", "conv2"):
            values = [row["cs1"] for row in rows if (row["layer"], row["images"]) == (layer, kind)]
            values = [value for value in values if not missing(value)]
            assert result.scalars[f"{prefix}/{layer}/cs1"] == pytest.approx(sum(values) / len(values))
    alive = [row["lc"] for row in rows if row["images"] == REAL and not missing(row["lc"])]
    assert result.scalars["semantics/all/lc"] == pytest.approx(sum(alive) / len(alive))
    assert {"semantics/all/spearman_cs1_lc", "semantics/all/spearman_cs2_lc"} <= result.scalars.keys()


def test_tables_have_their_columns(data):
    result, _ = run(data)
    curve = result.tables["semantics_curve"]
    assert list(curve[0])[:6] == ["images", "lc_low", "lc_high", "units", "cs1", "cs2"]
    assert len(curve) == 2 * 20
    for table in ("semantics_curve", "semantics_layers", "semantics_smooth", "semantics_levels", "semantics"):
        assert {"floor", "chance_lc", "images_per_class"} <= result.tables[table][0].keys()
    for row in curve:
        assert row["floor"] == 1 / 5
        assert (row["units"] >= 5) == (not missing(row["cs1"]))
    layers = result.tables["semantics_layers"]
    assert [(row["layer"], row["images"]) for row in layers[:2]] == [("conv1", REAL), ("conv2", REAL)]


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": COUNT}, {"images": COUNT, "batch_size": 6}])
def test_does_not_depend_on_batches(data, options):
    assert_same_tables(run(data, **options)[0].tables, run(data, batch_size=7)[0].tables)


def test_without_a_number_of_images_all_are_kept(data):
    """As when the analysis is fed by hand."""
    runner, told = analyse(data)
    expected = runner.run([told])["semantics"].tables
    runner, untold = analyse(data)
    untold.expect = lambda images: None
    assert_same_tables(runner.run([untold])["semantics"].tables, expected)


def test_positions_of_the_strongest_activations(data):
    _, analysis = run(data, show=3)
    network = small_network().double()
    for kind, image in ((REAL, data.batch.image),):
        ranking, places = analysis.top(kind, 3)
        maps = network.forward_features(image, ["relu1", "relu2"])[1]
        for unit in range(14):
            unit_maps = maps["relu1"][:, unit] if unit < 6 else maps["relu2"][:, unit - 6]
            for rank in range(3):
                shown = unit_maps[int((data.batch.index == ranking.index[unit, rank]).nonzero())]
                assert shown[tuple(places[unit, rank])] == shown.max()


def test_an_interrupted_run_goes_on(data, tmp_path):
    uninterrupted, _ = run(data)
    broken, analysis = analyse(Memory(data.batch, fails_at=17))
    journal = Runner(small_network().double(), data, journal=tmp_path / "state")._journal
    journal._every = 0
    broken._journal = journal
    with pytest.raises(OSError, match="power cut"):
        broken.run([analysis])
    resumed, analysis = analyse(data)
    resumed._journal = Runner(small_network().double(), data, journal=tmp_path / "state")._journal
    assert_same_tables(resumed.run([analysis])["semantics"].tables, uninterrupted.tables)


def test_nothing_is_touched(data):
    network = small_network(dropout=0.5).double().train()
    before, state = fingerprint(network), torch.get_rng_state()
    run(data, network=network)
    assert_untouched(network, before)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.slow
def test_two_processes_report_what_one_reports():
    alone = units_on_a_share(0, 1, COUNT)
    assert {"semantics", "distances", "distances_histogram"} <= alone.keys()
    for tables in on_processes(units_on_a_share, 2, COUNT):
        assert_same_tables(tables, alone)


@pytest.mark.parametrize("first", [0, 1])
def test_a_process_without_images_changes_nothing(data, first):
    _, analysis = run(data)
    runner, merged = analyse(data)
    merged.bind(runner.network)
    merged.expect(COUNT)
    idle = merged.state_dict()
    states = [analysis.state_dict(), idle]
    merged.load_state_dict(states[first])
    merged.merge(states[1 - first])
    assert_same_tables(merged.result().tables, analysis.result().tables)


def test_classes_of_the_set(data):
    """A network of five outputs on a set of two classes."""
    inside = data.batch.label > 2
    part = Memory(type(data.batch)(*(field[inside] for field in data.batch)))
    space = ClassSpace((3, 4), ("d", "e"), SPACE.similarity[3:, 3:])
    targeted = [AttackConfig("pgd", "64/255", steps=2, target="least_likely")]
    result, _ = run(part, space=space, configs=targeted, share=0.5)
    mass = result.tables["semantics_levels"][1]["target_mass"]
    attack = create_attacks(targeted)["pgd"]
    goals = attack.run(small_network().double(), part.batch.image, part.batch.label).target
    assert mass == pytest.approx(float((goals > 2).double().mean()))
    assert mass < 1

    attacks = create_attacks(targeted)
    attacks["pgd"].classes = (3, 4)
    runner = Runner(small_network().double(), part, attacks=attacks, seed=4)
    (measured,) = runner.run([SemanticsAnalysis(attacks, classes=space, share=0.5)]).values()
    assert measured.tables["semantics_levels"][1]["target_mass"] == 1


@pytest.mark.parametrize("batch_size", [4, 1])
def test_mass_of_an_attack_without_a_target(data, batch_size):
    """It is the share of images that the whole network takes for a member; among the members all would be."""
    network = undecided_network(data)
    inside = data.batch.label > 2
    part = Memory(type(data.batch)(*(field[inside] for field in data.batch)))
    space = ClassSpace((3, 4), ("d", "e"), SPACE.similarity[3:, 3:])
    result, _ = run(part, batch_size, space, network, configs=ATTACKS[:1], share=0.5)
    x_adv = create_attacks(ATTACKS[:1])["fgsm"](network, part.batch.image, part.batch.label)
    expected = float((network(x_adv).argmax(1) > 2).double().mean())
    assert 0 < expected < 1
    assert result.scalars["semantics/all/target_mass"] == pytest.approx(expected)
    chance = result.tables["semantics_levels"][1]["chance_cs2"]
    assert 0 < chance <= 1, "q̃ is over the members all the same"


def test_layers():
    network = small_network()
    assert [(layer.layer, layer.tap, layer.signed) for layer in unit_layers(network, "all_conv")] == [
        ("conv1", "relu1", False),
        ("conv2", "relu2", False),
    ]
    assert [layer.tap for layer in unit_layers(network, "last")] == ["relu2"]
    assert [(layer.tap, layer.signed) for layer in unit_layers(network, "relu1, bn2")] == [
        ("relu1", False),
        ("bn2", None),
    ]
    with pytest.raises(ValueError, match="layer must be a module path"):
        unit_layers(network, ["relu9"])


def test_signed_layers_count_every_activation(data):
    """After BatchNorm without ReLU, a unit whose activations are all negative is not dead."""
    network = small_network().double()
    network.backbone.bn2.bias.data -= 100
    result, _ = run(data, network=network, layers="bn2,relu2")
    rows = [row for row in result.tables["semantics"] if row["images"] == REAL]
    assert all(row["signed"] and not missing(row["lc"]) for row in rows if row["layer"] == "bn2")
    assert all(row["dead"] and missing(row["lc"]) for row in rows if row["layer"] == "relu2")


def test_a_run_too_small_to_read_says_so(data, caplog):
    result, _ = run(data)
    assert not result.tables["semantics_levels"][0]["readable"]
    assert "too few to read LC" in caplog.text


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="reduce must be max or mean"):
        SemanticsAnalysis(classes=SPACE, reduce="sum")
    with pytest.raises(ValueError, match="share must be in"):
        SemanticsAnalysis(classes=SPACE, share=2)


def test_class_space_of_a_data_set():
    wnids = ["n02958343", "n02084071", "n04490091", "n02121620"]  # car, dog, truck, cat
    names = ["car", "dog", "truck", "cat"]
    space = semantic_classes(wnids, names, labels=[2, 0, 2])
    assert (space.members, space.names) == ((0, 2), ("car", "truck"))
    assert space.similarity[0, 1].item() == pytest.approx(math.exp(-2))
    everything = semantic_classes(wnids, labels=[2, 0], target_classes="all", sigma=2)
    assert (everything.members, everything.names) == ((0, 1, 2, 3), tuple(wnids))
    assert everything.similarity[1, 3].item() == pytest.approx(math.exp(-16 / 8)), "dog and cat are 4 apart"
    with pytest.raises(ValueError, match=r"labels must be outputs of the network, 0 to 3, got \[7\]"):
        semantic_classes(wnids, labels=[7])
    with pytest.raises(ValueError, match="target_classes must be dataset or all"):
        semantic_classes(wnids, target_classes="some")
    attacks = create_attacks(ATTACKS)
    narrowed = aim_within(attacks, space.members, 4)
    assert {attack.classes for attack in narrowed.values()} == {(0, 2)}
    assert {attack.classes for attack in attacks.values()} == {None}, "attacks are values"
    assert {attack.classes for attack in aim_within(narrowed, everything.members, 4).values()} == {None}


def test_own_hierarchies_of_all_outputs_and_of_the_sets_classes(tmp_path):
    names = ["red", "blue", "pink", "grey"]
    every = 2.0 * (torch.arange(4)[:, None] - torch.arange(4)).abs()
    np.save(tmp_path / "every.npy", every.numpy())
    np.save(tmp_path / "some.npy", every[::2, ::2].numpy())
    spaces = {
        file: semantic_classes(names, labels=[0, 2], hierarchy=tmp_path / file) for file in ("every.npy", "some.npy")
    }
    for space in spaces.values():
        assert space.names == ("red", "pink")
        assert space.similarity[0, 1].item() == pytest.approx(math.exp(-8))
    assert torch.equal(spaces["every.npy"].distances, every.double())
    distances = spaces["some.npy"].distances
    assert torch.equal(distances[::2, ::2], every[::2, ::2].double())
    assert distances[1].isnan().all()
    (tmp_path / "links.csv").write_text("child,parent\nred,warm\npink,warm\nwarm,colour\nblue,colour\n")
    linked = semantic_classes(names, labels=[0, 2], hierarchy=tmp_path / "links.csv")
    assert linked.distances[0, 2] == 2, "grey is missing, and no class of the set"
    with pytest.raises(ValueError, match="has no node for 1 classes, among them 'grey'"):
        semantic_classes(names, labels=[0, 3], hierarchy=tmp_path / "links.csv")


@pytest.mark.parametrize("count", [1, 2])
def test_a_handful_of_images(count):
    """Halves without images, layers without curves: what cannot be said is missing, and nothing fails."""
    batch = small_batch(n=count, dtype=torch.float64)
    result, _ = run(Memory(batch))
    row = next(row for row in result.tables["semantics"] if not row["dead"])
    assert row["lc"] == 1
    assert all(point["cs1"] is None for point in result.tables["semantics_curve"] if point["units"] < 5)


def test_targets_that_all_lie_outside():
    """Then there is no q̃ to compare with: CS2 is missing everywhere, CS1 is not."""
    batch = small_batch(n=COUNT, dtype=torch.float64)
    inside = batch.label != 2
    part = Memory(type(batch)(*(field[inside] for field in batch)))
    space = ClassSpace((0, 1, 3, 4), tuple("abde"), torch.eye(4))
    result, _ = run(part, space=space, configs=[AttackConfig("pgd", "8/255", steps=1, target=2)])
    rows = [row for row in result.tables["semantics"] if row["images"] == "pgd" and not row["dead"]]
    assert all(missing(row["cs2"]) and not missing(row["cs1"]) for row in rows)
    assert result.scalars["semantics/all/target_mass"] == 0
    assert missing(result.scalars["semantics/all/cs2"])
