"""An old name goes on with the old run, or says what differs."""

import re

import pytest
from interruptions import STEPS, Runs

from lightning_advinterp.training.same_run import check_same_run

BOTH = """
seed_everything: 0
model:
  network: resnet18
  objective: {class_path: a.b.Consistency, init_args: {alpha: 0.5, layers: {x: 1.0, y: 1.0}, base: null}}
  optimizer: {lr: 0.1}
  schedule: {name: cosine}
data:
  class_path: a.b.Folder
  init_args: {root: photos, image_size: 64, num_workers: auto, batch_size: 8, limit_val: 5}
trainer: {max_epochs: 3, devices: 1}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("a.b.Consistency", "a.b.Madry", "model.objective was 'Consistency', is 'Madry'"),
        ("alpha: 0.5", "alpha: 0.7", "model.objective.init_args.alpha was 0.5, is 0.7"),
        ("{x: 1.0, y: 1.0}", "{x: 1.0}", "layers.y was 1.0, is None"),
        ("{x: 1.0, y: 1.0}", "x", r"layers was \{'x': 1.0, 'y': 1.0\}, is 'x'"),
        ("base: null", "base: {class_path: a.Free}", "base was None, is {'class_path'"),
        ("network: resnet18", "network: resnet50", "model.network was 'resnet18', is 'resnet50'"),
        ("root: photos", "root: other/photos", "data.init_args.root was 'photos', is 'other/photos'"),
        ("image_size: 64", "image_size: 32", "image_size was 64, is 32"),
        ("a.b.Folder", "a.b.CIFAR", "data was 'Folder', is 'CIFAR'"),
        ("seed_everything: 0", "seed_everything: 1", "seed_everything was 0, is 1"),
    ],
)
def test_what_makes_a_run_another_one_is_named(tmp_path, old, new, message):
    (tmp_path / "config.yaml").write_text(BOTH)
    with pytest.raises(ValueError, match=message) as error:
        check_same_run(tmp_path / "config.yaml", BOTH.replace(old, new))
    assert "--allow_changes true" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_epochs: 3, devices: 1", "max_epochs: 9, devices: 2, logger: false"),
        ("num_workers: auto", "num_workers: 3"),
        ("batch_size: 8", "batch_size: 4"),
        ("limit_val: 5", "limit_val: 50"),
        ("root: photos", "root: ./photos/"),
        ("network: resnet18", "network: resnet18\n  compile: true"),
        ("alpha: 0.5", "alpha: 0.5, new_in_this_version: 1"),
        ("lr: 0.1", "lr: 0.2"),  # compared with the schedule's own state
    ],
)
def test_what_may_change_goes_on(tmp_path, old, new):
    (tmp_path / "config.yaml").write_text(BOTH)
    check_same_run(tmp_path / "config.yaml", BOTH.replace(old, new))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: [", b"just words", b""])
def test_settings_that_cannot_be_read_are_passed_over_with_a_warning(tmp_path, caplog, content):
    (tmp_path / "config.yaml").write_bytes(content)
    check_same_run(tmp_path / "config.yaml", BOTH)
    assert "is not compared with the configuration" in caplog.text


@pytest.mark.slow
def test_an_old_name_with_another_objective_is_refused_unless_asked_for(tmp_path, monkeypatch, capsys):
    runs = Runs(tmp_path, monkeypatch, "--model.schedule.name", "constant")
    runs.start("run", "--trainer.max_epochs", "1")
    before = runs.path("run").read_bytes()
    objective = ("--model.objective", "Standard")
    assert runs.start("run", *objective) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(
        r"^error: name: \S+ holds a run of other settings: model.objective was 'Consistency', is 'Sta", line
    )
    assert runs.path("run").read_bytes() == before
    runs.start("run", *objective, "--allow_changes", "true")
    assert len(runs.seen) == 2 * STEPS


OLD_ATTACK = """
        type: pgd
        eps: 8/255
        name: null
        norm: null
        steps: 10
        step_size: null
        random_start: null
        restarts: null
        loss: null
        label: 'true'
        target: null
        target_file: null
        eps_distribution: uniform
        decay: null
        stop_after: null
        weight: null
        distance: null
        confidence: null
        search_steps: null
        initial_weight: null
        members: null
        beside: null
        combine: null
        targets: null
        target_rank: null
        queries: null
        regularization: null
        decision: null
        mask: null
        path: null
        missing: null
        options: null
"""
"""As versions wrote it whose configurations had a key for every setting of every type."""


def with_attack(attack):
    objective = "{class_path: a.b.Consistency, init_args: {alpha: 0.5, layers: {x: 1.0, y: 1.0}, base: null}}"
    return BOTH.replace(objective, f"\n    class_path: a.b.Madry\n    init_args:\n      attack: {attack}")


@pytest.mark.parametrize(
    "attack", ["{type: pgd, eps: 8/255, steps: 10}", OLD_ATTACK, "[{type: pgd, steps: 10, eps: 8/255}]"]
)
def test_settings_that_an_earlier_version_wrote_with_nulls_are_the_same(tmp_path, attack):
    (tmp_path / "config.yaml").write_text(with_attack(OLD_ATTACK))
    check_same_run(tmp_path / "config.yaml", with_attack(attack))
    (tmp_path / "config.yaml").write_text(with_attack(attack))
    check_same_run(tmp_path / "config.yaml", with_attack(OLD_ATTACK))


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ("{type: pgd, eps: 8/255, steps: 9}", r"settings: model.objective.init_args.attack.steps was 10, is 9\. "),
        ("{type: pgd, eps: 8/255}", r"settings: model.objective.init_args.attack.steps was 10, is None\. "),
        ("bim", "attack.type was 'pgd', is 'bim'"),
    ],
)
def test_of_settings_with_nulls_what_differs_is_named(tmp_path, attack, message):
    (tmp_path / "config.yaml").write_text(with_attack(OLD_ATTACK))
    with pytest.raises(ValueError, match=message):
        check_same_run(tmp_path / "config.yaml", with_attack(attack))


def test_what_an_old_folder_names_is_not_imported(tmp_path, monkeypatch):
    """Its file is data: a class that is gone, or whose module does something, is compared by what is written."""
    (tmp_path / "ruinous.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    was = "{type: ruinous.Attack, label: 'true', steps: null, options: {decay: 0.5}}"
    (tmp_path / "config.yaml").write_text(with_attack(was))
    check_same_run(tmp_path / "config.yaml", with_attack("{type: ruinous.Attack, decay: 0.5}"))
    with pytest.raises(ValueError, match=r"attack.decay was 0.5, is 0.7\. "):
        check_same_run(tmp_path / "config.yaml", with_attack("{type: ruinous.Attack, decay: 0.7}"))
