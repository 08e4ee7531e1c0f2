"""A configuration holds its type's settings alone; the signature of what the type builds is the schema."""

import copy
import pickle
from dataclasses import replace

import pytest
import yaml

from lightning_advinterp.attacks import AttackConfig, ExplanationAttackConfig, create_attack
from lightning_advinterp.attacks.explanation.builders import AIMS
from lightning_advinterp.attacks.prediction.builders import BUILDERS
from lightning_advinterp.cli.suggestions import SuggestingParser
from lightning_advinterp.core.signatures import REQUIRED, settings_of
from lightning_advinterp.explanations import EXPLANATIONS, ExplanationConfig
from lightning_advinterp.objectives.objective import Objective
from lightning_advinterp.training.callbacks import AccuracyCallback, GuardCallback

from examples.extensions.nifgsm import NIFGSM  # isort: skip

MISSING = {
    "transfer": {"members": [{"network": "resnet18"}]},
    "ensemble": {"members": [{"network": "resnet18"}, {"network": "resnet34"}], "weight": 0.1},
    "stored": {"path": "images"},
    "target_map": {"target": "text"},
    "pattern_attribution": {"patterns": "patterns.safetensors"},
}
"""What a type cannot be without."""

TYPES = [
    *((AttackConfig, kind) for kind in BUILDERS),
    *((ExplanationConfig, kind) for kind in EXPLANATIONS),
    *((ExplanationAttackConfig, kind) for kind in AIMS),
]


class Looking(NIFGSM):
    """An attack of a user's own, with a setting that no type of the package has."""

    def __init__(self, *, look: int = 1, **settings):
        super().__init__(**settings)
        self.look = look


LOOKING = f"{__name__}.Looking"


@pytest.mark.parametrize(("config", "kind"), TYPES, ids=lambda value: getattr(value, "__name__", value))
def test_every_type_takes_its_settings_and_no_other(config, kind):
    missing = MISSING.get(kind, {})
    takes = config.takes(kind)
    for setting in takes.values():
        if setting.default not in (None, REQUIRED, ()) and setting.name not in missing:
            configured = config(kind, **missing, **{setting.name: setting.default})
            assert configured.get(setting.name) == setting.default
    foreign = {field for owner, entry in TYPES if owner is config for field in config.takes(entry)} - set(takes)
    allowed = {"combine", "beside", "members"} if missing or kind not in ("stored", "random_sign") else set()
    for name in sorted(foreign - allowed):
        with pytest.raises(ValueError, match=f"{name} is no setting of .*{kind}.*, which takes "):
            config(kind, **missing, **{name: 1})


def test_what_is_left_out_is_not_held():
    config = AttackConfig("pgd", "8/255", steps=10, norm=None, label="true")
    assert vars(config) == {"type": "pgd", "eps": "8/255", "steps": 10} == config.given()
    assert repr(config) == "AttackConfig(type='pgd', eps='8/255', steps=10)"
    assert (config.get("norm"), config.label, config.get("label")) == (None, "true", "true")
    assert config == AttackConfig(type="pgd", steps=10, eps="8/255") == replace(config) == config.changed()
    assert config.changed(eps=None).given() == {"type": "pgd", "steps": 10}
    assert config == pickle.loads(pickle.dumps(config)) == copy.deepcopy(config)
    assert hash(config) == hash(copy.copy(config))
    assert config != config.changed(steps=9)
    with pytest.raises(AttributeError):
        config.eps = 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ((AttackConfig, "pgd", {"steps": "many"}), "steps of a pgd attack must be int, got 'many'"),
        ((AttackConfig, "pgd", {"steps": 2.5}), "steps of a pgd attack must be int, got 2.5"),
        ((AttackConfig, "pgd", {"random_start": 3}), "random_start of a pgd attack must be bool, got 3"),
        ((AttackConfig, "pgd", {"stop": 3}), "stop is no setting of a pgd attack, .*; did you mean steps?"),
        ((AttackConfig, "stored", {"path": 3}), "path of a stored attack must be str or keys, got 3"),
        ((AttackConfig, "transfer", {"members": [{"netwrk": "a"}]}), "Member: .*netwrk"),
        ((ExplanationConfig, "lrp", {"alpha": "one"}), "alpha of lrp must be float, got 'one'"),
        ((ExplanationAttackConfig, "topk", {"text": "A"}), "text is no setting of topk, which takes"),
        ((ExplanationAttackConfig, "topk", {"check_every": 0}), "check_every must be 1 or more, got 0"),
        ((ExplanationAttackConfig, "topk", {"step": "random_sign"}), "step must be sign or adam, got 'random_sign'"),
        ((ExplanationAttackConfig, "random_sign", {"step": "sign"}), "step is no setting of random_sign"),
    ],
)
def test_what_the_signature_does_not_admit_is_refused_by_name(config, message):
    kind, name, settings = config
    with pytest.raises(ValueError, match=message):
        kind(name, **settings)


