"""Bases of a layer: what they compute, their files, and what is refused; against literal loops."""

import hashlib
import json
import re

import pytest
import torch
from helpers import small_network
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.optimize import nnls
from torch import nn

from lightning_advinterp.analyses.sensitivity.masking import masked_layers
from lightning_advinterp.units.autoencoder import SparseAutoencoder, top_k
from lightning_advinterp.units.bases import Identity, NonNegativeParts, PrincipalComponents, Rotation
from lightning_advinterp.units.basis_files import BasisOrigin, load_basis, save_basis
from lightning_advinterp.units.maps import Layout
from lightning_advinterp.units.rotation import rotation
from lightning_advinterp.units.spaces import UnitLayer, unit_space

ORIGIN = BasisOrigin("relu2", "small", "0" * 64, {"seed": 3})


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def autoencoder(activation="topk", latents=12, units=8, k=3):
    return SparseAutoencoder(
        numbers(latents, units),
        numbers(latents, seed=1),
        nn.functional.normalize(numbers(latents, units, seed=2)),
        numbers(units, seed=3),
        numbers(units, seed=4),
        numbers(latents, seed=5).abs() if activation == "jumprelu" else torch.zeros(latents, dtype=torch.float64),
        activation,
        k if activation == "topk" else 0,
    )


BASES = {
    "identity": Identity(8),
    "rotation": Rotation(rotation(8, 0, 0, numbers(1)), torch.zeros(8, dtype=torch.float64)),
    "pca": PrincipalComponents(rotation(8, 1, 0, numbers(1))[:5], numbers(8)),
    "nmf": NonNegativeParts(nn.functional.normalize(numbers(4, 8).abs()), iterations=3000),
    "topk": autoencoder(),
    "relu": autoencoder("relu"),
    "jumprelu": autoencoder("jumprelu"),
}


def literal_code(basis, row):
    """The codes of one place, number by number."""
    if isinstance(basis, Identity):
        return row.tolist()
    if isinstance(basis, NonNegativeParts):
        return nnls(basis.parts.T.numpy(), row.numpy())[0].tolist()
    if isinstance(basis, SparseAutoencoder):
        return literal_latents(basis, row)
    return [
        sum(float(basis.directions[i, j]) * float(row[j] - basis.mean[j]) for j in range(8))
        for i in range(basis.latents)
    ]


def literal_latents(sae, row):
    values = []
    for latent in range(sae.latents):
        value = float(sae.encoder_bias[latent])
        for unit in range(sae.units):
            value += float(sae.encoder[latent, unit]) * float(row[unit] - sae.input_bias[unit])
        values.append(value)
    if sae.activation == "jumprelu":
        return [value if value > bound else 0.0 for value, bound in zip(values, sae.threshold.tolist(), strict=True)]
    least = sorted(values)[-sae.k] if sae.activation == "topk" else -torch.inf
    return [value if value >= least and value > 0 else 0.0 for value in values]


@pytest.mark.parametrize("name", BASES)
def test_maps_equal_a_literal_loop(name):
    basis, maps = BASES[name], numbers(2, 8, 3, 2, seed=9).abs()
    codes = basis.maps(maps)
    assert codes.shape == (2, basis.latents, 3, 2)
    for image in range(2):
        for row in range(3):
            for column in range(2):
                expected = literal_code(basis, maps[image, :, row, column])
                assert codes[image, :, row, column].tolist() == pytest.approx(expected, abs=1e-8)


def test_directions_lead_back():
    rows = numbers(5, 8, seed=9)
    for name in ("identity", "rotation"):
        torch.testing.assert_close(BASES[name].decode(BASES[name].encode(rows)), rows)
    sae, codes = BASES["topk"], numbers(5, 12)
    expected = [[float((codes[i] * sae.decoder[:, j]).sum() + sae.decoder_bias[j]) for j in range(8)] for i in range(5)]
    torch.testing.assert_close(sae.decode(codes), torch.tensor(expected, dtype=torch.float64))


