"""A network is as it was when an attack on explanations or an analysis of them breaks off midway."""

from contextlib import contextmanager

import pytest
import torch
from helpers import Memory, assert_untouched, fingerprint, small_batch, small_network

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.curvature.analysis import CurvatureAnalysis
from lightning_advinterp.analyses.curvature.config import CurvatureConfig
from lightning_advinterp.analyses.fragility.analysis import FragilityAnalysis
from lightning_advinterp.analyses.fragility.config import FragilityConfig
from lightning_advinterp.analyses.influence.analysis import InfluenceAnalysis
from lightning_advinterp.analyses.influence.config import InfluenceConfig, make_task
from lightning_advinterp.attacks import ExplanationAttackConfig, create_explanation_attack
from lightning_advinterp.attacks.explanation.influence import InfluenceAttack
from lightning_advinterp.attacks.loop.budget import Budget
from lightning_advinterp.attacks.loop.step import SignStep
from lightning_advinterp.attacks.loop.threat import Linf
from lightning_advinterp.data.batch import Batch
from lightning_advinterp.explanations import ExplanationConfig, IntegratedGradients
from lightning_advinterp.explanations.influence import LastLayerInfluence
from lightning_advinterp.explanations.last_layer import fit_last_layer, penultimate
from lightning_advinterp.networks.modes import frozen_eval
from lightning_advinterp.networks.smoothing import active_beta


def images():
    batch = small_batch(n=12, size=12)
    with torch.no_grad():
        label = small_network()(batch.image).argmax(1)
    return Batch(batch.image, label, batch.index)


def attack_on_explanations(network):
    config = ExplanationAttackConfig("topk", steps=3, k=10, penalty=0.1)
    attack = create_explanation_attack(config, IntegratedGradients(steps=2, recompute=True))
    return lambda: attack.run(network, images().image[:2])


def attack_on_influence(network):
    batch = images()
    with frozen_eval(network), torch.no_grad():
        features = penultimate(network, batch.image)
    y = batch.index % 2
    influence = LastLayerInfluence(features, y, *fit_last_layer(features, y, 2))
    attack = InfluenceAttack(Linf(Budget(0.01, 0.01)), SignStep(0.5, relative=True), steps=3, influence=influence)
    return lambda: attack.run(network, batch.image[:2], y[:2])


def running(network, analysis, batch):
    return lambda: Runner(network, Memory(batch), batch_size=6).run([analysis])


def fragility(network):
    methods = [ExplanationConfig("gradient", softplus=3.0)]
    methods += [ExplanationConfig(name) for name in ("smoothgrad", "deeplift")]
    attacks = (ExplanationAttackConfig("topk", k=10), ExplanationAttackConfig("target_map"))
    config = FragilityConfig(methods=tuple(methods), attacks=attacks, eps=("4/255",), steps=2, faithfulness=2, pool=2)
    return running(network, FragilityAnalysis(config), images())


def influence(network):
    batch = images()
    labels = (batch.index % 2).tolist()
    config = InfluenceConfig(training=6, test=4, steps=2, overlap=2)
    task = make_task(labels, batch.index.tolist(), config)
    return running(network, InfluenceAnalysis(config, task), Batch(batch.image, torch.tensor(labels), batch.index))


def curvature(network):
    return running(network, CurvatureAnalysis(CurvatureConfig(lanczos=2, probes=2)), images())


class PowerCutError(Exception):
    """What breaks a run off."""


@contextmanager
def cut_at(network, call, backward):
    """Break off in the n-th pass of the second convolution, on the way there or back; count where there is no n."""
    calls = [0]

    def count(*_):
        calls[0] += 1
        if calls[0] == call:
            raise PowerCutError

    def hook(module, inputs, output):
        if not backward:
            count()
        elif output.requires_grad:
            output.register_hook(count)

    with network.backbone.conv2.register_forward_hook(hook):
        yield calls


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("prepare", [attack_on_explanations, attack_on_influence, fragility, influence, curvature])
@pytest.mark.slow
def test_the_network_is_as_it_was_after_an_error(prepare, backward):
    network = small_network(dropout=0.3).train()
    network.backbone.bn1.eval()
    network.backbone.conv1.weight.requires_grad_(False)
    before = fingerprint(network)
    run = prepare(network)
    with cut_at(network, None, backward) as calls:
        run()
    total = calls[0]
    assert total > 2
    for call in sorted({1, 2, total // 3, total // 2, 2 * total // 3, total}):
        run = prepare(network)
        with cut_at(network, call, backward), pytest.raises(PowerCutError):
            run()
        assert_untouched(network, before)
        hooks = [hook for part in network.modules() for hook in (*part._forward_hooks.values(), *part._backward_hooks)]
        assert len(hooks) <= 1  # of the layer that influence reads
        assert active_beta() is None
        assert torch.is_grad_enabled()
