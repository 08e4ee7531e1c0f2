import math
import warnings

import pytest
import pytorch_lightning as pl
import torch
from helpers import small_network

from lightning_advinterp.training.course import training_length
from lightning_advinterp.training.optimization import (
    OptimizerConfig,
    ScheduleConfig,
    create_optimizer,
    create_schedule,
)

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def rates(config, total_steps=100, epochs=10, lr=0.1):
    optimizer = create_optimizer(small_network(), OptimizerConfig(lr=lr))
    schedule = create_schedule(optimizer, config, total_steps=total_steps, steps_per_epoch=total_steps // epochs)
    values = []
    for _ in range(total_steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule["scheduler"].step()
    return values


def test_cosine_with_warm_up_by_hand():
    lrs = rates(ScheduleConfig("cosine", warmup_epochs=1, warmup_start=0.1, min_lr=0.01))
    for step in range(10):
        assert lrs[step] == pytest.approx(0.1 * (0.1 + 0.9 * step / 10))
    for step in range(10, 100):
        assert lrs[step] == pytest.approx(0.01 + 0.09 * (1 + math.cos(math.pi * (step - 10) / 90)) / 2, abs=1e-9)


def test_multistep_counts_epochs_from_the_start():
    lrs = rates(ScheduleConfig("multistep", milestones=[5, 8], warmup_epochs=2))
    assert [lrs[step] for step in (20, 49, 50, 79, 80)] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])


def test_constant_and_onecycle():
    assert set(rates(ScheduleConfig("constant"))) == {0.1}
    lrs = rates(ScheduleConfig("onecycle", warmup_epochs=2))
    assert max(lrs) == pytest.approx(0.1)
    assert lrs.index(max(lrs)) in (19, 20)
    assert lrs[-1] < 1e-4


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("cycle", [False, True])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "multistep", "plateau", "onecycle"])
def test_no_schedule_moves_the_momentum_unasked(name, schedule, cycle):
    optimizer = create_optimizer(small_network(), OptimizerConfig(name, momentum=0.8, betas=(0.7, 0.99)))
    config = ScheduleConfig(schedule, cycle_momentum=cycle)
    scheduler = create_schedule(optimizer, config, total_steps=10, steps_per_epoch=5)["scheduler"]
    momenta = set()
    for _ in range(10):
        group = optimizer.param_groups[0]
        momenta.add(round(group["momentum"] if name == "sgd" else group["betas"][0], 3))
        optimizer.step()
        scheduler.step(*([1.0] if schedule == "plateau" else []))
    expected = 0.8 if name == "sgd" else 0.7
    assert (momenta == {expected}) == (not (cycle and schedule == "onecycle"))
    assert ("cycle_momentum" in config.without_effect) == (cycle and schedule != "onecycle")