def test_top_k_keeps_exactly_k_where_k_are_positive():
    values = numbers(100, 40).abs() + 0.1
    for k in (1, 7, 40):
        assert (top_k(values, k) > 0).sum(1).tolist() == [k] * 100
    assert torch.equal(top_k(-values, 7), torch.zeros_like(values))


@pytest.mark.parametrize("name", BASES)
def test_a_file_gives_the_basis_back(name, tmp_path):
    path = tmp_path / f"{name}.safetensors"
    save_basis(path, BASES[name], ORIGIN)
    basis, origin = load_basis(path)
    assert type(basis) is type(BASES[name])
    assert origin == ORIGIN
    assert basis.settings() == BASES[name].settings()
    assert basis.tensors().keys() == BASES[name].tensors().keys()
    assert all(torch.equal(tensor, BASES[name].tensors()[key]) for key, tensor in basis.tensors().items())
    first = path.read_bytes()
    save_basis(path, BASES[name], ORIGIN)
    assert path.read_bytes() == first


def changed(path, *, note=None, tensors=None, keep_hash=False):
    """Write a basis again with another note, or other tensors."""
    with safe_open(path, framework="pt") as file:
        metadata, content = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if note is not None:
        notes = json.loads(metadata["basis"])
        note(notes)
        metadata["basis"] = json.dumps(notes)
    if not keep_hash:
        metadata["basis_sha256"] = hashlib.sha256(metadata["basis"].encode()).hexdigest()
    if tensors is not None:
        tensors(content)
        del metadata["sha256"]
    save_file(content, path, metadata=metadata)


