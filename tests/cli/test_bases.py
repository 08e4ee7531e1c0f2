"""The command that makes bases, and evaluations that read layers in them."""

import re

import pytest
import torch
from safetensors.torch import save_file
from unit_evaluations import run, table, tables, write_checkpoint

from lightning_advinterp.cli.bases import held_apart, main
from lightning_advinterp.cli.basis_plan import DEFAULTS
from lightning_advinterp.cli.basis_trial import _fitted
from lightning_advinterp.data.concept_world import ConceptWorld
from lightning_advinterp.networks import weights_hash
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.units.basis_files import load_basis
from lightning_advinterp.units.basis_fitting import Fitting

LAYER = "layer2"
EVERYTHING = "dissection,semantics,panels"


@pytest.fixture
def flags(inputs):
    return ["--checkpoint", str(inputs / "last.ckpt"), "--layer", LAYER, "--data", "concept_world", "--limit", "20"]


def printed(capsys):
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("kind", ["sae", "pca", "nmf", "rotation"])
def test_a_dry_run_says_what_a_basis_takes(kind, flags, tmp_path, capsys):
    """Its disk is that of the file, as far as tensors go."""
    output = tmp_path / "new" / f"{kind}.safetensors"
    more = {"sae": ["--latents", "40", "--k", "4", "--steps", "10", "--rows", "64"], "nmf": ["--steps", "10"]}
    main([*flags, *more.get(kind, []), "--kind", kind, "--output", str(output), "--dry_run"])
    text = printed(capsys)
    assert re.search(rf"{output}: expected: 0:00:\d\d \(h:mm:ss\), [\d.]+ GiB of memory in each process; on disk", text)
    assert not output.parent.exists()


def test_images_that_a_fit_reads_are_foretold():
    """By hand: 1,000 rows of 4 units, 10 an image; a buffer of 512 holds half; 300 steps of 16 use up 4,800."""
    rows, settings = torch.rand(30, 4), {**DEFAULTS["sae"], "latents": 6, "k": 2, "steps": 300, "rows": 16}
    trial = _fitted("sae", rows, 1000, 10, settings, FewRows(), None)
    assert trial.images == (512 + 300 * 16 - 256) / 10
    assert trial.held == 768 * 4 * 4
    assert _fitted("sae", rows, 500, 10, settings, FewRows(), None).images == 50
    parts = _fitted("nmf", rows, 1000, 10, {"latents": 4, "steps": 7}, FewRows(), None)
    assert parts.images == 25.6
    assert _fitted("pca", rows, 1000, 10, {"latents": None}, FewRows(), None).images == 100


class FewRows(Fitting):
    """A buffer of 2,048 numbers."""

    def capacity(self, units):
        return 2048 // units


def test_a_sparse_autoencoder_is_fitted_measured_and_saved(flags, inputs, tmp_path, capsys):
    output = tmp_path / "sae.safetensors"
    small = ["--latents", "40", "--k", "4", "--steps", "20", "--rows", "64", "--seed", "3"]
    main([*flags, *small, "--output", str(output)])
    text = printed(capsys)
    assert f"{output}: sae of {LAYER}, 32 units to 40 latents" in text
    assert re.search(r"% of the variance explained, \d\.\d of 40 latents active at a place, \d+ dead; 128 places", text)
    assert "of 2 other images" in text
    basis, origin = load_basis(output)
    assert (origin.layer, origin.network) == (LAYER, "cifar_resnet20")
    assert origin.weights_sha256 == weights_hash(load_checkpoint(str(inputs / "last.ckpt")).network)
    assert origin.recipe["settings"] | {"latents": 40, "k": 4, "l1": 0.02, "places": 64} == origin.recipe["settings"]
    assert origin.recipe["images"]["images"] == 18
    assert 0 <= origin.recipe["quality"]["explained"] <= 1
    rows = torch.randn(30, 32)
    assert int((basis.encode(rows) > 0).sum(1).max()) <= 4
    torch.testing.assert_close(basis.decoder.norm(dim=1), torch.ones(40))
    first = output.read_bytes()
    main([*flags, *small, "--output", str(output)])
    assert output.read_bytes() == first
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("kind", "more", "latents"),
    [
        ("pca", [], 32),
        ("pca", ["--latents", "5", "--held_out", "0"], 5),
        ("nmf", ["--latents", "6", "--steps", "10"], 6),
        ("rotation", [], 32),
        ("identity", [], 32),
    ],
)
def test_other_kinds(kind, more, latents, flags, tmp_path, capsys):
    main([*flags, "--kind", kind, *more, "--output", str(tmp_path / f"{kind}.safetensors")])
    text = printed(capsys)
    assert f"{kind} of {LAYER}, 32 units to {latents} latents" in text
    basis, _ = load_basis(tmp_path / f"{kind}.safetensors")
    assert (basis.kind, basis.latents) == (kind, latents)
    if latents == 32:  # nothing is lost
        assert "100.0 % of the variance" in text
    assert ("of the same images" in text) == ("--held_out" in more)


