import copy
import logging

import pytest
import torch
from torch import nn
from torchvision.models import (
    DenseNet121_Weights,
    GoogLeNet_Weights,
    Inception_V3_Weights,
    ResNet18_Weights,
    densenet121,
    googlenet,
    inception_v3,
    resnet18,
)

from lightning_advinterp.networks import create_network, preprocessing
from lightning_advinterp.networks.heads import head_path


class Plain(nn.Module):
    """A network whose constructor knows nothing of classes."""

    def __init__(self, width=4):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3)
        self.last = nn.Linear(width, 6)

    def forward(self, x):
        return self.last(self.stem(x).relu().mean((2, 3)))


class Usual(Plain):
    """The same with a last layer of a usual name, behind which something else follows."""

    def __init__(self):
        super().__init__()
        self.fc, self.last = nn.Linear(4, 8), nn.Linear(8, 6)

    def forward(self, x):
        return self.last(self.fc(self.stem(x).relu().mean((2, 3))).relu())


def function():
    raise AssertionError("a function must not be called")


SIZES = {
    "alexnet": 64,
    "vgg11": 32,
    "resnet18": 32,
    "squeezenet1_1": 64,
    "densenet121": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "efficientnet_b0": 32,
    "convnext_tiny": 32,
    "inception_v3": 96,
    "googlenet": 64,
    "mnasnet0_5": 32,
    "shufflenet_v2_x0_5": 32,
    "regnet_x_400mf": 32,
    "swin_t": 64,
    "cifar_resnet20": 32,
    "timm/resnet18.a1_in1k": 32,
    "timm/convnext_atto": 32,
    "timm/mobilenetv3_small_050": 32,
    "timm/inception_v3": 96,
}


@pytest.mark.parametrize("name", SIZES)
def test_every_family_gives_one_logits_tensor_out_of_place(build, name):
    network = build(name)
    x = torch.rand(2, 3, SIZES[name], SIZES[name])
    assert not any(getattr(module, "inplace", False) for module in network.modules())
    with torch.no_grad():
        assert network(x).shape == (2, 10)
        state = copy.deepcopy(network.state_dict())
        try:
            assert network.train()(x).shape == (2, 10)
        finally:
            network.eval().load_state_dict(state)
    assert network.num_classes == 10
    assert network.head == head_path(network.backbone)
    assert network.spec()["name"] == name


def test_vision_transformers_take_another_size():
    assert create_network("timm/vit_tiny_patch16_224", num_classes=3, input_size=64)(
        torch.rand(1, 3, 64, 64)
    ).shape == (1, 3)
    with torch.device("meta"):
        network = create_network("vit_b_32", num_classes=3, input_size=64)
        assert network(torch.rand(1, 3, 64, 64)).shape == (1, 3)
        assert network.spec()["input_size"] == 64


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_no_auxiliary_heads_and_no_second_normalisation(build, name):
    network = build(name)
    assert not network.backbone.transform_input
    assert not [key for key in network.state_dict() if "aux" in key.lower()]
    assert network.mean == network.std == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="transform_input must be left out"):
        create_network(name, transform_input=True)


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_mean_and_std_of_a_half_equal_transform_input(build, name):
    """torchvision: normalise by ImageNet's mean and std, then ``transform_input``. Here: (x - 0.5) / 0.5."""
    network = copy.deepcopy(build(name)).double()
    builder = {"inception_v3": inception_v3, "googlenet": googlenet}[name]
    theirs = builder(num_classes=10, transform_input=True, aux_logits=False, init_weights=False).eval().double()
    theirs.load_state_dict(network.backbone.state_dict())
    x = torch.rand(1, 3, 80, 80, dtype=torch.float64)
    mean, std = x.new_tensor([0.485, 0.456, 0.406]), x.new_tensor([0.229, 0.224, 0.225])
    normalized = (x - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(network.normalize(x), theirs._transform_input(normalized), rtol=0, atol=1e-6)
        torch.testing.assert_close(network(x), theirs(normalized), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet8", r"Did you mean resnet18"),
        ("vgg16bn", r"Did you mean vgg16_bn"),
        ("cifar_resnet21", r"cifar_resnet20"),
        ("convnext_atto", r"timm has it: timm/convnext_atto"),
        ("timm/resnet18x", r"Did you mean timm/resnet18"),
        ("timm/resnet18.a9_in1k", r"timm/resnet18\.a1_in1k"),
        ("helpers.SmallBackbon", r"is missing\. Did you mean SmallBackbone"),
        ("no_such_package.Net", r"can be imported"),
        ("resnet.18", r"can be imported.*Did you mean resnet18"),
        ("tests", r"class path package\.module\.Class"),
    ],
)
def test_unknown_names_suggest_the_nearest(name, message):
    with pytest.raises(ValueError, match=message):
        create_network(name)