WRONG = {
    "its notes differ from their hash": {"note": lambda notes: notes["settings"].update(k=2), "keep_hash": True},
    "k must be a whole number from 1 to 12, got 13": {"note": lambda notes: notes["settings"].update(k=13)},
    "k must be a whole number from 1 to 12, got True": {"note": lambda notes: notes["settings"].update(k=True)},
    "activation must be topk, relu, jumprelu, got 'gelu'": {
        "note": lambda notes: notes["settings"].update(activation="gelu")
    },
    "no basis that this version can read ('ica')": {"note": lambda notes: notes.update(kind="ica")},
    "a note is no text": {"note": lambda notes: notes.update(layer=3)},
    "decoder must be finite numbers of shape [12, 8], got [8, 12]": {
        "tensors": lambda content: content.update(decoder=content["decoder"].T.contiguous())
    },
    "encoder must be finite numbers of shape [-1, -1], got [12, 8]": {
        "tensors": lambda content: content["encoder"].fill_(torch.nan)
    },
    "('threshold')": {"tensors": lambda content: content.pop("threshold")},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_file_is_refused_in_one_line(message, tmp_path):
    path = tmp_path / "sae.safetensors"
    save_basis(path, BASES["topk"], ORIGIN)
    changed(path, **WRONG[message])
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_basis(path)
    assert "\n" not in str(error.value)


def test_other_files_are_told_how_to_become_bases(tmp_path):
    save_file({"W_enc": torch.zeros(8, 12)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="advinterp bases --source"):
        load_basis(tmp_path / "other.safetensors")
    with pytest.raises(FileNotFoundError, match="layers: no file"):
        load_basis(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=r"NAME\.safetensors"):
        save_basis(tmp_path / "sae.pt", BASES["topk"], ORIGIN)


@pytest.fixture
def files(tmp_path):
    for name in ("identity", "topk"):
        save_basis(tmp_path / f"{name}.safetensors", BASES[name], ORIGIN)
    return tmp_path


def test_layers_are_read_in_bases(files):
    network = small_network()
    plain, same, sparse = unit_space(network, f"relu2,last@{files}/identity.safetensors,relu2@{files}/topk.safetensors")
    assert [unit.layer for unit in (plain, same, sparse)] == ["relu2", "relu2@identity", "relu2@topk"]
    assert [unit.reading for unit in (plain, same, sparse)] == ["relu2", "relu2@identity", "relu2@topk"]
    assert {unit.tap for unit in (plain, same, sparse)} == {"relu2"}
    assert [unit.width for unit in (plain, same, sparse)] == [8, 8, 12]
    assert [unit.signed for unit in (plain, same, sparse)] == [False, False, False]
    output = numbers(2, 8, 4, 4).float()
    assert torch.equal(same.maps(output), output)
    torch.testing.assert_close(sparse.maps(output), BASES["topk"].maps(output))


def test_what_does_not_fit_a_layer_is_refused(files, tmp_path):
    network = small_network()
    with pytest.raises(ValueError, match=r"is a basis of 'relu2', not of 'relu1'; say relu2@"):
        unit_space(network, f"relu1@{files}/topk.safetensors")
    with pytest.raises(FileNotFoundError, match=r"LAYER@FILE\.safetensors"):
        unit_space(network, "relu2@nowhere.safetensors")
    save_basis(tmp_path / "wide.safetensors", Identity(9), ORIGIN)
    with pytest.raises(ValueError, match="a basis of 9 units, 'relu2' has 8"):
        unit_space(network, f"relu2@{tmp_path}/wide.safetensors")
    (tmp_path / "twin").mkdir()
    save_basis(tmp_path / "twin" / "topk.safetensors", BASES["topk"], ORIGIN)
    with pytest.raises(ValueError, match="two files would both be called 'relu2@topk'"):
        unit_space(network, f"relu2@{files}/topk.safetensors,relu2@{tmp_path}/twin/topk.safetensors")


def literal_without(basis, row, latents):
    """One place without some of its values: the part of the reconstruction that these make is taken away."""
    codes = basis.encode(row)
    change = torch.zeros(len(row), dtype=torch.float64)
    for latent in latents:
        alone = torch.zeros_like(codes)
        alone[latent] = codes[latent]
        change += basis.decode(alone) - basis.decode(torch.zeros_like(codes))
    return row - change


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("shape", [(2, 8, 2, 3), (2, 8), (2, 2, 2, 8)])
def test_units_of_a_basis_are_taken_from_what_a_layer_returns(name, shape):
    """Of decoders that add up (all of these), in every form; what the basis does not explain stays."""
    basis, output, latents = BASES[name], numbers(*shape, seed=8).abs(), [0, 3]
    form = {(2, 8): "vectors", (2, 2, 2, 8): "channels_last"}.get(shape, "maps")
    unit = UnitLayer("layer", "layer", None, layout=Layout(form, shape[1:]), basis=basis)
    changed = unit.without(output, latents)
    axis = 1 if shape[1] == 8 else 3
    rows, changed_rows = (tensor.movedim(axis, -1).reshape(-1, 8) for tensor in (output, changed))
    for row, changed_row in zip(rows, changed_rows, strict=True):
        torch.testing.assert_close(changed_row, literal_without(basis, row, latents), atol=1e-9, rtol=1e-9)


def test_masks_of_a_layer_and_of_its_bases_follow_each_other():
    basis, output = BASES["rotation"], numbers(2, 8, 3, 3)
    layers = {
        "layer": UnitLayer("layer", "layer", None, layout=Layout("maps", (8, 3, 3))),
        "layer@turn": UnitLayer("layer@turn", "layer", None, layout=Layout("maps", (8, 3, 3)), basis=basis),
    }
    masked = masked_layers(layers, {"layer@turn": [1], "layer": [0, 5]})["layer"](output)
    first = output.clone()
    first[:, [0, 5]] = 0
    torch.testing.assert_close(masked, layers["layer@turn"].without(first, [1]))
    assert basis.maps(masked)[:, 1].abs().max() < 1e-9
