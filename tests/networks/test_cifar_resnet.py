import pytest
import torch

from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.cifar_resnet import CifarResNet, Subsample
from lightning_advinterp.units.conv_layers import conv_taps


@pytest.mark.parametrize(("depth", "parameters"), [(20, 0.27e6), (32, 0.46e6), (44, 0.66e6), (56, 0.85e6)])
def test_sizes_are_the_papers(depth, parameters):
    network = create_network(f"cifar_resnet{depth}")
    assert network.input_size == 32
    assert network.num_classes == 10
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(parameters, rel=0.02)
    assert len(conv_taps(network)) == depth - 1
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_option_a_subsamples_and_pads_with_zeros():
    x = torch.rand(2, 4, 6, 6)
    out = Subsample(4)(x)
    assert out.shape == (2, 8, 3, 3)
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
    assert not out[:, [0, 1, 6, 7]].any()


def test_depth_is_checked():
    with pytest.raises(ValueError, match="6n \\+ 2"):
        CifarResNet(21)


def test_the_plain_network_has_six_convolutions_and_a_hidden_layer():
    network = create_network("cifar_cnn")
    shapes = [tuple(tensor.shape) for name, tensor in network.backbone.named_parameters() if name.endswith("weight")]
    convolutions = [(96, 3), (96, 96), (96, 96), (192, 96), (192, 192), (192, 192)]
    assert shapes == [(*pair, 3, 3) for pair in convolutions] + [(1024, 192 * 64), (10, 1024)]
    assert (network.phi, network.head, network.input_size) == ("features.11", "classifier.2", 32)
    strides = [part.stride[0] for part in network.backbone.features if isinstance(part, torch.nn.Conv2d)]
    assert strides == [1, 1, 2, 1, 1, 2]
    narrow = create_network("cifar_cnn", num_classes=4, channels=4, hidden=5)
    assert create_network(**narrow.spec())(torch.rand(2, 3, 32, 32)).shape == (2, 4)
    for option, message in (({"channels": 0}, "channels must be 1 or more"), ({"width": 3}, "options of cifar_cnn")):
        with pytest.raises(ValueError, match=message):
            create_network("cifar_cnn", **option)