def test_rotations_and_sources_need_no_images(flags, tmp_path, capsys):
    without = flags[:4]
    main([*without, "--kind", "rotation", "--output", str(tmp_path / "turn.safetensors")])
    assert "variance" not in printed(capsys)
    state = {"W_enc": torch.randn(32, 9), "b_enc": torch.zeros(9), "W_dec": torch.randn(9, 32), "b_dec": torch.ones(32)}
    save_file(state, tmp_path / "foreign.safetensors")
    convention = ["--source", str(tmp_path / "foreign.safetensors"), "--activation", "topk", "--k", "2"]
    main([*without, *convention, "--subtracts_bias", "true", "--output", str(tmp_path / "sae.safetensors")])
    assert "read as activation topk, k 2, normalized 0" in printed(capsys)
    basis, origin = load_basis(tmp_path / "sae.safetensors")
    rows = torch.randn(10, 32)
    before = (rows - 1) @ state["W_enc"]
    expected = torch.zeros_like(before).scatter(1, before.topk(2).indices, before.topk(2).values.relu())
    torch.testing.assert_close(basis.encode(rows), expected)
    assert origin.recipe["settings"] == {"source": "foreign.safetensors"}


REFUSED = {
    "output must be a file NAME.safetensors, got 'sae.pt'": ["--output", "sae.pt"],
    "latents must be 1 or more, got 0": ["--latents", "0"],
    "k must be at most the 16 latents, got 17": ["--latents", "16", "--k", "17"],
    "held_out must be a share from 0 to less than 1, got 1.0": ["--held_out", "1"],
    "k=4 is no setting of kind=pca": ["--kind", "pca", "--k", "4"],
    "l1=0.1 is no setting of activation=topk": ["--l1", "0.1"],
    "k=4 is no setting of activation=relu": ["--activation", "relu", "--k", "4"],
    "activation must be topk or relu to be trained": ["--activation", "jumprelu"],
    "steps=10 is no setting of a source": ["--source", "x.pt", "--steps", "10"],
    "got kind=pca; leave kind out": ["--source", "x.pt", "--kind", "pca"],
    "source: no file x.pt": ["--source", "x.pt"],
    "which names layer1, layer2; name one": ["--layer", "layer1,layer2"],
    "must be a module path of CifarResNet, got 'layer9'": ["--layer", "layer9"],
    "at most the layer's 32 units for pca, got 33": ["--kind", "pca", "--latents", "33"],
    "nmf needs activations of zero or more": ["--kind", "nmf", "--layer", "layer2.0.bn2"],
    "cannot be divided; give --held_out 0": ["--limit", "1"],
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_done_is_said_in_one_line(message, flags, tmp_path, capsys):
    output = [] if "--output" in REFUSED[message] else ["--output", str(tmp_path / "out" / "basis.safetensors")]
    with pytest.raises(SystemExit) as stop:
        main([*flags, *output, *REFUSED[message]])
    assert stop.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert not list(tmp_path.rglob("*.safetensors"))


def test_held_out_images_are_others():
    world = ConceptWorld("val", 20, size=16)
    fitted, measured = held_apart(world, 0.1, seed=0)
    assert (len(fitted), len(measured)) == (18, 2)
    assert set(fitted.indices) | set(measured.indices) == set(world.indices)
    assert held_apart(world, 0.001, seed=0)[1].indices != []
    assert held_apart(world, 0, seed=0) == (world, world)


@pytest.fixture(scope="module")
def bases(inputs):
    folder = inputs / "made"
    shared = ["--checkpoint", str(inputs / "last.ckpt"), "--layer", LAYER, "--limit", "12", "--data", "concept_world"]
    for kind in ("identity", "rotation"):
        main([*shared, "--kind", kind, "--output", str(folder / f"{kind}.safetensors")])
    main([*shared, "--latents", "40", "--k", "4", "--steps", "20", "--output", str(folder / "sae.safetensors")])
    return folder


@pytest.mark.slow
def test_the_identity_s_tables_are_the_units_bit_by_bit(inputs, bases, tmp_path):
    more = ["--concepts", str(inputs / "broden"), "--attack", "fgsm"]
    plain = run(inputs, tmp_path / "plain", EVERYTHING, *more, "--layers", LAYER)
    same = run(inputs, tmp_path / "same", EVERYTHING, *more, "--layers", f"{LAYER}@{bases}/identity.safetensors")
    assert plain.keys() == same.keys() >= {"dissection", "semantics", "panels"}
    for name, text in plain.items():
        assert same[name].replace(f"{LAYER}@identity", LAYER) == text, name
    assert f"{LAYER}@identity" in same["semantics"]


@pytest.mark.slow
def test_units_and_bases_stand_side_by_side(inputs, bases, tmp_path, capsys):
    layers = f"{LAYER},{LAYER}@{bases}/rotation.safetensors,{LAYER}@{bases}/sae.safetensors"
    more = ["--concepts", str(inputs / "broden"), "--attack", "fgsm", "--layers", layers]
    run(inputs, tmp_path / "out", EVERYTHING, *more)
    text = printed(capsys)
    assert f"basis {LAYER}@sae: sae of {LAYER}, 40 latents" in text
    units = {}
    for row in table(tmp_path / "out", "dissection"):
        if row["images"] == "real":
            units.setdefault(row["layer"], []).append(row)
    assert {layer: len(rows) for layer, rows in units.items()} == {
        LAYER: 32,
        f"{LAYER}@rotation": 32,
        f"{LAYER}@sae": 40,
    }
    # Dissection's control takes the same rotation of a single layer.
    summary = table(tmp_path / "out", "dissection_summary")
    turned = {
        row["category"]: row["ratio"]
        for row in summary
        if (row["layer"], row["images"]) == (f"{LAYER}@rotation", "real")
    }
    control = {row["category"]: row["rotated"] for row in summary if (row["layer"], row["images"]) == (LAYER, "real")}
    assert turned == control
    assert set(tables(tmp_path / "out")) >= {"semantics", "panels"}


@pytest.mark.slow
def test_sensitivity_and_tracing_take_bases(inputs, bases, tmp_path):
    layers = ["--layers", f"{LAYER}@{bases}/sae.safetensors", "--attack", "fgsm"]
    changes = run(inputs, tmp_path / "changes", "sensitivity", *layers)
    assert f"{LAYER}@sae" in changes["sensitivity"]
    more = [
        "--tracing.limit",
        "2",
        "--tracing.of",
        "attacked",
        "--tracing.baselines",
        "[mean,sampled]",
        "--tracing.screen",
    ]
    run(inputs, tmp_path / "traces", "tracing", *layers, *more, "12")
    rows = table(tmp_path / "traces", "tracing")
    assert {row["layer"] for row in rows} == {f"{LAYER}@sae"}
    assert {row["baseline"] for row in rows} == {"mean", "sampled"}


@pytest.mark.slow
def test_traces_in_the_identity_are_the_units(inputs, bases, tmp_path):
    """All but what a closed form rounds otherwise: this layer is not the last."""
    more = ["--attack", "fgsm", "--tracing.limit", "2", "--tracing.of", "attacked"]
    traces = {}
    for name, layers in (("plain", LAYER), ("same", f"{LAYER}@{bases}/identity.safetensors")):
        run(inputs, tmp_path / name, "tracing", *more, "--layers", layers)
        traces[name] = table(tmp_path / name, "tracing")
    assert len(traces["plain"]) == len(traces["same"]) > 0
    for row, expected in zip(traces["same"], traces["plain"], strict=True):
        assert (row["unit"], row["class"], row["rank"]) == (expected["unit"], expected["class"], expected["rank"])
        assert float(row["difference"]) == pytest.approx(float(expected["difference"]), rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_masked_units_are_those_of_the_identity(inputs, bases, tmp_path):
    more = ["--attack", "fgsm", "--sensitivity.mask_units", "[0,2,9]", "--sensitivity.mask_attack", "fgsm"]
    masked = {
        name: run(inputs, tmp_path / name, "sensitivity", *more, "--layers", layers)["sensitivity_masking"]
        for name, layers in (("plain", LAYER), ("same", f"{LAYER}@{bases}/identity.safetensors"))
    }
    assert masked["plain"] == masked["same"]


def test_another_network_s_basis_is_said(inputs, bases, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    checkpoint = write_checkpoint(tmp_path / "other" / "last.ckpt", seed=1)
    more = [
        "--checkpoint",
        str(checkpoint),
        "--layers",
        f"{LAYER}@{bases}/sae.safetensors",
        "--dry_run",
        "--trial_seconds",
        "0",
    ]
    run(inputs, tmp_path / "out", "semantics", *more)
    assert "made on other weights than this network's" in printed(capsys)
