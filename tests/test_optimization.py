import math

import pytest
import torch
from helpers import small_network

from lightning_advinterp.optimization import OptimizerConfig, ScheduleConfig, create_optimizer, create_schedule


def rates(config, total_steps=100, epochs=10, lr=0.1):
    optimizer = create_optimizer(small_network(), OptimizerConfig(lr=lr))
    schedule = create_schedule(optimizer, config, total_steps=total_steps, epochs=epochs)
    seen = []
    for _ in range(total_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule["scheduler"].step()
    return seen


def test_cosine_with_warm_up_by_hand():
    seen = rates(ScheduleConfig("cosine", warmup_epochs=1, warmup_start=0.1, min_lr=0.01))
    for step in range(10):
        assert seen[step] == pytest.approx(0.1 * (0.1 + 0.9 * step / 10))
    for step in range(10, 100):
        assert seen[step] == pytest.approx(0.01 + 0.09 * (1 + math.cos(math.pi * (step - 10) / 90)) / 2, abs=1e-9)


def test_multistep_counts_epochs_from_the_start():
    seen = rates(ScheduleConfig("multistep", milestones=[5, 8], warmup_epochs=2))
    assert [seen[step] for step in (20, 49, 50, 79, 80)] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])


def test_constant_and_onecycle():
    assert set(rates(ScheduleConfig("constant"))) == {0.1}
    seen = rates(ScheduleConfig("onecycle", warmup_epochs=2))
    assert max(seen) == pytest.approx(0.1)
    assert seen.index(max(seen)) in (19, 20)
    assert seen[-1] < 1e-4


def test_plateau_watches_its_key():
    optimizer = create_optimizer(small_network(), OptimizerConfig(lr=0.1))
    config = ScheduleConfig("plateau", monitor="val/acc", mode="max", patience=1, gamma=0.5)
    schedule = create_schedule(optimizer, config, total_steps=10, epochs=5)
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
        create_schedule(optimizer, ScheduleConfig("linear"), total_steps=5, epochs=1)
    with pytest.raises(ValueError, match="warmup_epochs cannot be combined with plateau"):
        create_schedule(optimizer, ScheduleConfig("plateau", warmup_epochs=1), total_steps=5, epochs=1)
