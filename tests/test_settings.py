"""Numbers that are none are refused before any work, whichever command and group of settings they stand in."""

import pytest

from lightning_advinterp.ablation.command import main as ablate
from lightning_advinterp.cli import evaluate, fit
from lightning_advinterp.cli.adversarial import main as make_set
from lightning_advinterp.cli.evaluation import Evaluation, run_evaluation
from lightning_advinterp.core.devices import choose_device

LONG = "9" * 20


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        (evaluate, ["--seed", LONG], f"seed must be a whole number from 0 to 4294967295, got {LONG}"),
        (evaluate, ["--seed", "-1"], "seed must be a whole number from 0 to 4294967295, got -1"),
        (evaluate, ["--fragility.seed", LONG], "fragility.seed must be a whole number"),
        (evaluate, ["--batch_size", LONG], "batch_size must be 2147483647 at most"),
        (evaluate, ["--steps", "-1"], "steps must be 1 or more, got -1"),
        (evaluate, ["--crop", "0"], "crop must be 1 or more, got 0"),
        (evaluate, ["--resize", "-5"], "resize must be 1 or more, got -5"),
        (evaluate, ["--curvature.limit", "0"], "curvature.limit must be 1 or more images, got 0"),
        (make_set, ["--seed", LONG], "seed must be a whole number"),
        (make_set, ["--crop", "0"], "crop must be 1 or more, got 0"),
        (make_set, ["--part", "0"], "part must be 1 or more, got 0"),
        (ablate, ["--base", "[]", "--arms", "{}", "--seeds", f"[1, {LONG}]"], "seeds must be a whole number"),
        (fit, ["--seed_everything", LONG], "seed_everything must be a whole number"),
        (fit, ["--accuracy.seed", LONG], "accuracy.seed must be a whole number"),
        (fit, ["--accuracy.limit", "-1"], "accuracy.limit must be 1 or more images, got -1"),
        (fit, ["--trainer.accumulate_grad_batches", "0"], "trainer.accumulate_grad_batches must be 1 or more, got 0"),
        (fit, ["--trainer.check_val_every_n_epoch", "0"], "trainer.check_val_every_n_epoch must be 1 or more, got 0"),
        (fit, ["--trainer.gradient_clip_val", "-1"], "trainer.gradient_clip_val must be 0 or more, got -1"),
        (fit, ["--model.schedule.milestones", "[-1]"], "milestones"),
        (fit, ["--model.optimizer.lr", "-1"], "optimizer.lr must be a finite number of 0 or more, got -1"),
        (fit, ["--model.optimizer.momentum", "1.5"], "optimizer.momentum must be in [0, 1), got 1.5"),
        (fit, ["--model.optimizer.weight_decay", "-1"], "optimizer.weight_decay must be a finite number of 0 or more"),
    ],
)
def test_refused_in_one_line(tmp_path, monkeypatch, capsys, command, flags, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        command(flags if command is not fit else ["--data", "ConceptWorldDataModule", *flags])
    assert stop.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_in_python_too():
    with pytest.raises(ValueError, match="crop must be 1 or more, got 0"):
        run_evaluation(Evaluation(network="cifar_resnet20", crop=0), console=None)


@pytest.mark.parametrize("name", ["meta", "xla", "hpu", "cuda:99", "cpu:-1", "nonsense", "", "privateuseone", "meta:0"])
def test_a_device_must_compute(name):
    with pytest.raises(ValueError, match=r"cannot be used here; there are cpu"):
        choose_device(name)
    assert choose_device("cpu").type == "cpu"
