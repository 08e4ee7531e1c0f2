"""Networks as users write them: views, squeezes, permutations and broadcast sums, against captum and the sums kept."""

import captum.attr as captum
import pytest
import torch
from explanation_helpers import batch
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.explanations import CAM, EXPLANATIONS, LRP, DeepLift, GradCAM
from lightning_advinterp.explanations.patterns import learn_patterns
from lightning_advinterp.networks import Network

pytestmark = pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks")


class Written(nn.Module):
    """Convolutions, and between them and the last layer whatever ``after`` says."""

    def __init__(self, after, inputs, between=None):
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(6, 8, 3, padding=1, stride=2), nn.ReLU()
        self.pool, self.last, self.fc = nn.AdaptiveAvgPool2d(1), nn.ReLU(), nn.Linear(inputs, 4)
        self.dense = nn.Linear(8, 8)
        self.after, self.between = after, between

    def forward(self, x):
        x = self.relu1(self.conv1(x))
        if self.between is not None:
            x = self.between(x)
        return self.fc(self.after(self, self.relu2(self.conv2(x))))


def sizes(net, x):
    batch, channels, height, width = x.size(0), x.size(1), x.shape[2], x.size()[3]
    return x.view(batch, channels, height * width).mean(2)


AFTER = {
    "view": (lambda net, x: x.view(x.size(0), -1), 128),
    "view_of_constants": (lambda net, x: x.view(-1, 128), 128),
    "reshape": (lambda net, x: torch.reshape(x, (x.shape[0], -1)), 128),
    "squeeze": (lambda net, x: net.pool(x).squeeze(-1).squeeze(-1), 8),
    "squeeze_everything": (lambda net, x: net.pool(x).squeeze(), 8),
    "squeeze_axes": (lambda net, x: torch.squeeze(net.pool(x), (2, 3)), 8),
    "flatten_method": (lambda net, x: x.flatten(1), 128),
    "permute": (lambda net, x: x.permute(0, 2, 3, 1).reshape(x.size(0), -1), 128),
    "transpose": (lambda net, x: x.flatten(2).transpose(1, 2).flatten(1), 128),
    "unsqueeze": (lambda net, x: x.unsqueeze(1).flatten(1), 128),
    "sizes": (sizes, 8),
    "pool_of_its_size": (lambda net, x: F.avg_pool2d(x, x.size(3)).view(x.size(0), -1), 8),
    "channels_last": (lambda net, x: net.last(net.dense(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2).flatten(1), 128),
}


def wrap(body, **settings):
    torch.manual_seed(0)
    for module in body.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()
    return Network(body, name="written", num_classes=4, input_size=8, **settings).double().eval()


@pytest.mark.parametrize(
    ("name", "images"),
    # A squeeze of everything does not work for one image: the network itself fails.
    [(name, images) for name in AFTER for images in (3, 1) if (name, images) != ("squeeze_everything", 1)],
)
def test_views_are_followed(name, images):
    network, (x, y) = wrap(Written(*AFTER[name])), batch(images)
    z = network.normalize(x).requires_grad_()
    gap = (network(x) - network(network._mean.expand(images, 3, 8, 8))).gather(1, y[:, None])[:, 0].detach()
    attribution = DeepLift().explain(network, x, y)
    torch.testing.assert_close(attribution.sum((1, 2, 3)), gap, atol=1e-12, rtol=1e-10)
    expected = captum.DeepLift(network.backbone, eps=1e-10).attribute(z, torch.zeros_like(z).requires_grad_(), target=y)
    torch.testing.assert_close(attribution, expected.detach(), atol=1e-9, rtol=1e-7)
    relevance = LRP(rule="epsilon", first="same", epsilon=1e-9).explain(network, x, y)
    if name not in ("pool_of_its_size", "sizes"):  # captum takes a functional average's plain gradient
        expected = captum.LRP(network.backbone).attribute(z, target=y)
        torch.testing.assert_close(relevance, expected.detach(), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("order", ["image_first", "broadcast_first"])
def test_sums_that_broadcast_keep_what_flows(order):
    """A sum with the channels' means: every place gives its share to the mean, which gets all of them."""

    def between(x):
        mean = F.adaptive_avg_pool2d(x, 1)
        return x + mean if order == "image_first" else mean + x

    body = Written(lambda net, x: x.flatten(1), 128, between)
    network, (x, y) = wrap(body), batch(3)
    gap = (network(x) - network(network._mean.expand(3, 3, 8, 8))).gather(1, y[:, None])[:, 0].detach()
    attribution = DeepLift().explain(network, x, y)
    torch.testing.assert_close(attribution.sum((1, 2, 3)), gap, atol=1e-12, rtol=1e-10)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    logit = network(x).gather(1, y[:, None])[:, 0].detach()
    for rule in (LRP(rule="epsilon", first="same", epsilon=0), LRP(rule="gamma", first="z_b")):
        relevance = rule.explain(network, x, y)
        torch.testing.assert_close(relevance.sum((1, 2, 3)), logit, atol=1e-6, rtol=1e-5)


REFUSED = {
    "view() ": lambda net, x: x.view(x.size(0) // 3, -1),
    "view()": lambda net, x: x.view(x.size(0) * 2, -1),
    "permute()": lambda net, x: x.mean((2, 3)).permute(1, 0).permute(1, 0),
    "squeeze()": lambda net, x: x.mean((2, 3)).unsqueeze(0).squeeze(0),
    "flatten()": lambda net, x: torch.flatten(x.mean((2, 3)), 0).view(x.size(0), -1),
    "chunk()": lambda net, x: torch.cat(x.chunk(2, 1), 1).mean((2, 3)),
}


@pytest.mark.parametrize("method", [LRP, DeepLift])
@pytest.mark.parametrize("name", REFUSED)
def test_what_mixes_images_or_has_no_rule_is_refused_by_name(name, method):
    after = REFUSED[name]

    class Mixing(Written):
        def forward(self, x):
            x = after(self, self.relu2(self.conv2(self.relu1(self.conv1(x)))))
            return self.fc(x.reshape(-1, 8))

    network, (x, y) = wrap(Mixing(None, 8)), batch(3)
    with pytest.raises(ValueError, match=r"no rule for (view|permute|squeeze|unsqueeze|flatten|chunk|reshape)"):
        method().explain(network, x, y)


@pytest.mark.parametrize("method", [LRP, DeepLift, "patterns"])
@pytest.mark.parametrize("folded", [True, False])
def test_batch_norm_without_statistics_is_refused_by_name(method, folded):
    class Batchwise(Written):
        def __init__(self):
            super().__init__(None, 8)
            self.norm = nn.BatchNorm2d(6, track_running_stats=False)

        def forward(self, x):
            x = self.relu1(self.norm(self.conv1(x))) if folded else self.norm(self.relu1(self.conv1(x)))
            return self.fc(self.relu2(self.conv2(x)).mean((2, 3)))

    network, (x, y) = wrap(Batchwise()), batch(3)
    with pytest.raises(ValueError, match=r"no rule for layer norm \(BatchNorm2d without running statistics\)"):
        learn_patterns(network, [x]) if method == "patterns" else method().explain(network, x, y)


ACTIVATIONS = {
    "relu": F.relu,
    "in place": lambda x: F.relu(x, inplace=True),
    "method": lambda x: x.relu(),
    "silu": F.silu,
    "gelu": F.gelu,
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "clamp": lambda x: x.clamp(min=0),
    "and dropout": lambda x: F.dropout(F.relu(x), 0.5, training=False),
}


@pytest.mark.parametrize("pool", ["mean", "adaptive", "avg_pool2d"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_cam_reads_what_is_averaged(name, pool):
    """Whatever function stands between φ and the global average."""
    averages = {
        "mean": lambda x: x.mean((2, 3)),
        "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
        "avg_pool2d": lambda x: F.avg_pool2d(x, 4).view(x.size(0), -1),
    }
    body = Written(None, 8)
    body.forward = lambda x: body.fc(averages[pool](ACTIVATIONS[name](body.conv2(F.relu(body.conv1(x))))))
    network, (x, y) = wrap(body, phi="conv2", head="fc"), batch(3)
    with torch.no_grad():
        activation = ACTIVATIONS[name](body.conv2(F.relu(body.conv1(network.normalize(x)))))
        maps = torch.einsum("bc,bchw->bhw", body.fc.weight[y], activation)
    large = F.interpolate(maps[:, None], (8, 8), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(CAM().explain(network, x, y).sum(1), large)
    assert GradCAM().explain(network, x, y).abs().max() > 0


@pytest.mark.parametrize("how", ["no_grad", "detach", "constant"])
@pytest.mark.parametrize(
    "method", sorted(set(EXPLANATIONS) - {"pattern_attribution", "lrp", "deeplift", "cam", "attention_rollout"})
)
def test_networks_without_gradients_are_refused_in_words(method, how):
    class Mute(Written):
        def forward(self, x):
            with torch.set_grad_enabled(how != "no_grad" and torch.is_grad_enabled()):
                x = self.relu2(self.conv2(self.relu1(self.conv1(x)))).mean((2, 3))
                logits = self.fc(x.detach() if how == "detach" else x)
            return torch.zeros_like(logits) if how == "constant" else logits

    network, (x, y) = wrap(Mute(None, 8), phi="relu2", head="fc"), batch(2)
    explanation = EXPLANATIONS[method]()
    if method == "occlusion":
        assert explanation.explain(network, x, y).shape == x.shape
        return
    with pytest.raises(ValueError, match=r"has no gradient with respect to the image.*take occlusion"):
        explanation.explain(network, x, y)
