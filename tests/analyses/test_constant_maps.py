"""A map that is the same everywhere ranks nothing: its measures are missing, counted and named, never perfect."""

import logging
from dataclasses import replace

import pytest
import torch
from helpers import Memory, small_batch, small_network

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.curvature.analysis import CurvatureAnalysis
from lightning_advinterp.analyses.curvature.config import CurvatureConfig
from lightning_advinterp.analyses.fragility.analysis import FragilityAnalysis
from lightning_advinterp.analyses.fragility.config import FragilityConfig
from lightning_advinterp.analyses.fragility.figures import fragility_curves, fragility_panels
from lightning_advinterp.analyses.influence.analysis import InfluenceAnalysis
from lightning_advinterp.analyses.influence.config import InfluenceConfig, make_task
from lightning_advinterp.analyses.registry import QUESTIONS
from lightning_advinterp.analyses.semantics.units import Layers, LayerUnits
from lightning_advinterp.attacks import ExplanationAttackConfig
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.explanations import EXPLANATIONS, ExplanationConfig, unit_sum
from lightning_advinterp.metrics.faithfulness import deletion_insertion
from lightning_advinterp.metrics.heatmaps import (
    centre_shift,
    compare_images,
    compare_maps,
    compare_to_target,
    kendall,
    mean_squared_error,
    pearson,
    spearman,
    ssim,
    top_k_intersection,
)
from lightning_advinterp.report.save import to_csv
from lightning_advinterp.training.callbacks import FragilityCallback
from lightning_advinterp.units.top_images import TopImages

ATTACKS = ("random_sign", "topk", "mass_centre", "target_region", "target_map")
METHODS = tuple(sorted(set(EXPLANATIONS) - {"pattern_attribution", "attention_rollout"}))  # a network without attention


def silent_maps():
    """Maps that say nothing, and one that does."""
    maps = torch.rand(5, 12, 12, generator=torch.Generator().manual_seed(0))
    maps[0], maps[1] = 0.0, 0.25
    maps[2, 3, 3], maps[3, 4, 4] = torch.nan, torch.inf
    return maps


@pytest.mark.parametrize(
    "measure",
    [
        spearman,
        kendall,
        pearson,
        ssim,
        mean_squared_error,
        centre_shift,
        lambda a, b: centre_shift(a, b, relative=True),
        lambda a, b: top_k_intersection(a, b, 14),
        *(lambda a, b, name=name: compare_maps(a, b)[name] for name in compare_maps(*torch.rand(2, 1, 11, 11))),
    ],
)
def test_measures_of_pairs_are_missing(measure):
    maps, textured = silent_maps(), torch.rand(5, 12, 12)
    for pair in ((maps, maps), (maps, textured), (textured, maps)):
        assert measure(*pair).isnan().tolist() == [True, True, True, True, False]


def test_deletion_and_insertion_are_missing():
    x = torch.rand(5, 3, 12, 12)
    for areas in deletion_insertion(lambda z: z.mean((1, 2, 3)), x, silent_maps(), torch.zeros(3, 1, 1), 3):
        assert areas.isnan().tolist() == [True, True, True, True, False]


def test_constant_images_and_targets_still_count():
    black = torch.zeros(1, 3, 12, 12)
    measures = compare_images(black, black + 0.5)
    assert float(measures["image_mse"]) == 0.25
    assert 0 < float(measures["image_ssim"]) < 0.01
    uniform = torch.full((5, 12, 12), 1 / 144)
    for name, values in compare_to_target(silent_maps(), uniform).items():
        assert bool(values[:4].isnan().all())
        assert bool(values[4].isnan()) == (name in ("spearman", "pcc"))


def test_what_underflows_is_no_map():
    tiny = torch.rand(2, 4, 4) * torch.tensor([1e-42, 1.0])[:, None, None]
    tiny.requires_grad_()
    maps = unit_sum(tiny)
    assert maps.sum((1, 2)).tolist() == pytest.approx([0, 1])
    (gradient,) = torch.autograd.grad(maps.square().sum(), tiny)
    assert bool(gradient.isfinite().all())


def deadened(network):
    """Let no unit of the last layer fire, whatever the image."""
    with torch.no_grad():
        network.backbone.bn2.bias.fill_(-1000.0)
    return network


def labelled(network, n=4):
    batch = small_batch(n=n, size=12)
    return Batch(batch.image, network(batch.image).argmax(1), batch.index)


@pytest.fixture(scope="module")
def dead():
    """Every method under every attack, on a network that has no map of any image."""
    network = deadened(small_network())
    config = FragilityConfig(
        methods=tuple(ExplanationConfig(name) for name in METHODS),
        attacks=tuple(ExplanationAttackConfig(kind, steps=1) for kind in ATTACKS),
        eps=("8/255",),
        faithfulness=2,
        show=1,
        batch_size=2,
    )
    analysis = FragilityAnalysis(config)
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logging.getLogger("lightning_advinterp").addHandler(handler)
    try:
        result = Runner(network, Memory(labelled(network)), batch_size=2).run([analysis])["fragility"]
    finally:
        logging.getLogger("lightning_advinterp").removeHandler(handler)
    return analysis, result, records


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.slow
def test_no_method_counts_a_dead_network_as_stable(dead, method):
    _, result, records = dead
    measures = list(compare_maps(*torch.rand(2, 1, 11, 11)))
    rows = [row for row in result.tables["fragility"] if row["method"] == method]
    assert len(rows) == 4 * len(ATTACKS)
    for row in rows:
        assert row["no_map"] == "both"
        assert not row["success"]
        assert all(row[measure] is None for measure in measures)
    for row in (row for row in result.tables["fragility_summary"] if row["method"] == method):
        assert (row["n"], row["no_map"], list(row)[-1]) == (4, 4, "no_map")
        assert all(row[measure] is None for measure in (*measures, "deletion", "insertion"))
    (about,) = (row for row in result.tables["fragility_methods"] if row["method"] == method)
    assert (about["no_map"], list(about)[-1]) == (4, "no_map")
    assert any(f"method {method} has no map of 4 of 4 images (image 40, 41, 42, 43)" in line for line in records)
    logged = FragilityCallback().scalars({"fragility": result})
    logged_measures = {key.rsplit("/", 1)[1] for key in logged if key.startswith(f"fragility/{method}/")}
    assert logged_measures == {"label_kept", "success", "no_map"}


