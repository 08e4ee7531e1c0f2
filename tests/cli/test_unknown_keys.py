"""A key that does not exist is named, with the nearest that does: on the command line and in YAML files."""

import pytest

from lightning_advinterp.ablation.command import main as ablation
from lightning_advinterp.cli import TrainCLI, evaluate

PLAN = "base: []\narms: {}\n"


def said(capsys, command, flags, tmp_path, text=""):
    if text:
        (tmp_path / "wrong.yaml").write_text(text)
        flags = [*flags, "--config", str(tmp_path / "wrong.yaml")]
    with pytest.raises(SystemExit) as stop:
        command(flags)
    assert stop.value.code == 2
    error, tip = capsys.readouterr().err.strip().rsplit("\n", 1)
    assert tip == "tip: --help all lists the keys"  # and no wall of usage
    return error


TRAIN = [
    ("resum: auto", "there is no key resum; did you mean resume?"),
    (
        "trainer: {max_epoch: 1}",
        "there is no key trainer.max_epoch; did you mean trainer.max_epochs or trainer.min_epochs?",
    ),
    ("model: {optimizer: {larning_rate: 1}}", "there is no key model.optimizer.larning_rate; "),
    ("model: {optimzer: {lr: 1}}", "there is no key model.optimzer.lr; did you mean model.optimizer.lr"),
    (
        "model: {objective: {class_path: Consistency, init_args: {weigth: 1}}}",
        "Consistency has no key weigth; did you mean weight?",
    ),
    (
        "model: {objective: {class_path: Madry, init_args: {attack: {epss: 1}}}}",
        "AttackConfig has no key epss; did you mean eps?",
    ),
    (
        "data: {class_path: ConceptWorldDataModule, init_args: {batchsize: 1}}",
        "ConceptWorldDataModule has no key batchsize; did you mean batch_size?",
    ),
    ("accuracy: {limits: 1}", "AccuracyCallback has no key limits; did you mean limit?"),
    ("accuracy: {attacks: [{typ: fgsm}]}", "AttackConfig has no key typ; did you mean type?"),
    ("checkpoint: {every_steps: 5}", "CheckpointConfig has no key every_steps; did you mean every_n_steps?"),
    ("model: {objective: Consistancy}", "there is no class Consistancy; did you mean Consistency?"),
]


@pytest.mark.parametrize(("text", "expected"), TRAIN)
def test_training_files(capsys, tmp_path, text, expected):
    base = ["--data", "ConceptWorldDataModule"]
    assert expected in said(capsys, TrainCLI.parse, base, tmp_path, text)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--resum", "auto"], "there is no key resum; did you mean resume?"),
        (["--trainer.max_epoch", "1"], "did you mean trainer.max_epochs"),
        (["--model.optimizer.rl", "1"], "there is no key model.optimizer.rl; did you mean model.optimizer.lr"),
        (
            ["--data.init_args.train_sice", "4"],
            "ConceptWorldDataModule has no key train_sice; did you mean train_size?",
        ),
        (["--model.objective", "Madry", "--model.objective.init_args.atack.eps", "1"], "did you mean attack.eps"),
        (["--model.image_size", "64"], "model.image_size is taken from data.image_size; set that one."),
        (["--guard.image", "4"], "GuardCallback has no key image; did you mean images?"),
    ],
)
def test_training_flags(capsys, tmp_path, flags, expected):
    assert expected in said(capsys, TrainCLI.parse, ["--data", "ConceptWorldDataModule", *flags], tmp_path)


@pytest.mark.parametrize(
    ("command", "flags", "text", "expected"),
    [
        (TrainCLI.parse, ["--config", "quikstart"], "", "no file quikstart, and no configuration of the package"),
        (TrainCLI.parse, ["--config", "quikstart"], "", "; did you mean quickstart?"),
        (TrainCLI.parse, ["--config", "configs/trainer/gpuu.yaml"], "", "; did you mean trainer/gpu or "),
        (TrainCLI.parse, ["--config", "mine/at_home.yaml"], "", "; there are "),
        (evaluate, ["--config", "quikstart"], "", "; did you mean quickstart?"),
        (
            TrainCLI.parse,
            ["--data", "tests"],
            "",
            "data must be a class, got tests, which is there as a path; for images that lie there say "
            "--data ImageFolderDataModule --data.init_args.root tests.",
        ),
        (evaluate, ["--checkpont", "x"], "", "there is no key checkpont; did you mean checkpoint?"),
        (evaluate, [], "checkpont: x", "there is no key checkpont; did you mean checkpoint?"),
        (evaluate, [], "attack: [{type: fgsm, epss: 1}]", "AttackConfig has no key epss; did you mean eps?"),
        (evaluate, [], "rows: [{nam: a}]", "TableRow has no key nam; did you mean name?"),
        (evaluate, ["--limit", "abc"], "", "error: limit must be int or null, got abc."),
        (
            ablation,
            ["--base", "[]", "--arms", "{}", "--seedz", "1"],
            "",
            "there is no key seedz; did you mean seed or seeds?",
        ),
        (ablation, [], PLAN + "seedz: [1]", "there is no key seedz; did you mean seed or seeds?"),
        (ablation, [], PLAN + "attack: [{type: fgsm, epss: 1}]", "AttackConfig has no key epss; did you mean eps?"),
    ],
)
def test_evaluations_and_ablations(capsys, tmp_path, command, flags, text, expected):
    assert expected in said(capsys, command, flags, tmp_path, text)


def test_a_value_of_the_wrong_type_is_said_with_its_key_and_what_is_expected(capsys, tmp_path):
    error = said(capsys, evaluate, ["--batch_size", "many"], tmp_path)
    assert error == "error: batch_size must be a whole number, as 8, got many; give --batch_size such a value."


def test_missing_keys_are_said_with_the_ways_to_give_them(capsys, tmp_path):
    error = said(capsys, ablation, ["--list"], tmp_path)
    assert error == "error: base, arms must be given, as --base VALUE or in a file that --config names."