def test_settings_of_a_class_of_ones_own_are_its_constructors():
    flat = AttackConfig(LOOKING, "8/255", look=3, decay=0.5)
    assert flat == AttackConfig(LOOKING, "8/255", options={"look": 3, "decay": 0.5})
    assert flat.given() == {"type": LOOKING, "eps": "8/255", "decay": 0.5, "options": {"look": 3}}
    attack = flat.create()
    assert (attack.look, attack.step.decay, attack.eps) == (3, 0.5, 8 / 255)
    assert settings_of(Looking)["look"].kind is int
    with pytest.raises(ValueError, match=r"lok is no setting of .*; did you mean look?"):
        AttackConfig(LOOKING, lok=3)
    with pytest.raises(ValueError, match=r"look of a .*Looking attack must be int, got 'far'"):
        AttackConfig(LOOKING, options={"look": "far"})
    with pytest.raises(ValueError, match="eps_distribution is no setting"):  # which it would not see
        AttackConfig(LOOKING, ["1/255", "2/255"], eps_distribution="truncated_normal")


def parser():
    built = SuggestingParser()
    built.add_argument("--config", action="config")
    built.add_argument("--guard", type=GuardCallback | None, default={})
    built.add_argument("--accuracy", type=AccuracyCallback | None, default={})
    built.add_subclass_arguments(Objective, "objective", required=False)
    return built


CASES = [
    (
        ["--guard.attack.type", LOOKING, "--guard.attack.look", "4"],
        {"options": {"look": 4}, "steps": 5, "eps": "4/255"},
    ),
    (["--guard.attack", f"{{type: {LOOKING}, look: 4, eps: 0.1}}"], {"options": {"look": 4}, "steps": 5, "eps": 0.1}),
    (["--guard.attack.eps", "0.1"], {"type": "pgd", "eps": 0.1, "steps": 5}),
    (["--guard.attack", "{steps: null}"], {"type": "pgd", "eps": "4/255", "steps": None}),
    (["--guard.attack", "bim", "--guard.attack.eps", "0.1"], {"type": "bim", "eps": 0.1, "steps": None}),
    (["--guard.attack", "[{type: bim, steps: 2}]"], [{"type": "bim", "eps": "4/255", "steps": 2}]),
    (["--guard.attack", "[{type: bim, steps: null}]"], [{"type": "bim", "eps": "4/255", "steps": None}]),
]


@pytest.mark.parametrize(("flags", "expected"), CASES)
def test_what_is_printed_is_what_was_said_and_reads_back(flags, expected, tmp_path):
    """A null stands only where the settings below would show through without it."""
    command = parser()
    settings = command.parse_args(flags)
    text = command.dump(settings, skip_unset=False)
    printed = yaml.safe_load(text)["guard"]["attack"]
    assert printed == ({"type": LOOKING} | expected if "options" in expected else expected)
    (tmp_path / "config.yaml").write_text(text)
    again = command.parse_args(["--config", str(tmp_path / "config.yaml")])
    first, second = (repr(command.instantiate(config).guard.attack) for config in (settings, again))
    assert first == second


def test_no_null_stands_in_an_attack():
    command = parser()
    attacks = (
        "[{type: transfer, members: [{network: resnet18, num_classes: 3}]}, {type: pgd, mask: {type: cells}}, fgsm]"
    )
    text = command.dump(command.parse_args(["--accuracy.attacks", attacks, "--objective", "Madry"]), skip_unset=False)
    printed = yaml.safe_load(text)
    assert printed["accuracy"]["attacks"] == [
        {"type": "transfer", "members": [{"network": "resnet18", "num_classes": 3}]},
        {"type": "pgd", "mask": {"type": "cells", "percentile": 70.0, "share": 0.5, "options": {}}},
        "fgsm",
    ]
    expected = {"type": "pgd", "eps": "8/255", "steps": 10, "step_size": "2/255"}
    assert printed["objective"]["init_args"]["attack"] == expected
    assert printed["guard"]["attack"] == {"type": "pgd", "eps": "4/255", "steps": 5}


def test_what_an_objective_is_told_replaces_its_default(tmp_path):
    """In a file: the default's step size is not taken over, today as before the settings had a signature."""
    (tmp_path / "a.yaml").write_text(
        "objective: {class_path: Madry, init_args: {attack: {type: bim, eps: 4/255, steps: 3}}}"
    )
    command = parser()
    attack = command.instantiate(command.parse_args(["--config", str(tmp_path / "a.yaml")])).objective.attack
    assert repr(attack.step) == repr(create_attack({"type": "bim", "eps": "4/255", "steps": 3}).step)