def test_only_subclasses_of_module_are_called():
    with pytest.raises(ValueError, match=r"subclass of torch\.nn\.Module, .* is function"):
        create_network(f"{__name__}.function")
    with pytest.raises(ValueError, match=r"subclass of torch\.nn\.Module"):
        create_network("os.system", command="exit 1")


def test_class_paths():
    network = create_network("helpers.SmallBackbone", num_classes=9, input_size=16, dropout=0.2)
    assert network.num_classes == 9
    assert network.head == "fc"
    assert network.phi == "relu2"
    assert network.backbone.dropout.p == 0.2
    assert network.spec()["dropout"] == 0.2
    assert create_network(**network.spec()).num_classes == 9


def test_class_paths_without_num_classes():
    network = create_network(f"{__name__}.Plain", input_size=16, width=5)
    assert (network.num_classes, network.head, network.phi) == (6, None, "stem")
    assert create_network(f"{__name__}.Plain", num_classes=6, input_size=16).num_classes == 6
    with pytest.raises(ValueError, match="not known which layer"):
        create_network(f"{__name__}.Plain", num_classes=5, input_size=16)
    usual = create_network(f"{__name__}.Usual", input_size=16)
    assert (usual.num_classes, usual.head) == (6, None)


def test_options_that_the_architecture_does_not_take():
    for name in ("resnet18", "timm/resnet18", "cifar_resnet20", "helpers.SmallBackbone"):
        with pytest.raises(ValueError, match="colour"):
            create_network(name, colour="blue")
    with pytest.raises(ValueError, match="num_classes must be 1 or more"):
        create_network("resnet18", num_classes=0)


@pytest.mark.parametrize(("stem", "size"), [("small", 32), ("medium", 64)])
def test_stems_for_small_images(stem, size):
    network = create_network("resnet18", num_classes=10, stem=stem)
    assert network.input_size == size
    assert network.backbone.conv1.weight.shape == (64, 3, 3, 3)
    with torch.no_grad():
        logits, features = network.eval().forward_features(torch.rand(2, 3, size, size), ["conv1", "layer1", "layer4"])
    assert logits.shape == (2, 10)
    assert features["conv1"].shape[2:] == (size, size)
    assert features["layer1"].shape[2:] == (32, 32)
    assert features["layer4"].shape[2:] == (4, 4)


def test_stems_are_for_resnets():
    with pytest.raises(ValueError, match=r"torchvision's ResNets, got torchvision\.models\.squeezenet\.SqueezeNet"):
        create_network("squeezenet1_1", stem="small")
    with pytest.raises(ValueError, match="stem must be small or medium"):
        create_network("resnet18", stem="tiny")


def test_the_seed_alone_decides_the_initial_weights():
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(create_network("resnet18", num_classes=4, stem="small"))
    first, second = (network.state_dict() for network in networks)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture
def offline(monkeypatch):
    """Weights by name come from a freshly initialised network instead of the net."""
    served = {}

    def serve(entry, builder, **options):
        served[entry] = builder(**options).state_dict()

    def get_state_dict(self, *args, **kwargs):
        return served[self]

    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", get_state_dict)
    monkeypatch.setattr("lightning_advinterp.networks.downloads.unreachable", lambda url: None)
    return serve


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "DEFAULT", "pretrained", "ResNet18_Weights.IMAGENET1K_V1"])
def test_weights_by_name(offline, weights):
    offline(ResNet18_Weights.IMAGENET1K_V1, resnet18)
    network = create_network("resnet18", weights)
    assert (network.num_classes, network.input_size) == (1000, 224)
    expected = ResNet18_Weights.IMAGENET1K_V1.get_state_dict()
    assert torch.equal(network.backbone.conv1.weight, expected["conv1.weight"])
    assert torch.equal(network.backbone.fc.weight, expected["fc.weight"])


