import pytest
import torch
from helpers import small_network

from lightning_advinterp.networks import check_layers, taps


@pytest.fixture
def network():
    return small_network()


@pytest.fixture
def x():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def hooks(network):
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]


def test_reads_several_layers_in_one_pass_and_in_the_graph(network, x):
    before = hooks(network)
    with taps(network, ["conv1", "relu2", "phi"]) as tapped:
        assert tapped == {}
        logits = network(x)
        assert set(tapped) == {"conv1", "relu2", "phi"}
        (gradient,) = torch.autograd.grad(logits.sum(), tapped["conv1"])
        assert gradient.abs().sum() > 0
        first = tapped["relu2"]
        network(x * 0.5)
        assert not torch.equal(tapped["relu2"], first)
    assert hooks(network) == before


def test_works_on_a_bare_module(network, x):
    with taps(network.backbone, ["relu1"]) as tapped:
        network.backbone(x)
        assert tapped["relu1"].shape == (3, 6, 16, 16)


def test_undoes_itself_on_error(network, x):
    before, expected = hooks(network), network(x)

    def fail():
        with taps(network, ["relu1"], ablate={"relu2": [0]}):
            network(x)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert hooks(network) == before
    torch.testing.assert_close(network(x), expected, rtol=0, atol=0)


def test_unknown_layers_leave_nothing_behind(network):
    before = hooks(network)
    with (
        pytest.raises(ValueError, match="Did you mean relu1"),
        taps(network, ["conv1"], ablate={"relu_1": [0]}),
    ):
        pass
    assert hooks(network) == before
    with pytest.raises(ValueError, match="conv1"):
        check_layers(network.backbone, ["conv_1"])


def test_replaces_by_a_function_and_by_a_tensor(network, x):
    with taps(network, ["relu1"], replace={"relu1": lambda a: 2 * a}) as tapped:
        doubled = network(x)
        activation = tapped["relu1"] / 2
    with taps(network, replace={"relu1": 2 * activation}):
        torch.testing.assert_close(network(x), doubled)
    with taps(network, ["relu2"], replace={"relu2": torch.ones(())}) as tapped:
        network(x)
        assert torch.equal(tapped["relu2"], torch.ones(3, 8, 8, 8))
    assert not torch.allclose(network(x), doubled)
    with (
        pytest.raises(ValueError, match="must expand to its output's shape"),
        taps(network, replace={"relu2": torch.ones(5)}),
    ):
        network(x)


def test_ablates_channels_alone(network, x):
    with taps(network, ["relu1"]) as tapped:
        network(x)
        full = tapped["relu1"]
    with taps(network, ["relu1"], ablate={"relu1": [1, 4]}) as tapped:
        logits = network(x)
        (gradient,) = torch.autograd.grad(logits.sum(), network.backbone.conv1.weight)
    keep = [0, 2, 3, 5]
    torch.testing.assert_close(tapped["relu1"][:, keep], full[:, keep], rtol=0, atol=0)
    assert not tapped["relu1"][:, [1, 4]].any()
    assert not gradient[[1, 4]].any()
    with pytest.raises(ValueError, match="6 channels, counted from 0"), taps(network, ablate={"relu1": [6]}):
        network(x)


def test_ablation_removes_also_what_is_not_finite(network, x):
    with taps(network, replace={"relu1": torch.tensor(float("nan"))}, ablate={"relu1": range(6)}):
        assert network(x).isfinite().all()


def test_blocks_nest_and_the_inner_one_comes_last(network, x):
    with taps(network, ["relu1"], replace={"relu1": lambda a: a + 1}) as outer:
        with taps(network, ["relu1"], ablate={"relu1": [0]}) as inner:
            network(x)
            assert not inner["relu1"][:, 0].any()
            assert inner["relu1"][:, 1:].min() >= 1
        network(x)
        assert outer["relu1"].min() >= 1
    with (
        taps(network, ablate={"relu1": [0]}),
        taps(network, ["relu1"], replace={"relu1": lambda a: a + 1}) as inner,
    ):
        network(x)
        assert torch.equal(inner["relu1"][:, 0], torch.ones(3, 16, 16))


def test_forward_features_sees_the_changes_whoever_came_first(network, x):
    _, before = network.forward_features(x, ["relu1"])
    with taps(network, ablate={"relu1": [2]}):
        logits, features = network.forward_features(x, ["relu1"])
    assert before["relu1"][:, 2].any()
    assert not features["relu1"][:, 2].any()
    assert not torch.allclose(logits, network(x))


def test_calls_of_a_reused_module_are_told_apart(build):
    network, x = build("resnet18"), torch.rand(1, 3, 64, 64)
    relu = "layer1.0.relu"
    with torch.no_grad():
        with taps(network, [f"{relu}#0", f"{relu}#1", relu]) as tapped:
            network(x)
        assert torch.equal(tapped[relu], tapped[f"{relu}#1"])
        with taps(network, [f"{relu}#0", f"{relu}#1"], ablate={f"{relu}#0": [3]}) as ablated:
            network(x)
        assert not ablated[f"{relu}#0"][:, 3].any()
        assert ablated[f"{relu}#1"][:, 3].any()
        with taps(network, [f"{relu}#0", f"{relu}#1"], ablate={relu: [3]}) as every:
            network(x)
        assert not every[f"{relu}#0"][:, 3].any()
        assert not every[f"{relu}#1"][:, 3].any()
