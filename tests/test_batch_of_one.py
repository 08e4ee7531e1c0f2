"""BatchNorm that normalises by the batch: a batch of one image, and evaluations whose numbers depend on batches."""

import pytest
import torch
from helpers import Memory, small_batch, small_network
from torch import nn

from lightning_advinterp.analyses import AccuracyAnalysis, Runner
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.core.errors import RunStoppedError
from lightning_advinterp.objectives import Consistency, Madry, Standard, Trades
from lightning_advinterp.training.module import RobustClassifier

SAID = r"BatchNorm \(.*bn1.*\) cannot normalise a batch of one image .*batch_size of 2 or more.*drop_last.*bn: frozen"


@pytest.mark.parametrize(
    "objective",
    [
        Standard(),
        Madry(AttackConfig("pgd", "8/255", steps=2), bn="train"),
        Consistency(AttackConfig("fgsm", "8/255"), bn="train"),
        Trades(AttackConfig("pgd", "8/255", steps=2), bn="eval"),
    ],
)
def test_training_on_one_image_says_what_to_do(objective):
    """One image whose maps have one place: torch names neither the layers nor a remedy."""
    module = RobustClassifier("cifar_resnet20", num_classes=5, objective=objective)
    module.network = small_network()
    module.train()
    with pytest.raises(RunStoppedError, match=SAID):
        module.training_step(small_batch(n=1, size=2)._replace(image=torch.rand(1, 3, 1, 1)), 0)


def batchwise():
    network = small_network()
    network.backbone.bn1 = nn.BatchNorm2d(6, track_running_stats=False)
    network.backbone.bn2 = nn.BatchNorm2d(8, track_running_stats=False)
    return network.eval()


def test_an_evaluation_by_batches_says_so(caplog):
    network, batch = batchwise(), small_batch(n=5)
    Runner(network, Memory(batch), batch_size=4).run([AccuracyAnalysis({})])
    assert "normalises by the batch's own statistics (backbone.bn1 has no running ones)" in caplog.text
    assert "batches of 4" in caplog.text
    batch = batch._replace(image=torch.rand(5, 3, 1, 1))
    with pytest.raises(RunStoppedError, match=SAID):  # the last batch is of one image
        Runner(network, Memory(batch), batch_size=4).run([AccuracyAnalysis({})])


def test_ordinary_networks_say_nothing(caplog):
    Runner(small_network(), Memory(small_batch(n=5)), batch_size=4).run([AccuracyAnalysis({})])
    assert "statistics" not in caplog.text
