"""A whole ablation on the embedded data: it trains what is missing, tests it, and writes one table."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from lightning_advinterp.ablation import command as command_module
from lightning_advinterp.ablation import run as run_module
from lightning_advinterp.ablation import trial as trial_module
from lightning_advinterp.ablation.command import main, parser
from lightning_advinterp.ablation.measures import evaluation_of
from lightning_advinterp.ablation.plan import Plan
from lightning_advinterp.analyses.base.trial import Estimate
from lightning_advinterp.cli.parser import parsed_settings

BASE = """
trainer: {max_epochs: 1, accelerator: cpu, log_every_n_steps: 1, enable_progress_bar: false,
  enable_model_summary: false}
data: {class_path: ConceptWorldDataModule, init_args: {train_size: 24, val_size: 12, image_size: 16, batch_size: 12}}
model: {network: cifar_resnet20, optimizer: {name: sgd, lr: 0.05}, schedule: {name: constant}}
guard: null
pictures: null
accuracy: {attacks: [{type: fgsm, eps: 8/255}], limit: 12}
checkpoint: {monitor: val/fgsm_acc}
"""
ARMS = {"standard": "Standard", "consistency": "{class_path: Consistency, init_args: {attack: {eps: 8/255}}}"}


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    for name, objective in ARMS.items():
        (tmp_path / f"{name}.yaml").write_text(f"model: {{objective: {objective}}}\n")
    arms = ", ".join(f"{name}: {tmp_path / name}.yaml --optimizer.lr=0.01" for name in ARMS).replace("--", "--model.")
    path = tmp_path / "plan.yaml"
    path.write_text(
        f"base: [{tmp_path / 'base.yaml'}]\narms: {{{arms}}}\nseeds: [0, 1]\nlimit: 20\n"
        f"attack: [{{type: fgsm, eps: 8/255}}]\n"
        "masking: {limit: 10, queries: 5, growth: [8], autoattack: [consistency], autoattack_limit: 1}\n"
        "measures: {arms: [consistency, standard], evaluations: {phi: --analyses distances --eps 8/255 --limit 20}}\n"
        f"output: {tmp_path / 'out'}\n"
    )
    return path


def test_a_dry_run_adds_up_the_trainings_that_are_missing(plan, tmp_path, capsys, monkeypatch):
    """By hand: two standard trainings of an hour each, and one of two that are consistent, of three hours."""
    (tmp_path / "out" / "consistency-0").mkdir(parents=True)
    (tmp_path / "out" / "consistency-0" / "complete").write_text("{}")
    monkeypatch.setattr(command_module, "check_runs", lambda plan: None)
    hours = {"standard": 1, "consistency": 3}
    monkeypatch.setattr(
        trial_module,
        "estimate_training",
        lambda cli, parse, words: Estimate(3600 * hours[cli.config.name.split("-")[0]], memory=2**30, files=2**20),
    )
    main(["--config", str(plan), "--dry_run"])
    printed = capsys.readouterr().out
    assert printed.count("to be trained") == 3
    assert "standard: each of 2 trainings: expected: 1:00:00" in printed
    assert "consistency: each of 1 trainings: expected: 3:00:00" in printed
    assert (
        "without the tests: expected: 5:00:00 (h:mm:ss), 1.0 GiB of memory in each process; on disk 3.0 MiB" in printed
    )


@pytest.mark.slow
def test_trains_tests_and_tabulates_only_what_is_missing(plan, tmp_path, monkeypatch, capsys):
    main(["--config", str(plan), "--dry_run", "true", "--trial_seconds", "0"])
    assert capsys.readouterr().out.count("to be trained") == 4
    main(["--config", str(plan), "--seeds", "[1]"])
    capsys.readouterr()
    trained = []
    fit = run_module.fit
    monkeypatch.setattr(run_module, "fit", lambda args: trained.append(args) or fit(args))
    main(["--config", str(plan)])
    assert [args[args.index("--name") + 1] for args in trained] == ["standard-0", "consistency-0"]

    out = tmp_path / "out"
    with (out / "ablation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["checkpoint"], row["images"], row["arm"]) for row in rows] == [
        (checkpoint, kind, arm) for checkpoint in ("last", "best") for kind in ("real", "fgsm") for arm in ARMS
    ]
    assert {(row["seeds"], row["of"], row["n"]) for row in rows} == {("2", "2", "20")}
    for row in rows:  # the mean over seeds of what each evaluation says by itself
        shares = []
        for seed in (0, 1):
            with (out / f"{row['arm']}-{seed}" / "test" / row["checkpoint"] / "accuracy.csv").open() as file:
                shares += [float(r["top1"]) for r in csv.DictReader(file) if r["images"] == row["images"]]
        assert float(row["top1"]) == pytest.approx(sum(shares) / 2, abs=1e-5)
        assert (row["difference"] == "") == (row["arm"] == "standard")
    assert "2 of 2 seeds, n = 20 images each" in (out / "ablation.md").read_text()
    assert "before the first step" in (out / "ablation.md").read_text()
    assert (out / "figures" / "frontier_fgsm.png").stat().st_size > 5000

    # one epoch is the best and the last: its evaluation is not made twice
    places = [out / "consistency-0" / "test" / name / "results.json" for name in ("last", "best")]
    assert places[0].read_bytes() == places[1].read_bytes()
    with (out / "masking.csv").open() as file:
        checks = list(csv.DictReader(file))
    assert [(row["arm"], row["transfer"] == "") for row in checks] == [("standard", True), ("consistency", False)]
    with (out / "autoattack.csv").open() as file:
        assert {(row["arm"], row["images"], row["n"]) for row in csv.DictReader(file)} == {
            ("consistency", kind, "1") for kind in ("real", "autoattack")
        }
    with (out / "matched.csv").open() as file:
        assert [(row["arm"], row["images"], row["runs"]) for row in csv.DictReader(file)] == [
            ("consistency", "fgsm", "2")  # the best epoch is the last one: the same run
        ]
    with (out / "measures.csv").open() as file:
        measured = [row for row in csv.DictReader(file) if row["scalar"] == "distances/fgsm/r_src"]
    assert [(row["arm"], row["seeds"], row["difference"] == "") for row in measured] == [
        ("consistency", "2", False),
        ("standard", "2", True),
    ]
    for row in measured:
        ratios = []
        for seed in (0, 1):
            with (out / f"{row['arm']}-{seed}" / "test" / "phi" / "distances.csv").open() as file:
                ratios += [float(r["mean"]) for r in csv.DictReader(file) if r["ratio"] == "r_src"]
        assert float(row["mean"]) == pytest.approx(sum(ratios) / 2, rel=1e-4)
    with (out / "validation.csv").open() as file:
        validation = list(csv.DictReader(file))
    assert [(row["arm"], row["seed"]) for row in validation] == [(arm, seed) for seed in "01" for arm in ARMS]
    for row in validation:  # what the log says is what the checkpoint was chosen by
        best = torch.load(out / f"{row['arm']}-{row['seed']}" / "best.ckpt", weights_only=True)
        (state,) = (callback for callback in best["callbacks"].values() if callback.get("monitor") == "val/fgsm_acc")
        assert float(row["val/fgsm_acc"]) == pytest.approx(float(state["best_model_score"]), abs=1e-5)
    config = (out / "consistency-1" / "config.yaml").read_text()
    assert "lr: 0.01" in config  # the flag after the arm's file
    out.rename(tmp_path / "moved")  # where it lies is no setting, nor is the batch size
    main(["--config", str(plan), "--output", str(tmp_path / "moved"), "--batch_size", "7"])
    with pytest.raises(SystemExit):
        main(["--config", str(plan), "--output", str(tmp_path / "moved"), "--limit", "19"])
    assert "start-0/test/last was made with other limit than" in " ".join(capsys.readouterr().err.split())


def test_a_plan_without_tests_compares_on_validation_images_alone(plan, tmp_path, capsys):
    main(["--config", str(plan), "--seeds", "[0]", "--checkpoints", "[]", "--masking", "null", "--measures", "null"])
    assert "last epoch on the validation images" in capsys.readouterr().out
    assert not (tmp_path / "out" / "ablation.csv").exists()
    assert not (tmp_path / "out" / "standard-0" / "test").exists()


def test_runs_of_other_settings_are_not_taken_for_those_asked_for(plan, tmp_path, capsys):
    flags = ["--config", str(plan), "--seeds", "[0]", "--checkpoints", "[]", "--masking", "null", "--measures", "null"]
    main(flags)
    (tmp_path / "out").rename(tmp_path / "moved")
    main([*flags, "--output", str(tmp_path / "moved")])  # where it lies is no setting
    flags += ["--output", str(tmp_path / "moved")]
    (tmp_path / "base.yaml").write_text(BASE.replace("0.05", "0.5"))
    with pytest.raises(SystemExit):
        main(flags)
    told = " ".join(capsys.readouterr().err.split())
    assert "moved/standard-0 was made with other configs than" in told
    for arm in ARMS:
        (tmp_path / "moved" / f"{arm}-0" / "complete").write_text("")
    main(flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seeds", "[0, 0]"], "seeds must differ"),
        (["--reference", "other"], "reference must be one of the arms standard, consistency, got 'other'"),
        (["--checkpoints", "[first]"], "checkpoints must be last, best, both or none"),
        (["--masking.source", "other"], "masking.source must be among the arms standard, consistency, got ['other']"),
        (["--measures.arms", "[other]"], "measures.arms must be among the arms standard, consistency, got ['other']"),
        (["--measures.evaluations", "{phi: --attack fgsn}"], "fgsn"),
        (["--base", "[no.yaml]"], "there is no file no.yaml"),
    ],
)
def test_a_wrong_plan_is_refused_before_any_work(plan, capsys, flags, message):
    with pytest.raises(SystemExit):
        main(["--config", str(plan), *flags])
    assert message in capsys.readouterr().err


@pytest.fixture
def tests_only(plan, tmp_path, monkeypatch):
    """The flags of a small plan, whose trainings take no time; and a moment at which the process dies."""

    def fit(command):
        folder = tmp_path / "out" / command[command.index("--name") + 1]
        cli = run_module.TrainCLI.parse([*command, "--trainer.logger", "false"])
        cli.model.classes = cli.model.class_names = list(cli.datamodule.classes)
        content = {"state_dict": cli.model.state_dict(), "epoch": 0}
        cli.model.on_save_checkpoint(content)
        for name in ("last.ckpt", "best.ckpt"):
            torch.save(content, folder / name)
        return cli

    monkeypatch.setattr(run_module, "fit", fit)
    monkeypatch.setattr("lightning_advinterp.ablation.command.validation_rows", lambda plan: [])
    return ["--config", str(plan), "--seeds", "[0]", "--masking", "null", "--measures", "null"]


@pytest.mark.slow
def test_single_runs_in_any_order_are_collected_by_the_same_command(tests_only, tmp_path, monkeypatch, capsys):
    """A measure that attacks by another arm's network waits for the collecting command."""
    crossed = f"--analyses accuracy --limit 5 --transfer_from {tmp_path / 'out'}/standard-{{seed}}/last.ckpt"
    measures = {"arms": ["consistency"], "evaluations": {"crossed": crossed, "phi": "--analyses accuracy --limit 4"}}
    flags = [*tests_only, "--measures", json.dumps(measures)]
    main([*flags, "--list", "true"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["--arm standard --seed 0", "--arm consistency --seed 0"]
    main([*flags, *lines[1].split()])
    assert "crossed: it uses networks of other arms" in capsys.readouterr().out
    out = tmp_path / "out"
    assert [path.name for path in out.iterdir() if path.is_dir()] == ["consistency-0"]
    assert sorted(path.name for path in (out / "consistency-0" / "test").iterdir()) == ["best", "last", "phi"]
    main([*flags, *lines[0].split()])
    assert not (out / "ablation.csv").exists()
    monkeypatch.setattr(run_module, "fit", lambda command: pytest.fail("both are trained"))
    main(flags)
    assert (out / "ablation.csv").exists()
    assert (out / "consistency-0" / "test" / "crossed" / "results.json").exists()


@pytest.mark.parametrize(
    ("files", "waits"),
    [
        ("softplus_*-{seed}/last.ckpt", True),
        ("softplus_[13]-0/best.ckpt", True),
        ("relu-*/last.ckpt", False),
        ("softplus_*-1/last.ckpt", False),
    ],
)
def test_a_measure_that_names_other_arms_by_a_pattern_waits_for_them(files, waits):
    """Otherwise it would measure the networks that happen to be trained already."""
    flags = ["--config", "ablation/softplus", "--arm", "relu", "--seed", "0"]
    plan = Plan(**parsed_settings(Plan, parser(), flags))
    line = f"--analyses curvature --curvature.betas [1] --curvature.trained runs/ablation_softplus/{files}"
    evaluation = evaluation_of(line, plan.run_folder("relu", 0) / "last.ckpt", Path("out"), seed=0)
    assert run_module._names_other_arms(plan, "relu", 0, evaluation) is waits


def test_several_processes_without_one_run_end_and_say_so(plan, monkeypatch):
    """The first process waits for the others' training; a status that is not 0 makes their launcher end it."""
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit, match="give --arm and --seed"):
        main(["--config", str(plan)])


class PowerCut(BaseException):
    pass


def hashes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if (path.is_file() and path.suffix in (".csv", ".md")) or path.name == "results.json"
    }


