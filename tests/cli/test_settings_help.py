"""``--attack.help TYPE`` says a type's settings, from the signature and the docstring of its callable."""

import pytest

from lightning_advinterp.attacks import AttackConfig, ExplanationAttackConfig
from lightning_advinterp.cli import TrainCLI, evaluate
from lightning_advinterp.cli.settings_help import asked_help, settings_help, types_help
from lightning_advinterp.core.signatures import documentation
from lightning_advinterp.explanations import ExplanationConfig

KINDS = (AttackConfig, ExplanationConfig, ExplanationAttackConfig)
TYPES = [(kind, name) for kind in KINDS for name in kind.types()]


@pytest.mark.parametrize(("kind", "name"), TYPES)
def test_every_setting_of_every_type_is_explained(kind, name):
    text = settings_help(kind, name)
    entries = {line.split()[0]: line for line in text.splitlines()[1:] if line and not line.startswith(" ")}
    assert entries.keys() == kind.takes(name).keys()
    for setting, line in entries.items():
        assert not line.removeprefix(setting).strip().startswith("("), f"{setting} of {name} has no words"
    assert f"\n{name}" in f"\n{types_help(kind)}"


def test_what_is_said_is_what_the_docstring_and_the_signature_say():
    lines = " ".join(settings_help(AttackConfig, "square").split())
    assert "queries forward passes for an image. (int, default 5000)" in lines
    assert lines.startswith("square: Random search without gradients (Andriushchenko et al. 2020).")
    assert "decay μ of the momentum. (float, default 1.0)" in " ".join(settings_help(AttackConfig, "mifgsm").split())


def test_the_docstring_of_a_function_is_read_by_argument():
    def build(*, steps=1, **common):
        """Build it.

        Args:
            steps: how many,
                at most: ten.
            **common: the rest.

        Raises:
            ValueError: never.
        """

    assert documentation(build) == {"steps": "how many, at most: ten."}


@pytest.mark.parametrize(
    ("command", "flags", "text"),
    [
        (evaluate, ["--attack.help", "mifgsm"], "mifgsm: Steps along the momentum"),
        (evaluate, ["--attack.help"], "autoattack"),
        (evaluate, ["--fragility.methods.help=lrp"], "dense_rule"),
        (evaluate, ["--fragility.attacks.help", "target_map"], "penalty"),
        (TrainCLI.parse, ["--guard.attack.help", "pgd"], "random_start"),
        (evaluate, ["--attack.help", "examples.extensions.nifgsm.NIFGSM"], "decay"),
    ],
)
def test_the_commands_print_it(command, flags, text, capsys):
    with pytest.raises(SystemExit) as stop:
        command(flags)
    assert stop.value.code in (0, None)
    assert text in capsys.readouterr().out


def test_an_unknown_type_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate(["--attack.help", "pdg"])
    assert stop.value.code == 2
    assert "got 'pdg' (did you mean pgd?)" in capsys.readouterr().err
    assert asked_help(["--attack", "pgd", "--help"]) is None