LIMITS = {
    "epochs": ({"max_epochs": 4}, 12),
    "steps": ({"max_epochs": -1, "max_steps": 5}, 5),
    "steps within the epochs": ({"max_epochs": 4, "max_steps": 5}, 5),
    "more steps than epochs": ({"max_epochs": 4, "max_steps": 500}, 12),
    "time": ({"max_epochs": -1, "max_time": "00:00:01:00"}, None),
    "accumulated": ({"max_epochs": 4, "accumulate_grad_batches": 2}, 8),
    "limited": ({"max_epochs": 4, "limit_train_batches": 2}, 8),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_epochs_are_counted_in_batches_whatever_ends_the_training(limit):
    trainer_limits, total = LIMITS[limit]
    lengths = []

    class Lengths(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, number):
            return self.layer(batch).sum()

        def configure_optimizers(self):
            lengths.append(training_length(self.trainer))
            self.trainer.should_stop = True
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = pl.Trainer(accelerator="cpu", **QUIET, **trainer_limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Lengths(), torch.utils.data.DataLoader(torch.rand(6, 2), batch_size=2))
    assert lengths == [(total, 2 if limit in ("accumulated", "limited") else 3)]


@pytest.mark.parametrize(
    ("config", "length", "message"),
    [
        (ScheduleConfig("cosine"), (None, 5), "cosine is laid out over the whole training, but neither trainer.max_ep"),
        (ScheduleConfig("onecycle"), (None, 5), "onecycle is laid out over the whole training"),
        (
            ScheduleConfig("multistep", milestones=[1]),
            (9, None),
            r"schedule\.milestones counts epochs, but the training",
        ),
        (ScheduleConfig("constant", warmup_epochs=1), (None, None), r"schedule\.warmup_epochs counts epochs"),
    ],
)
def test_a_course_without_its_length_is_refused(config, length, message):
    optimizer = create_optimizer(small_network(), OptimizerConfig())
    with pytest.raises(ValueError, match=message):
        create_schedule(optimizer, config, total_steps=length[0], steps_per_epoch=length[1])


def test_a_warm_up_longer_than_the_training_is_said(caplog):
    optimizer = create_optimizer(small_network(), OptimizerConfig())
    create_schedule(optimizer, ScheduleConfig("cosine", warmup_epochs=5), total_steps=10, steps_per_epoch=5)
    assert "the warm-up takes 25 steps, the whole training 10" in caplog.text


@pytest.mark.parametrize(
    ("config", "unused"),
    [
        (OptimizerConfig("adamw", momentum=0.5, nesterov=True), ["momentum", "nesterov"]),
        (OptimizerConfig("sgd", betas=(0.5, 0.9)), ["betas"]),
        (ScheduleConfig("onecycle", min_lr=0.1, milestones=[2]), ["min_lr", "milestones"]),
        (ScheduleConfig("cosine", gamma=0.5, monitor="val/acc"), ["gamma", "monitor"]),
        (ScheduleConfig("multistep", milestones=[2], gamma=0.5), []),
    ],
)
def test_settings_without_effect_are_named(config, unused):
    assert config.without_effect == unused


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (OptimizerConfig, {"lr": -1.0}),
        (OptimizerConfig, {"lr": math.nan}),
        (OptimizerConfig, {"weight_decay": -0.1}),
        (OptimizerConfig, {"momentum": 1.5}),
        (OptimizerConfig, {"betas": (0.9, 1.0)}),
        (ScheduleConfig, {"warmup_epochs": -1.0}),
        (ScheduleConfig, {"min_lr": math.inf}),
        (ScheduleConfig, {"name": "plateau", "gamma": 1.0}),
    ],
)
def test_numbers_that_no_training_can_use_are_refused(kind, settings):
    with pytest.raises(ValueError, match=rf"(optimizer|schedule)\.{list(settings)[-1]}.* must be"):
        kind(**settings)


def test_plateau_watches_its_key():
    optimizer = create_optimizer(small_network(), OptimizerConfig(lr=0.1))
    config = ScheduleConfig("plateau", monitor="val/acc", mode="max", patience=1, gamma=0.5)
    schedule = create_schedule(optimizer, config, total_steps=10, steps_per_epoch=2)
    assert (schedule["monitor"], schedule["interval"]) == ("val/acc", "epoch")
    for value in (0.5, 0.4, 0.4):
        schedule["scheduler"].step(value)
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_biases_and_scales_are_not_decayed_unless_asked():
    network = small_network()
    decayed, free = create_optimizer(network, OptimizerConfig(weight_decay=0.1)).param_groups
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0.0
    assert all(parameter.dim() > 1 for parameter in decayed["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(list(network.parameters()))
    (everything,) = create_optimizer(network, OptimizerConfig(decay_norm_and_bias=True)).param_groups
    assert len(everything["params"]) == len(list(network.parameters()))
    network.backbone.conv1.requires_grad_(False)
    groups = create_optimizer(network, OptimizerConfig("adamw")).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters())) - 2
    assert isinstance(create_optimizer(network, OptimizerConfig("adamw")), torch.optim.AdamW)


def test_wrong_settings_are_refused():
    optimizer = create_optimizer(small_network(), OptimizerConfig())
    with pytest.raises(ValueError, match=r"optimizer\.name must be sgd or adamw, got 'adam'"):
        create_optimizer(small_network(), OptimizerConfig("adam"))
    with pytest.raises(ValueError, match=r"schedule\.name must be .* got 'linear'"):
        create_schedule(optimizer, ScheduleConfig("linear"), total_steps=5, steps_per_epoch=5)
    with pytest.raises(ValueError, match="warmup_epochs cannot be combined with plateau"):
        create_schedule(optimizer, ScheduleConfig("plateau", warmup_epochs=1), total_steps=5, steps_per_epoch=5)