def test_tables_figures_and_the_terminal(dead):
    _, result, _ = dead
    header, *lines = to_csv(result.tables["fragility_summary"]).splitlines()
    assert header.split(",")[-1] == "no_map"
    places = [header.split(",").index(name) for name in ("topk", "spearman", "center_shift", "ssim", "mse")]
    assert all(line.split(",")[place] == "" for line in lines for place in places)
    assert [column.header for column in QUESTIONS["fragility"]().brief(result, "").columns][-1] == "no map"
    titles = [axes.get_title() for axes in fragility_curves(result.tables["fragility_summary"]).axes]
    assert f"{METHODS[0]}\nno map of up to 4 of 4 images" in titles
    pictures = [row for row in result.tables["fragility_pictures"] if row["method"] == METHODS[0]][:2]  # all takes long
    (panel,) = fragility_panels(replace(result, tables={"fragility_pictures": pictures})).values()
    assert [axes.get_title() for axes in panel.axes[3::4]] == ["no map", "no map"]


def test_an_attack_does_not_win_by_a_map_that_says_nothing():
    """An iterate at which the units are dead has no map; it is not the most different one."""
    network = small_network()
    analysis = FragilityAnalysis(
        FragilityConfig(
            methods=(ExplanationConfig("gradcam"),),
            attacks=tuple(ExplanationAttackConfig(kind, steps=4) for kind in ATTACKS[:4]),
            eps=(1.0,),
            faithfulness=0,
            batch_size=4,
        )
    )
    result = Runner(network, Memory(labelled(network)), batch_size=4).run([analysis])["fragility"]
    rows = [row for row in result.tables["fragility"] if row["success"]]
    assert rows
    assert all(row["no_map"] is None for row in rows)


def test_curvature_of_a_dead_network():
    network = deadened(small_network())
    analysis = CurvatureAnalysis(CurvatureConfig(lanczos=3, probes=2))
    result = Runner(network, Memory(labelled(network)), batch_size=4).run([analysis])["curvature"]
    assert result.scalars["curvature/no_gradient"] == 4
    rows = {row["measure"]: row for row in result.tables["curvature_summary"]}
    named = ("principal", "cos2", "cos2_times_dimension", "cos2_times_dimension_random", "delta_p_gradient")
    for name in (*named, "delta_map_top", "delta_map_random", "topk_random", "topk_top", "spearman_gradient"):
        assert (rows[name]["median"], rows[name]["n"], rows[name]["missing"]) == (None, 0, 4), name
        assert f"curvature/{name}" not in result.scalars
    assert rows["gradient_norm"]["missing"] == 0
    assert list(rows["cos2"])[-1] == "missing"
    assert [column.header for column in QUESTIONS["curvature"]().brief(result, "").columns][-1] == "missing"


def test_influence_of_a_saturated_last_layer(caplog):
    """Where the loss's gradient is zero, no training image counts more than another."""
    network, batch = small_network(), small_batch(n=12, size=12)
    label = torch.arange(12) % 2
    with torch.no_grad():  # the features tell nothing; the bias alone decides, with a probability of exactly 1
        network.backbone.fc.weight.zero_()
        network.backbone.fc.bias.copy_(torch.tensor([900.0, 0, 0, 0, 0]))
    config = InfluenceConfig(layer="own", training=8, test=4, steps=2, top=2, overlap=2)
    task = make_task(label.tolist(), batch.index.tolist(), config)
    analysis = InfluenceAnalysis(config, task)
    batch = Batch(batch.image, label, batch.index)
    result = Runner(network, Memory(batch), batch_size=12).run([analysis])["influence"]
    count = int(result.scalars["influence/images"])
    assert count >= 1
    for row in result.tables["influence"]:
        assert row["no_influence"] == "both"
        assert row["overlap"] is None
        assert row["spearman"] is None
    for row in result.tables["influence_summary"]:
        assert (row["overlap"], row["overlap_kept"], row["spearman"]) == (None, None, None)
        assert (row["no_influence"], list(row)[-1]) == (count, "no_influence")
        assert result.scalars[f"influence/{row['attack']}/no_influence"] == count
        assert f"influence/{row['attack']}/overlap" not in result.scalars
    assert "all training images have the same influence" in caplog.text
    assert all(exemplars.before == [] for exemplars in analysis.exemplars.values())
    assert [column.header for column in QUESTIONS["influence"]().brief(result, "").columns][-1] == "no influence"


@pytest.mark.parametrize("signed", [True, False])
def test_a_unit_of_one_value_has_no_meaning(signed):
    """Its top images are the first ones, before and after any attack."""
    top = TopImages(4)
    values = torch.rand(9, 3, generator=torch.Generator().manual_seed(0)) + 1
    values[:, 1] = 2.0
    top.update(values, torch.arange(9), torch.zeros(9, 1, dtype=torch.int32))
    counted = Layers((LayerUnits("conv", "relu", 3, signed),)).counted(top.ranking(4))
    assert counted.all(1).tolist() == [True, False, True]
    assert not counted[1].any()
