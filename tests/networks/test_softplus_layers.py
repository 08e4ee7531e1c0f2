"""Networks that are trained with softplus: their layers, what they compute, and that files say so."""

import pytest
import torch
from helpers import SmallBackbone, small_batch, small_network
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.networks import create_network, weights_hash
from lightning_advinterp.networks.activations import activation_calls
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.networks.export import export_network
from lightning_advinterp.networks.smoothing import smoothed_relu
from lightning_advinterp.networks.softplus_layers import exchange_relu
from lightning_advinterp.training.module import RobustClassifier


class FunctionalRelu(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.conv, self.act, self.fc = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(F.relu(self.act(self.conv(x))).mean((2, 3)))


def test_a_network_computes_what_the_smoothed_one_does_and_is_not_smoothed_twice():
    network, x = small_network(), small_batch().image
    with smoothed_relu(3.0):
        expected = network(x)
    before = weights_hash(network)
    exchange_relu(network, 3)
    torch.testing.assert_close(network(x), expected)
    with smoothed_relu(10.0):
        torch.testing.assert_close(network(x), expected)
    assert weights_hash(network) != before
    assert network.spec()["softplus"] == 3.0
    assert activation_calls(network) == {"softplus": 2}


def test_a_layer_that_is_used_twice_stays_one_layer():
    network = create_network("resnet18", num_classes=3, stem="small", softplus=5)
    block = network.backbone.layer1[0]
    assert isinstance(block.relu, nn.Softplus)
    assert block.relu.beta == 5
    _, features = network.forward_features(torch.rand(1, 3, 32, 32), ["layer1.0.relu#0", "layer1.0.relu"])
    assert not torch.equal(*features.values())


def test_a_checkpoint_an_export_and_its_weights_are_rebuilt_with_softplus(tmp_path):
    module = RobustClassifier("cifar_resnet20", num_classes=4, softplus=2.0).eval()
    x = torch.rand(2, 3, 32, 32)
    checkpoint = {"state_dict": module.state_dict(), "epoch": 0}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    weights, _ = export_network(module.network, tmp_path)
    with torch.no_grad():
        expected = module(x)
        for network in (
            load_checkpoint(tmp_path / "last.ckpt").network,
            RobustClassifier.load_from_checkpoint(tmp_path / "last.ckpt").network,
            create_network("cifar_resnet20", weights),
            create_network("cifar_resnet20", tmp_path / "last.ckpt"),
        ):
            assert network.softplus == network.origin.softplus == 2.0
            torch.testing.assert_close(network.eval()(x), expected, atol=0, rtol=0)
        relu = create_network("cifar_resnet20", weights, softplus=50.0)
        assert relu.softplus == 50.0
    assert any("softplus of beta = 2" in line for line in network.origin.lines((0,), (1,), 32))


def test_a_module_in_memory_is_trained_with_it(tmp_path):
    module = RobustClassifier(SmallBackbone(), image_size=16, softplus=4)
    assert isinstance(module.network.backbone.relu1, nn.Softplus)
    checkpoint = {"state_dict": module.state_dict(), "epoch": 0}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    again = RobustClassifier.load_from_checkpoint(tmp_path / "last.ckpt", network=SmallBackbone())
    assert again.network.softplus == 4
    with pytest.raises(ValueError, match=r"softplus=3 contradicts the network, which is built with softplus=4"):
        RobustClassifier(module.network, softplus=3)


@pytest.mark.parametrize("beta", [0, -1.0, float("inf"), True, "ten"])
def test_what_is_no_beta_is_refused(beta):
    with pytest.raises(ValueError, match="softplus must be a number above 0"):
        exchange_relu(small_network(), beta)


def test_networks_of_other_functions_are_refused():
    with pytest.raises(ValueError, match=r"does not suit .*FunctionalRelu: it calls relu other than as a ReLU layer"):
        RobustClassifier(FunctionalRelu(), image_size=16, softplus=3)
    with pytest.raises(ValueError, match="does not suit timm/test_convnext: it has no ReLU layer"):
        create_network("timm/test_convnext", num_classes=3, input_size=32, softplus=3)


def test_a_relu_whose_input_is_read_again_is_refused():
    class PreActivation(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu, self.fc = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Linear(4, 3)

        def forward(self, x):
            z = self.conv(x)
            return self.fc((z + self.relu(z)).mean((2, 3)))

    with pytest.raises(ValueError, match=r"overwrite what is read again \(relu\)"):
        RobustClassifier(PreActivation(), image_size=16, softplus=3)
