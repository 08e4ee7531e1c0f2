"""An attack is said by a name, by settings or in a list, in every place alike, and radii make a sweep."""

from dataclasses import fields

import pytest
from jsonargparse import Namespace

from lightning_advinterp.ablation.measures import evaluation_of
from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.attacks import AttackConfig, attack_list, create_attack
from lightning_advinterp.attacks.prediction.builders import BUILDERS, DEFAULT_EPS
from lightning_advinterp.attacks.prediction.dotted_flags import spelt_out
from lightning_advinterp.attacks.prediction.sweep import swept_attacks
from lightning_advinterp.cli.adversarial import SetPlan
from lightning_advinterp.cli.evaluation.command import read_evaluation
from lightning_advinterp.cli.parser import read_settings, settings_parser
from lightning_advinterp.cli.suggestions import SuggestingParser
from lightning_advinterp.objectives import Consistency, Madry
from lightning_advinterp.training.callbacks import (
    AccuracyCallback,
    DissectionCallback,
    GuardCallback,
    PicturesCallback,
    SemanticsCallback,
)

PGD = AttackConfig("pgd", "4/255")
FORMS = ["pgd", "{type: pgd}", "[pgd]", "[{type: pgd}]"]
ONE = {
    GuardCallback: lambda owner: owner.attack,
    PicturesCallback: lambda owner: owner.attack,
    Madry: lambda owner: owner.attack,
    Consistency: lambda owner: owner.attack,
}
MANY = {
    owner: lambda owner: owner.attacks()["pgd"] for owner in (AccuracyCallback, DissectionCallback, SemanticsCallback)
}


@pytest.mark.parametrize("owner", [*ONE, *MANY], ids=lambda owner: owner.__name__)
@pytest.mark.parametrize("form", FORMS)
def test_training_takes_every_form(owner, form):
    """From a command line through the parser, and in Python."""
    key, attack_of = ("attack", ONE[owner]) if owner in ONE else ("attacks", MANY[owner])
    parser = SuggestingParser()
    parser.add_class_arguments(owner, "it")
    built = parser.instantiate(parser.parse_args([f"--it.{key}", form])).it
    assert attack_of(built).name == attack_of(owner(**{key: form})).name == attack_of(owner(**{key: PGD})).name == "pgd"


@pytest.mark.parametrize("form", FORMS)
def test_the_commands_take_every_form(form, tmp_path):
    evaluation = read_evaluation(["--attack", form])
    assert evaluation.attack_configs() == {"pgd": AttackConfig("pgd")}
    measured = evaluation_of(f"--attack '{form}'", tmp_path / "last.ckpt", tmp_path)
    assert measured.attack_configs() == {"pgd": AttackConfig("pgd")}
    plan = read_settings(SetPlan, settings_parser(SetPlan, ""), ["--attack", form])
    assert create_attack(plan.attack).name == "pgd"
    assert attack_list(Plan(base=[], arms={}, attack=form).attack) == (AttackConfig("pgd"),)


def test_several_names():
    names = [config.type for config in attack_list("fgsm, pgd")]
    assert names == ["fgsm", "pgd"] == [config.type for config in attack_list(["fgsm", {"type": "pgd"}])]
    with pytest.raises(ValueError, match="attack must be one attack, got fgsm, pgd"):
        create_attack("fgsm,pgd")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--attack.norm", "l2", "--eps", "0.5"], {"fgsm": AttackConfig("fgsm", 0.5, norm="l2")}),
        (["--attack", "pgd", "--attack.steps", "3"], {"pgd": AttackConfig("pgd", steps=3)}),
        (["--attack.restarts=2", "--attack=pgd"], {"pgd": AttackConfig("pgd", restarts=2)}),
        (["--attack", "[{type: pgd, steps: 3}]", "--attack.name", "x"], {"x": AttackConfig("pgd", name="x", steps=3)}),
    ],
)
def test_single_settings_follow_a_name(args, expected):
    assert read_evaluation(args).attack_configs() == expected