def test_weights_with_auxiliary_heads_and_old_keys(offline):
    offline(Inception_V3_Weights.DEFAULT, inception_v3, init_weights=False)
    network = create_network("inception_v3", "DEFAULT", num_classes=10)
    assert (network.input_size, network.mean) == (299, (0.5, 0.5, 0.5))
    offline(GoogLeNet_Weights.DEFAULT, googlenet, init_weights=False)
    create_network("googlenet", "DEFAULT", num_classes=10)

    def old_densenet():
        network = densenet121()
        state = {
            key.replace("norm1", "norm.1").replace("conv2", "conv.2"): value
            for key, value in network.state_dict().items()
        }
        network.state_dict = lambda: state
        return network

    offline(DenseNet121_Weights.DEFAULT, old_densenet)
    create_network("densenet121", "DEFAULT", num_classes=10)


def test_names_of_weights_are_checked():
    with pytest.raises(ValueError, match=r"IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT or pretrained.*got 'IMAGENET1K_V3'"):
        create_network("resnet50", "IMAGENET1K_V3")
    with pytest.raises(ValueError, match="weights must be pretrained"):
        create_network("timm/resnet18", "IMAGENET1K_V1")
    for name in ("cifar_resnet20", "helpers.SmallBackbone"):
        with pytest.raises(ValueError, match="weights must be an existing file"):
            create_network(name, "pretrained")


@pytest.mark.parametrize(
    ("name", "weights", "remedy"),
    [
        ("resnet18", "IMAGENET1K_V1", r"IMAGENET1K_V1 of resnet18 .*put resnet18-f37072fd.pth into .*checkpoints"),
        ("timm/resnet18", "pretrained", r"timm/resnet18 .*fill .* by `hf download timm/resnet18.a1_in1k`"),
        ("hf-hub:lab/net", "pretrained", r"config.json of hf-hub:lab/net .*cache where there is a connection"),
    ],
)
def test_without_a_connection_a_line_says_so_before_a_library_tries(name, weights, remedy, monkeypatch, tmp_path):
    def refuse(address, timeout):
        raise OSError(-2, "Name or service not known")

    def tries(*args, **kwargs):
        raise AssertionError("a library tries")

    for variable in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", tries)
    monkeypatch.setattr("timm.create_model", tries)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", tries)
    with pytest.raises(FileNotFoundError, match=r"(?s)(?=.*Name or service not known)" + remedy):
        create_network(name, weights)


def test_timm_loads_its_own_weights(monkeypatch):
    calls = []
    import timm

    original = timm.create_model

    def create_model(name, pretrained=False, **options):
        calls.append((name, pretrained, options))
        return original(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create_model)
    monkeypatch.setattr("lightning_advinterp.networks.downloads.unreachable", lambda url: None)
    network = create_network("timm/resnet18.a1_in1k", "pretrained", num_classes=5)
    assert calls == [("resnet18.a1_in1k", True, {"num_classes": 5})]
    assert network.num_classes == 5
    assert network.spec()["name"] == "timm/resnet18.a1_in1k"


def test_recipes():
    assert preprocessing("resnet18").resize == 256
    assert preprocessing("resnet50", "IMAGENET1K_V2").resize == 232
    inception = preprocessing("inception_v3", "DEFAULT")
    assert (inception.input_size, inception.resize) == (299, 342)
    assert preprocessing("cifar_resnet20").input_size == 32
    timm = preprocessing("timm/vit_tiny_patch16_224")
    assert (timm.mean, timm.interpolation) == ((0.5, 0.5, 0.5), "bicubic")
    assert preprocessing("resnet18").at(112).resize == 128


def test_another_number_of_classes_starts_the_last_layer_afresh(tmp_path, caplog):
    file = tmp_path / "resnet18.pth"
    source = resnet18(num_classes=12)
    torch.save(source.state_dict(), file)
    assert create_network("resnet18", file).num_classes == 12
    assert torch.equal(create_network("resnet18", str(file), 12).backbone.fc.weight, source.fc.weight)
    with caplog.at_level(logging.INFO):
        network = create_network("resnet18", file, num_classes=5)
    assert "12 classes, num_classes is 5" in caplog.text
    assert network.backbone.fc.weight.shape == (5, 512)
    assert torch.equal(network.backbone.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


@pytest.mark.parametrize(
    "name", ["squeezenet1_1", "mobilenet_v3_small", "convnext_tiny", "timm/resnet18", "cifar_resnet20"]
)
def test_the_number_of_classes_is_read_from_a_file(build, tmp_path, name):
    file = tmp_path / "weights.pt"
    torch.save(build(name).backbone.state_dict(), file)
    network = create_network(name, file).eval()
    assert network.num_classes == 10
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), build(name)(x))
