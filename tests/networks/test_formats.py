"""A network in the format of an evaluation is the network, up to rounding, wherever it is read."""

import copy

import pytest
import torch
from helpers import SmallBackbone, small_network
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.base.make_adversarial import make_adversarial_set
from lightning_advinterp.analyses.base.protocol import Plan, Sweep
from lightning_advinterp.attacks import pgd
from lightning_advinterp.attacks.prediction.cam_mask import CamMask
from lightning_advinterp.core.result import REAL, Result
from lightning_advinterp.data.memory_set import MemoryDataset
from lightning_advinterp.networks import Network, create_network, weights_hash
from lightning_advinterp.networks.folding import foldable_pairs
from lightning_advinterp.networks.formats import EvaluationNetworks
from lightning_advinterp.networks.modes import frozen_eval

NETWORKS = {
    "cifar_resnet20": ({}, 16, 19),
    "timm/tf_mobilenetv3_small_minimal_100": ({}, 32, 34),  # BatchNorm with its activation, TensorFlow's padding
    "timm/densenet121": ({"growth_rate": 4, "block_config": (2, 2)}, 32, 5),  # BatchNorm before convolutions too
}
"""Name to options, side, and how many BatchNorms can be folded."""


def randomised(network):
    """Statistics and scales that a fold must carry over."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / 10)
    return network.double().eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_layers_and_gradients_are_the_network_s_own(name):
    options, side, count = NETWORKS[name]
    torch.manual_seed(0)
    network = randomised(create_network(name, num_classes=6, input_size=side, **options))
    before = copy.deepcopy(network.state_dict())
    formats = EvaluationNetworks(network, "auto")
    pair = foldable_pairs(network.backbone)[1]
    blocks = [path for path, module in network.backbone.named_children() if len(list(module.children()))]
    x = torch.rand(3, 3, side, side, dtype=torch.float64)
    assert formats.described["folded_batch_norms"] == count
    for layers in (blocks, [pair.convolution, pair.norm], [f"{pair.norm}:input", *blocks]):
        with torch.no_grad():
            logits, features = formats.showing(layers).forward_features(x, layers)
            expected, plain = network.forward_features(x, layers)
        torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
        for layer in layers:
            torch.testing.assert_close(features[layer], plain[layer], rtol=1e-9, atol=1e-9)
            assert features[layer].is_contiguous()
    image = x.clone().requires_grad_()
    gradients = [torch.autograd.grad(net(image).square().sum(), image)[0] for net in (network, formats.searching)]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-8, atol=1e-10)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert network.passes is None


class Reused(SmallBackbone):
    """The second convolution is read beside its norm, the first norm is called twice."""

    def __init__(self):
        super().__init__()
        self.conv3, self.bn3 = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x):
        x = self.relu1(self.bn1(self.bn1(self.conv1(x))))
        x = self.conv2(x)
        x = self.relu2(self.bn2(x) + x)
        return self.fc(F.relu(self.bn3(self.conv3(x)), inplace=True).mean((2, 3)))


def test_what_is_read_elsewhere_is_not_folded():
    pairs = foldable_pairs(Reused().eval())
    assert [(pair.convolution, pair.norm) for pair in pairs] == [("conv3", "bn3")]
    network = Network(Reused(), name="reused", num_classes=5, input_size=16).eval()
    formats = EvaluationNetworks(randomised(network), "auto")
    x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(formats.searching(x), network(x), rtol=1e-9, atol=1e-9)


class Recomputed(SmallBackbone):
    """A forward that takes its convolution's weight from elsewhere, which no copy that is folded knows."""

    def __init__(self):
        super().__init__()
        self.kept = self.conv1.weight.detach().clone().flatten()

    def forward(self, x):
        self.conv1.weight.data = self.kept.view(6, 3, 3, 3)
        return super().forward(x)


def test_a_copy_that_computes_something_else_is_not_used(caplog):
    network = Network(Recomputed(), name="odd", num_classes=5, input_size=16).eval()
    for bn in (network.backbone.bn1, network.backbone.bn2):
        nn.init.uniform_(bn.running_var, 0.2, 3)
    formats = EvaluationNetworks(network, "auto")
    assert formats.searching is network
    assert formats.showing(["conv1"]) is network
    assert formats.described["format"] == "plain"
    assert "its logits differ" in formats.line
    assert "evaluated in its plain format" in caplog.text


def test_hooks_of_an_attack_reach_the_copy():
    """A mask of class activation maps reads and replaces layers of the network that is attacked."""
    network = small_network()
    formats = EvaluationNetworks(network, "auto")
    x, classes = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    masks = [CamMask(50.0)(net, x, classes, classes.flip(0)) for net in (network, formats.searching)]
    assert torch.equal(*masks)


class Seen:
    """Keeps all that a run reports."""

    name = "seen"

    def __init__(self):
        self.observations = []

    def bind(self, network):
        return Plan((Sweep(kinds=(REAL, "pgd"), layers=("relu2",)),))

    def update(self, sweep, observation):
        self.observations.append(observation)

    def merge(self, state): ...

    def state_dict(self):
        return {}

    def load_state_dict(self, state): ...

    def result(self):
        return Result("seen")


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    return MemoryDataset(
        torch.randint(0, 256, (24, 3, 16, 16), generator=generator, dtype=torch.uint8),
        torch.randint(0, 5, (24,), generator=generator).tolist(),
    )


def test_bfloat16_searches_and_float32_judges(images):
    """What is reported of the images that were found is what the network in float32 says of them."""
    network, attack = small_network(), {"pgd": pgd("2/255", steps=4)}
    reported = {}
    for precision in ("32-true", "bf16-mixed"):
        analysis = Seen()
        formats = EvaluationNetworks(network, "auto", precision)
        Runner(network, images, attacks=attack, batch_size=12, formats=formats).run([analysis])
        reported[precision] = analysis.observations
    for observation in reported["bf16-mixed"]:
        with torch.no_grad(), frozen_eval(network):
            judged = network(observation.images["pgd"])
        torch.testing.assert_close(observation.logits["pgd"], judged, rtol=1e-5, atol=1e-5)
        assert observation.logits["pgd"].dtype == observation.activations["pgd"]["relu2"].dtype == torch.float32
        assert torch.equal(observation.logits["pgd"].argmax(1), judged.argmax(1))
        assert torch.equal(observation.success["pgd"], judged.argmax(1) != observation.label)
    apart = [
        (first.images["pgd"] - second.images["pgd"]).abs().max()
        for first, second in zip(*reported.values(), strict=True)
    ]
    assert max(apart) > 1e-3  # the search did round
    assert max(apart) <= 2 * 2 / 255 + 1e-6


def test_a_set_of_bfloat16_is_judged_in_float32(images, tmp_path):
    network = small_network()
    before = weights_hash(network)
    formats = EvaluationNetworks(network, "auto", "bf16-mixed")
    stored = make_adversarial_set(network, images, pgd("2/255", steps=4), tmp_path, formats=formats)
    with torch.no_grad():
        judged = network(torch.stack([stored[place].image for place in range(len(stored))]).float() / 255).argmax(1)
    assert [row.predicted for row in stored.rows] == judged.tolist()
    assert [row.success for row in stored.rows] == [row.predicted == row.target for row in stored.rows]
    assert stored.manifest["network"]["passes"]["attacks_search_in"] == "bfloat16"
    assert weights_hash(network) == before
    with pytest.raises(ValueError, match="holds another adversarial set"):
        make_adversarial_set(network, images, pgd("2/255", steps=4), tmp_path)