def test_a_name_replaces_all_of_a_default():
    parser = SuggestingParser()
    parser.add_class_arguments(GuardCallback, "guard")
    args = parser.parse_args(["--guard.attack", "fgsm", "--guard.attack.eps", "0.01"])
    assert parser.instantiate(args).guard.attack.steps == 1  # not the default's five
    args = parser.parse_args(["--guard.attack.eps", "0.01"])
    assert parser.instantiate(args).guard.attack.steps == 5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--attack", "fgsm,pgd", "--attack.eps", "1"], "--attack.… is for one attack, but there are 2"),
        (["--attack.epz", "1"], "there is no key attack.epz; did you mean attack.eps?"),
        (["--attack", "[{type: pgd, epz: 1}]"], "did you mean eps?"),
        (["--attack", "{type: pgd, eps: 8}"], 'write "8/255"'),
    ],
)
def test_what_does_not_fit_is_said_in_words(args, message, capsys):
    with pytest.raises((SystemExit, ValueError)) as caught:
        read_evaluation(args).attack_configs()
    assert message in capsys.readouterr().err + str(caught.value)


def test_only_names_are_spelt_out():
    assert spelt_out(["--data", "x"], Namespace) == ["--data", "x"]
    parsed = Namespace(attack=Namespace(type="pgd"))
    assert spelt_out(["--attack.eps", "1"], lambda args: parsed) == ["--attack.eps", "1"]


@pytest.mark.parametrize("eps", [["2/255", "4/255"], "2/255,4/255", "[2/255, 4/255]"])
def test_radii_are_a_sweep(eps):
    attacks = swept_attacks("fgsm,pgd", eps, 3)
    assert [(attack.label_name, attack.eps, attack.steps) for attack in attacks] == [
        ("fgsm2", "2/255", None),
        ("fgsm4", "4/255", None),
        ("pgd2", "2/255", 3),
        ("pgd4", "4/255", 3),
    ]
    l2 = swept_attacks({"type": "pgd", "norm": "l2"}, [0.5, 1], None)
    assert [attack.label_name for attack in l2] == ["pgd0.5", "pgd1"]


def test_the_flags_radii_are_a_sweep():
    args = ["--attack", "pgd", "--eps", "[1/255, 2/255, 4/255]", "--steps", "2"]
    evaluation = read_evaluation(args)
    assert [attack.eps for attack in evaluation.attacks().values()] == [1 / 255, 2 / 255, 4 / 255]


@pytest.mark.parametrize(
    ("attack", "eps", "message"),
    [
        ({"type": "pgd", "eps": "1/255"}, "2/255", "the attack pgd has eps: 1/255 of its own; say it once"),
        ("pgd", ["2/255", 2 / 255], "several that differ"),
        ({"type": "pgd", "norm": "l2"}, None, "pgd attack in L2 has no default: give it"),
    ],
)
def test_radii_that_do_not_fit_are_refused(attack, eps, message):
    with pytest.raises(ValueError, match=message):
        [create_attack(config) for config in swept_attacks(attack, eps, None)]


def test_the_settings_are_those_of_the_signatures():
    """Each has a type that takes it, and is a key of every configuration."""
    keys = {field.name for field in fields(AttackConfig)}
    common = {"type", "name", "label", "target", "target_file", "eps", "eps_distribution", "options", "mask", "beside"}
    assert keys == common | set[str]().union(*(builder.settings for builder in BUILDERS.values()))
    assert BUILDERS["cw"].settings.keys() == {"steps", "step_size", "confidence", "search_steps", "initial_weight"}


def test_one_default_radius():
    alike = {name: builder.eps for name, builder in BUILDERS.items() if builder.eps not in (None, 1.0)}
    assert set(alike.values()) == {DEFAULT_EPS}
    assert {"fgsm", "pgd", "mifgsm", "trades", "rand_fgsm", "autoattack"} <= set(alike)
