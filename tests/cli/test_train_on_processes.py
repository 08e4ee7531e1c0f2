"""The training command on two processes of this machine, as a user starts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from short_configs import short_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional as F

from lightning_advinterp.analyses import AccuracyAnalysis, Runner
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.cli import TrainCLI, train
from lightning_advinterp.datamodules import ConceptWorldDataModule
from lightning_advinterp.networks.checkpoint import load_checkpoint

REPOSITORY = Path(__file__).parents[2]
CONFIG = short_config(
    "two",
    seed=3,
    max_epochs=2,
    devices="2",
    strategy="ddp",
    sync_batchnorm="true",
    val_size=25,
    test_size=12,
    batch_size=8,
)
CONFIG += """
model:
  network: cifar_resnet20
  objective: {class_path: Consistency, init_args: {attack: {type: fgsm, eps: [2/255, 8/255]}}}
  optimizer: {lr: 0.05}
accuracy: {attacks: [{type: fgsm, eps: 4/255}], limit: null, batch_size: 4}
guard: {images: 8, attack: {type: pgd, eps: 4/255, steps: 1}}
pictures: {images: 2, attack: {type: fgsm, eps: 4/255}}
dissection:
  {limit: 7, every_n_epochs: 2, units: 1, attacks: [{type: targeted_optimization, weight: 0.1, steps: 1}],
   settings: {layers: last, quantile: 0.9}}
semantics: {limit: 13, every_n_epochs: 2, panels: {count: 1, images: 2}, settings: {layers: last, share: 0.2}}
export: {}
"""


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_train_and_one_writes(tmp_path):
    (tmp_path / "two.yaml").write_text(CONFIG)
    flags = ["--config", str(tmp_path / "two.yaml"), "--output", str(tmp_path / "runs")]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-W", "error::UserWarning", str(REPOSITORY / "train.py"), *flags]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Accuracy on validation images") == 1

    folder = tmp_path / "runs" / "two"
    names = sorted(path.name.partition(".tfevents")[0] for path in folder.iterdir())
    assert {"best.ckpt", "config.yaml", "last.ckpt", "export"} <= set(names)
    assert len(list((folder / "export").iterdir())) == 2
    assert names.count("events.out") == 1
    assert not [name for name in names if name.startswith((".", "config.0"))]
    content = torch.load(folder / "last.ckpt", weights_only=True)
    assert content["global_step"] == 2 * 32 // (2 * 8)

    # 25 validation images, 13 on one process and 12 on the other: what was logged is what one process finds.
    network = load_checkpoint(folder / "last.ckpt").network.eval()
    data = ConceptWorldDataModule(32, 25, 12, image_size=16, seed=3)
    data.setup("validate")
    attacks = create_attacks([AttackConfig("fgsm", "4/255")])
    scalars = Runner(network, data.val_dataset, attacks=attacks).run([AccuracyAnalysis(attacks)])["accuracy"].scalars
    images, labels = data.val_dataset.images / 255, torch.tensor(data.val_dataset.labels)
    with torch.no_grad():
        logits = network(images)
    events = EventAccumulator(str(folder)).Reload()
    logged = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert len(logged["val/acc"]) == 2
    assert logged["val/acc"][-1] == pytest.approx((logits.argmax(1) == labels).float().mean().item(), abs=1e-6)
    assert logged["val/fgsm_acc"][-1] == pytest.approx(scalars["fgsm_acc"], abs=1e-6)
    analysed = [key for key in logged if key.startswith(("dissection/", "semantics/", "distances/"))]
    assert {"dissection/retention", "semantics/all/lc", "distances/fgsm/r_src"} <= set(analysed)
    assert all(len(logged[key]) == 1 for key in analysed)
    assert logged["val/loss"][-1] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)


@pytest.fixture
def single_process(tmp_path):
    """The same run on one process, so that it can be parsed here."""
    (tmp_path / "one.yaml").write_text(CONFIG.replace("devices: 2", "devices: 1").replace("strategy: ddp, ", ""))
    return ["--config", str(tmp_path / "one.yaml"), "--output", str(tmp_path / "runs")]


@pytest.mark.parametrize(
    ("setting", "backend"), [("true", "inductor"), ("false", None), ("aot_eager", "aot_eager"), (None, None)]
)
def test_compilation_is_a_switch_or_a_backend(single_process, setting, backend):
    flags = [] if setting is None else ["--model.compile", setting]
    assert TrainCLI.parse([*single_process, *flags]).model.compile_backend == backend


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.compile", "nvfuser"], "compile must be true, false or a backend"),
        (["--model.objective.init_args.attack", "{type: pgd, stop_after: 1}"], "set the objective's bn to eval"),
    ],
)
def test_what_would_fail_or_hang_later_is_refused(single_process, capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        train([*single_process, *flags])
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_synchronised_batch_norm_on_one_process_changes_nothing(single_process, tmp_path):
    for name, flag in (("with", "true"), ("without", "false")):
        train([*single_process, "--name", name, "--trainer.sync_batchnorm", flag, "--trainer.max_epochs", "1"])
    states = [
        torch.load(tmp_path / "runs" / name / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("with", "without")
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])
