"""State dicts of other libraries: the codes of a literal encoder, and what is refused."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lightning_advinterp.units.autoencoder import SparseAutoencoder
from lightning_advinterp.units.foreign_autoencoders import Convention, read_autoencoder

UNITS, LATENTS = 6, 10


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SAELENS = {
    "W_enc": numbers(UNITS, LATENTS, seed=1),
    "b_enc": numbers(LATENTS, seed=2),
    "W_dec": numbers(LATENTS, UNITS, seed=3),
    "b_dec": numbers(UNITS, seed=4),
}
OPENAI = {
    "pre_bias": numbers(UNITS, seed=4),
    "encoder.weight": numbers(LATENTS, UNITS, seed=1),
    "latent_bias": numbers(LATENTS, seed=2),
    "decoder.weight": numbers(UNITS, LATENTS, seed=3),
    "stats_last_nonzero": torch.zeros(LATENTS, dtype=torch.long),
}


def literal_saelens(x, activation, k, subtracts, layer_norm):
    """As SAELens' ``encode`` and ``decode`` do it, with its own names and shapes."""
    mean, deviation = (x.mean(-1, keepdim=True), x.std(-1, keepdim=True) + 1e-5) if layer_norm else (0, 1)
    x = (x - mean) / deviation
    before = (x - SAELENS["b_dec"] * subtracts) @ SAELENS["W_enc"] + SAELENS["b_enc"]
    codes = literal_activation(before, activation, k)
    return codes, (codes @ SAELENS["W_dec"] + SAELENS["b_dec"]) * deviation + mean


def literal_openai(x, activation, k, normalized):
    """As OpenAI's ``Autoencoder`` does it."""
    mean, deviation = (x.mean(-1, keepdim=True), x.std(-1, keepdim=True) + 1e-5) if normalized else (0, 1)
    x = (x - mean) / deviation
    before = nn.functional.linear(x - OPENAI["pre_bias"], OPENAI["encoder.weight"], OPENAI["latent_bias"])
    codes = literal_activation(before, activation, k)
    return codes, (nn.functional.linear(codes, OPENAI["decoder.weight"]) + OPENAI["pre_bias"]) * deviation + mean


def literal_activation(before, activation, k):
    codes = torch.zeros_like(before)
    for place, row in enumerate(before.tolist()):
        order = sorted(range(len(row)), key=lambda latent: -row[latent])
        for latent in order[:k] if activation == "topk" else order:
            if row[latent] > (0.5 if activation == "jumprelu" else 0):
                codes[place, latent] = row[latent]
    return codes


def assert_equal_codes(sae, expected):
    x = numbers(20, UNITS, seed=7)
    codes, restored = expected(x)
    torch.testing.assert_close(sae.encode(x), codes)
    torch.testing.assert_close(sae.reconstruct(x, sae.encode(x)), restored)


@pytest.mark.parametrize("subtracts", [True, False])
@pytest.mark.parametrize(("activation", "k"), [("relu", None), ("topk", 3), ("jumprelu", None)])
@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("configured", [True, False])
def test_saelens(tmp_path, activation, k, subtracts, layer_norm, configured):
    tensors = SAELENS | ({"threshold": torch.full((LATENTS,), 0.5)} if activation == "jumprelu" else {})
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "sae_weights.safetensors")
    convention = Convention()
    if configured:
        config = {"architecture": {"relu": "standard"}.get(activation, activation), "apply_b_dec_to_input": subtracts}
        config |= {"normalize_activations": "layer_norm" if layer_norm else "none"} | ({"k": k} if k else {})
        (tmp_path / "cfg.json").write_text(json.dumps(config))
    else:
        convention = Convention(None if activation == "jumprelu" else activation, k, subtracts, layer_norm)
    sae = read_autoencoder(tmp_path / "sae_weights.safetensors", convention, UNITS)
    assert_equal_codes(sae, lambda x: literal_saelens(x, activation, k, subtracts, layer_norm))