@pytest.mark.parametrize("number", [3, 9])
@pytest.mark.slow
def test_a_kill_anywhere_in_a_test_and_other_settings_after_it_never_stand_side_by_side(
    tests_only, tmp_path, monkeypatch, number
):
    """The renames of the files of a test's folder are the moments."""
    replace, replaced = Path.replace, []

    def cutting(self, target):
        if "consistency-0/test" in str(target):
            if len(replaced) == number:
                raise PowerCut
            replaced.append(target)
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", cutting)
        with pytest.raises(PowerCut):
            main(tests_only)
    shutil.rmtree(tmp_path / "out" / "start-0")  # complete, with the old settings: refused, see above
    shutil.rmtree(tmp_path / "out" / "standard-0")
    main([*tests_only, "--limit", "12"])
    for name in ("last", "best"):
        (line, *_) = (tmp_path / "out" / "consistency-0" / "test" / name / "accuracy.csv").read_text().splitlines()[1:]
        assert line.split(",")[1] == "12"
    killed = hashes(tmp_path / "out" / "consistency-0")
    shutil.rmtree(tmp_path / "out")
    main([*tests_only, "--limit", "12"])
    assert {
        name: digest for name, digest in hashes(tmp_path / "out" / "consistency-0").items() if ".old" not in name
    } == {name: digest for name, digest in killed.items() if ".old" not in name}


@pytest.mark.slow
def test_a_damaged_or_half_copied_test_is_done_again(tests_only, tmp_path):
    main(tests_only)
    test = tmp_path / "out" / "standard-0" / "test"
    before = hashes(tmp_path / "out")
    content = (test / "last" / "predictions.csv").read_text()
    (test / "last" / "predictions.csv").write_text(content.replace("n0", "n1", 1))
    (test / "best" / "results.json").unlink()
    main(tests_only)
    assert {name: digest for name, digest in hashes(tmp_path / "out").items() if ".old" not in name} == before


def test_a_half_trained_run_of_other_settings_is_refused(tests_only, plan, tmp_path, monkeypatch, capsys):
    def cut(command):
        (tmp_path / "out" / command[command.index("--name") + 1] / "last.ckpt").touch()
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "fit", cut)
        with pytest.raises(PowerCut):
            main(tests_only)
    (tmp_path / "base.yaml").write_text(BASE.replace("0.05", "0.5"))
    with pytest.raises(SystemExit):
        main(tests_only)
    assert "standard-0 was made with other configs than are asked for now" in " ".join(capsys.readouterr().err.split())
