"""Explanations by name: each type takes its own settings and names what it refuses."""

import jsonargparse
import pytest
import torch
from explanation_helpers import batch, plain, wrap

from lightning_advinterp.core.signatures import settings_of
from lightning_advinterp.explanations import (
    EXPLANATIONS,
    LRP,
    PAPERS,
    ExplanationConfig,
    IntegratedGradients,
    create_explanation,
    create_explanations,
    learn_patterns,
)

BUILDABLE = sorted(set(EXPLANATIONS) - {"pattern_attribution"})


@pytest.mark.parametrize("kind", BUILDABLE)
def test_every_type_is_built_with_its_defaults(kind):
    method = create_explanation(ExplanationConfig(kind))
    assert type(method) is EXPLANATIONS[kind]
    assert method.name == kind
    assert create_explanation(ExplanationConfig(kind, name="other", softplus=2.0)).name == "other"


def test_every_setting_of_every_type_is_a_field():
    fields = set(ExplanationConfig.__dataclass_fields__)
    for kind in EXPLANATIONS.values():
        assert set(settings_of(kind)) <= fields
    assert fields - {"type", "options"} == set().union(*(settings_of(kind) for kind in EXPLANATIONS.values()))


def test_settings_arrive():
    method = create_explanation(ExplanationConfig("integrated_gradients", steps=7, baseline=0.5, output="logit"))
    assert isinstance(method, IntegratedGradients)
    assert (method.steps, method.baseline, method.output) == (7, 0.5, "logit")
    assert "steps=7" in repr(method)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "lrpp"}, r"explanation type must be one of .* got 'lrpp' \(did you mean lrp\?\)"),
        ({"type": "lrp", "steps": 3}, "steps is no setting of lrp, which takes alpha, bounds"),
        ({"type": "gradient", "output": "probability"}, "output must be logit or softmax, got 'probability'"),
        ({"type": "gradient", "space": "hsv"}, "space must be normalised or pixel, got 'hsv'"),
        ({"type": "guided_backprop", "start": "two"}, "start must be one or value, got 'two'"),
        ({"type": "integrated_gradients", "steps": 0}, "steps must be 1 or more, got 0"),
        ({"type": "smoothgrad", "sigma": -0.1}, r"sigma must be 0 or more \(pixel units\), got -0.1"),
        ({"type": "smoothgrad", "samples": 0}, "samples must be 1 or more"),
        ({"type": "deeplift", "pool": "mean"}, "pool must be complete or winner"),
        ({"type": "lrp", "rule": "delta"}, "rule must be one of alpha_beta, epsilon, gamma, got 'delta'"),
        ({"type": "lrp", "alpha": 0.5}, "alpha must be 1 or more, got 0.5"),
        ({"type": "lrp", "gamma": -1.0}, "gamma must be 0 or more"),
        ({"type": "occlusion", "size": 4, "stride": 5}, "stride must be at most size=4"),
        ({"type": "pattern_attribution"}, "pattern_attribution needs patterns: a file"),
    ],
)
def test_wrong_settings_are_named_as_they_are_read(settings, message):
    with pytest.raises(ValueError, match=message):
        ExplanationConfig(**settings)


def test_names_must_differ():
    two = [ExplanationConfig("lrp"), ExplanationConfig("lrp", rule="epsilon")]
    with pytest.raises(ValueError, match=r"a name of its own, got \['lrp', 'lrp'\]"):
        create_explanations(two)
    assert list(create_explanations([two[0], ExplanationConfig("lrp", name="lrp_epsilon", rule="epsilon")])) == [
        "lrp",
        "lrp_epsilon",
    ]


def test_the_papers_settings_are_built():
    for configs in PAPERS.values():
        assert len(create_explanations(configs)) == len(configs)
    lrp = create_explanations(PAPERS["dombrowski2019"])["lrp"]
    assert isinstance(lrp, LRP)
    assert (lrp.rule, lrp.alpha, lrp.first, lrp.bounds) == ("alpha_beta", 1.0, "z_b", "image")
    assert create_explanations(PAPERS["ghorbani2019"])["integrated_gradients"].steps == 100
    # a batch's graphs of all steps would fill the memory
    assert all(config.recompute for configs in PAPERS.values() for config in configs if config.steps is not None)


def test_patterns_come_from_a_file(tmp_path):
    network, (x, y) = wrap(plain()), batch()
    file = tmp_path / "p.safetensors"
    config = ExplanationConfig("pattern_attribution", patterns=str(file))
    with pytest.raises(FileNotFoundError, match="patterns: no file"):
        create_explanation(config)
    learn_patterns(network, [x]).save(file)
    assert torch.isfinite(create_explanation(config).map(network, x, y)).all()


def test_yaml_reads_a_configuration():
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--explanation", type=list[ExplanationConfig])
    parsed = parser.parse_args(
        ["--explanation", "[{type: lrp, rule: gamma, gamma: 0.1}, {type: deeplift, baseline: 0.5}]"]
    )
    configs = parser.instantiate(parsed).explanation
    assert configs == [ExplanationConfig("lrp", rule="gamma", gamma=0.1), ExplanationConfig("deeplift", baseline=0.5)]
