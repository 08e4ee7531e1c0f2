"""What does not fit a network shows before any work, in the network's own words."""

import pytest
import torch
from helpers import SmallBackbone, fingerprint, small_network
from torch import nn

from lightning_advinterp.attacks.prediction.config import AttackConfig
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.attacks.prediction.presets import create_attack
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.origin import Origin
from lightning_advinterp.networks.same_outputs import differing_output
from lightning_advinterp.networks.trial import try_network


class OneSize(SmallBackbone):
    """Takes images of 16 pixels alone."""

    def forward(self, x):
        if x.shape[2] != 16:
            raise AssertionError(f"Wrong image height! Expected 16 but got {x.shape[2]}!")
        return super().forward(x)


class Detaching(SmallBackbone):
    """Passes no gradient to its images."""

    def forward(self, x):
        return super().forward(x.detach())


class Gradless(SmallBackbone):
    """Computes without a graph."""

    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class Grey(nn.Module):
    """Takes images of one channel, or of as many as are said."""

    def __init__(self, channels=1):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(channels, 4, 3), nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))


class Inside(SmallBackbone):
    """Returns its logits in a dictionary, or behind others."""

    def forward(self, x):
        return {"features": x, "logits": super().forward(x)}


CASES = {
    "OneSize": (32, r"does not take images of 3x32x32: Wrong image height! Expected 16 but got 32!\. Try 16"),
    "Detaching": (16, "passes no gradient to its images.*square, random_sign"),
    "Gradless": (16, "passes no gradient to its images"),
    "Grey": (16, "takes 1-channel images, and the images here are RGB"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("training", [False, True])
def test_what_does_not_fit_is_said_in_the_networks_own_words(name, training):
    size, message = CASES[name]
    network = create_network(f"{__name__}.{name}", num_classes=5, input_size=16)
    with pytest.raises(ValueError, match=message):
        try_network(network, size, training=training, remedy="Try 16.")


def test_what_needs_no_gradient_is_not_refused():
    for name in ("Detaching", "Gradless"):
        try_network(create_network(f"{__name__}.{name}", num_classes=5, input_size=16), 16, gradient=False)
    try_network(
        create_network(f"{__name__}.Detaching", num_classes=5, input_size=16), 16, gradient=False, training=True
    )
    network = create_network(f"{__name__}.Gradless", num_classes=5, input_size=16)
    with pytest.raises(ValueError, match="nothing trains"):
        try_network(network, 16, gradient=False, training=True)


def test_four_channels():
    network = create_network(f"{__name__}.Grey", channels=4, num_classes=5, input_size=16)
    with pytest.raises(ValueError, match="takes 4-channel images"):
        try_network(network, 16)


def test_inception_at_64_pixels():
    with pytest.raises(ValueError, match="inception_v3 does not take images of 3x64x64"):
        try_network(create_network("inception_v3", num_classes=3, input_size=64), 64)


@pytest.mark.parametrize("training", [False, True])
def test_nothing_stays(training):
    network = small_network(dropout=0.5)
    network.bn_mode = None
    network.backbone.bn1.train()
    before, drawn = fingerprint(network), torch.get_rng_state()
    try_network(network, 16, training=training)
    after = fingerprint(network)
    assert all(torch.equal(value, after[0][key]) for key, value in before[0].items())
    assert before[1] == after[1]
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_logits_in_a_dictionary():
    try_network(create_network(f"{__name__}.Inside", num_classes=5, input_size=16), 16)


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        (("cat", "dog"), ("Cat", "dog"), ""),
        (("n02123045", "dog"), ("n02123045_tabby", "Dog"), ""),
        (("great_white_shark",), ("Great White-Shark",), ""),
        ((), ("cat",), ""),
        (("cat", "dog"), ("dog", "cat"), "output 0 is 'cat' and 'dog'"),
        (("cat", "dog"), ("cat", "cow"), "output 1 is 'dog' and 'cow'"),
    ],
)
def test_outputs_are_compared_by_what_they_mean(first, second, difference):
    origins = [Origin(classes=names, class_names=names) for names in (first, second)]
    assert differing_output(*origins) == difference
    named = Origin(classes=("n02084071",), class_names=("dog",))
    assert differing_output(named, Origin(classes=("dog",), class_names=("dog",))) == ""


@pytest.mark.parametrize("kind", ["transfer", "ensemble"])
def test_members_of_other_classes_are_refused(tmp_path, kind):
    network = small_network()
    torch.save({"model": network.backbone.state_dict(), "classes": list("abcde")}, tmp_path / "member.pth")
    member = Member("helpers.SmallBackbone", str(tmp_path / "member.pth"), input_size=16)
    weight = {"weight": 1.0} if kind == "ensemble" else {}
    attack = create_attack(AttackConfig(kind, "8/255", members=(member,), **weight))
    attack.check_network(network)  # nothing is known of its outputs
    network.origin = Origin(classes=tuple("abced"), class_names=tuple("abced"))
    with pytest.raises(ValueError, match=r"members\[0\] .*member\.pth.* have other classes: output 3 is 'd' and 'e'"):
        attack.check_network(network)
    with pytest.raises(ValueError, match="has 5 outputs, the attacked network 7"):
        attack.check_network(small_network(7))
