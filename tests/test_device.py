"""Training steps on a simulated accelerator: nothing mixes devices, and nothing waits for the device in a hot loop."""

import pytest
import pytorch_lightning as pl
import torch
from helpers import small_batch, small_network
from simulated_device import DEVICE, SimulatedDevice, mark, mark_module, marked
from torch import nn
from training_processes import objectives, save_source

from lightning_advinterp.attacks import AttackConfig, pgd
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.objectives import (
    AWP,
    Consistency,
    Fast,
    Free,
    GradAlign,
    Kurakin,
    Madry,
    Mart,
    Standard,
    Trades,
)
from lightning_advinterp.training.callbacks import EMACallback
from lightning_advinterp.training.module import RobustClassifier

OBJECTIVES = {
    "consistency_fgsm": Consistency(AttackConfig("fgsm", ["4/255", "16/255"])),
    "consistency_fgsm_eval": Consistency(AttackConfig("fgsm", "8/255"), bn="eval"),
    "consistency_pgd": Consistency(AttackConfig("pgd", "8/255", steps=3)),
    "consistency_trades": Consistency(AttackConfig("pgd", "8/255", steps=3), trades_beta=6.0),
    "madry_l2": Madry(AttackConfig("pgd", 0.5, steps=3, norm="l2")),
    "madry_momentum": Madry(AttackConfig("mifgsm", "8/255", steps=3)),
    "trades": Trades(AttackConfig("pgd", "8/255", steps=3)),
    "standard": Standard(),
    "kurakin": Kurakin(),
    "fast": Fast(),
    "free": Free(),
    "mart": Mart(),
    "awp": AWP(base=Consistency()),
    "grad_align": GradAlign(),
}


def on_device(batch):
    return Batch(*(mark(field.clone()) for field in batch))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_training_step_waits_for_the_device(name):
    network, objective = mark_module(small_network()).train(), OBJECTIVES[name]
    with SimulatedDevice() as first:
        objective(network, on_device(small_batch()), epoch=0).total.backward()
    assert all(line.startswith("core/inputs.py") for line in first.waits), first.waits  # the first batch is looked at
    for seed in (2, 3):
        with SimulatedDevice() as device:
            loss = objective(network, on_device(small_batch(seed=seed)), epoch=1)
            loss.total.backward()
        assert not device.waits, device.waits
        assert all(marked(value) for value in (loss.total, *loss.parts.values()))


@pytest.mark.parametrize("host", [True, False])
def test_the_draw_of_a_source_is_read_from_the_host(tmp_path, host):
    save_source(tmp_path)
    objective = objectives(tmp_path)["ensemble"]
    network = mark_module(small_network()).train()
    for source in objective._sources:
        mark_module(source)
    drawn = set()
    for seed in range(6):
        cpu = small_batch(seed=seed)
        cpu = cpu._replace(index=cpu.index + 10 * seed)
        batch = on_device(cpu)
        with SimulatedDevice() as device:
            objective(network, batch.keeping(cpu.index if host else None), epoch=1)
        drawn.add(objective.source_number(objective.keys(cpu, 1)))
        waits = [line for line in device.waits if not line.startswith("core/inputs.py")]
        assert bool(waits) != host, device.waits
    assert len(drawn) > 1


def test_the_module_keeps_the_indices_on_the_host():
    module, batch = RobustClassifier(small_network()), small_batch()
    module.trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    module.trainer.training = True
    with SimulatedDevice():
        batch = module.on_before_batch_transfer(batch, 0)
        moved = module.on_after_batch_transfer(Batch(*(field.to(DEVICE) for field in batch)), 0)
        assert marked(moved.index)
        assert moved.index_on_host is batch.index


def test_an_attack_by_itself_waits_once():
    network, batch = mark_module(small_network()), on_device(small_batch())
    with SimulatedDevice() as device:
        pgd("8/255", steps=3)(network, batch.image, batch.label)
    assert sum(device.waits.values()) == 1, device.waits
    with SimulatedDevice(), pytest.raises(ValueError, match=r"x must lie in \[0, 1\]"):
        pgd("8/255", steps=3)(network, mark(batch.image * 255), batch.label)


@pytest.mark.parametrize("wrong", ["pixels", "labels"])
def test_the_first_batch_is_looked_at(wrong):
    network, batch = mark_module(small_network()).train(), small_batch()
    batch = batch._replace(**({"image": batch.image * 255} if wrong == "pixels" else {"label": batch.label + 9}))
    with SimulatedDevice(), pytest.raises(ValueError, match=r"x must lie in|label must be classes 0 to 4"):
        Consistency(AttackConfig("pgd", "8/255", steps=2))(network, on_device(batch), epoch=0)


def test_the_simulation_refuses_what_an_accelerator_refuses():
    x, unmarked = mark(torch.rand(3)), torch.rand(3)
    with SimulatedDevice() as device:
        assert x.device == DEVICE
        assert (x + 1).is_cuda
        assert marked(torch.zeros(3, device=x.device) + x * torch.tensor(2.0))
        assert not marked(x.cpu())
        with pytest.raises(RuntimeError, match="mixes devices"):
            x + unmarked
        with pytest.raises(RuntimeError, match="mixes devices"):
            torch.stack([x, unmarked])
        assert marked(x + unmarked.to(x.device))
        before = sum(device.waits.values())
        assert [bool(x.sum() > 9), float(x.max()) > 9, x.nonzero().shape[0] > 9, len(x[x > 9]) > 9] == [False] * 4
        assert sum(device.waits.values()) - before == 4


def test_a_moving_average_asks_the_host_alone():
    """Lightning's callback asks the device twice an update for the number of updates."""
    module = pl.LightningModule()
    module.layer = nn.Linear(3, 2)
    trainer = pl.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    callback, expected = EMACallback(decay=0.5), None
    callback.setup(trainer, module, "fit")
    mark_module(callback._average_model)
    mark_module(module)
    for step in range(1, 4):
        with torch.no_grad():
            module.layer.weight.fill_(step)
        trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total.completed = step
        trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = step
        with SimulatedDevice() as device:
            callback.on_train_batch_end(trainer, module, None, None, step - 1)
        assert sum(device.waits.values()) == (1 if step == 1 else 0), device.waits  # the number comes over once
        expected = step if expected is None else 0.5 * expected + 0.5 * step
    assert callback._average_model.module.layer.weight[0, 0].item() == expected
    assert int(callback._average_model.n_averaged) == 3
