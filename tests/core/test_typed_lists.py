"""Explanations and attacks on them are said as attacks on predictions are: by name, settings, or a list of these."""

import pytest

from lightning_advinterp.analyses.fragility.config import FragilityConfig
from lightning_advinterp.attacks.explanation.config import ExplanationAttackConfig
from lightning_advinterp.cli.evaluation.command import read_evaluation
from lightning_advinterp.core.typed_lists import typed_list
from lightning_advinterp.explanations import ExplanationConfig
from lightning_advinterp.training.callbacks.watch import watchers

SAID = ["{}", "{},{}", "[{}]", "[{}, {{type: {}}}]", "{{type: {}}}"]


def read(*flags):
    return read_evaluation(["--checkpoint", "x", "--analyses", "fragility", *flags]).questions["fragility"]


@pytest.mark.parametrize("template", SAID)
@pytest.mark.parametrize(("flag", "names"), [("methods", ("lrp", "gradient")), ("attacks", ("topk", "mass_centre"))])
def test_flags_take_every_way(flag, names, template):
    text = template.format(*names)
    config = read(f"--fragility.{flag}", text)
    expected = list(names[: template.count("{}")])
    assert [entry.type for entry in getattr(config, f"chosen_{flag}")()] == expected
    assert getattr(FragilityConfig(**{flag: text}), f"chosen_{flag}")() == getattr(config, f"chosen_{flag}")()


@pytest.mark.parametrize(
    ("text", "radii"), [("8/255", ("8/255",)), ("0.01", (0.01,)), ("[2/255, 0.1]", ("2/255", 0.1))]
)
def test_one_radius_is_a_sweep_of_one(text, radii):
    config = read("--fragility.eps", text)
    assert tuple(config.eps) == radii
    assert len({case.eps for case in config.cases()}) == len(radii)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"type": "topk", "kk": 1}, "attacks: kk is no setting of topk, which takes .*; did you mean k?"),
        ({"eps": 1}, "attacks: an entry needs a type"),
        (3, "attacks: expected names, settings"),
    ],
)
def test_what_is_none_is_named(entries, message):
    with pytest.raises(ValueError, match=message):
        typed_list(ExplanationAttackConfig, entries, "attacks")


def test_python_takes_one():
    assert typed_list(ExplanationConfig, ExplanationConfig("lrp"), "methods") == (ExplanationConfig("lrp"),)


@pytest.mark.parametrize("attacks", ["pgd", {"type": "pgd"}, ["pgd"]])
def test_watched_questions_take_every_way(attacks):
    assert list(watchers({"predictions": {"attacks": attacks}})[0].attacks()) == ["pgd"]