@pytest.mark.parametrize("activation", ["relu", "topk", "TopK", "ReLU"])
def test_openai(tmp_path, activation):
    state, convention = dict(OPENAI), Convention()
    if activation == "TopK":  # as its state_dict() notes it; its loader normalises the input of these
        state |= {"activation": "TopK", "activation_state_dict": {"k": 3, "postact_fn": "ReLU"}}
    elif activation == "ReLU":
        state |= {"activation": "ReLU", "activation_state_dict": {}}
    else:
        convention = Convention(activation, 3 if activation == "topk" else None)
    torch.save(state, tmp_path / "sae.pt")
    sae = read_autoencoder(tmp_path / "sae.pt", convention, UNITS)
    assert_equal_codes(sae, lambda x: literal_openai(x, activation.lower(), 3, activation == "TopK"))


def test_other_names_of_biases(tmp_path):
    names = {"pre_bias": "b_pre", "latent_bias": "encoder.bias"}
    torch.save({names.get(name, name): tensor for name, tensor in OPENAI.items()}, tmp_path / "sae.pt")
    sae = read_autoencoder(tmp_path / "sae.pt", Convention("relu"), UNITS)
    assert_equal_codes(sae, lambda x: literal_openai(x, "relu", None, False))
    assert isinstance(sae, SparseAutoencoder)


WITHOUT = {name: tensor for name, tensor in OPENAI.items() if name != "decoder.weight"}
PLAIN = {{"pre_bias": "decoder.bias", "latent_bias": "encoder.bias"}.get(name, name): OPENAI[name] for name in OPENAI}
REFUSED = {
    "activation: the source does not say it": (OPENAI, Convention()),
    "give --k": (OPENAI, Convention("topk")),
    "k must be from 1 to the source's 10 latents, got 11": (OPENAI, Convention("topk", 11)),
    "give --subtracts_bias true|false": (SAELENS, Convention("relu")),
    "has no decoder, expected W_dec or decoder.weight": (WITHOUT, Convention("relu")),
    "holds 'b_gate', expected one of each of": (SAELENS | {"b_gate": numbers(LATENTS)}, Convention("relu")),
    "shape [10, 6], expected [10, 5] for a layer of 5 units": (OPENAI, Convention("relu")),
    "k: the file of source says otherwise": (
        OPENAI | {"activation": "TopK", "activation_state_dict": {"k": 3}},
        Convention(None, 4),
    ),
    "k=4 is no setting of activation=relu": (OPENAI, Convention("relu", 4)),
    "the source has a threshold, which jumprelu alone has, got relu": (
        SAELENS | {"threshold": torch.ones(LATENTS)},
        Convention("relu", None, True),
    ),
    "the source has no threshold": (SAELENS, Convention("jumprelu", None, True)),
    "whether the decoder's bias is taken from the input": (PLAIN, Convention("relu")),
    "the activation 'JumpReLU'": (OPENAI | {"activation": "JumpReLU"}, Convention()),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_known_is_refused(message, tmp_path):
    state, convention = REFUSED[message]
    torch.save(state, tmp_path / "sae.pt")
    with pytest.raises(ValueError, match=re.escape(message)):
        read_autoencoder(tmp_path / "sae.pt", convention, 5 if "5 units" in message else UNITS)


@pytest.mark.parametrize(
    "config",
    [
        '{"architecture": "gated"}',
        '{"normalize_activations": "constant"}',
        '{"activation_fn_str": "tanh-relu"}',
        '{"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": true}',
        "[1]",
        "{",
    ],
)
def test_configurations_that_are_not_understood_are_refused(config, tmp_path):
    save_file(SAELENS, tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_text(config)
    with pytest.raises(ValueError, match=r"source: .*cfg\.json"):
        read_autoencoder(tmp_path / "sae_weights.safetensors", Convention(), UNITS)
