"""Networks of the hub: read from its cache, which is laid out here as its own library lays it out."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.spec import checked_spec

CONFIG = {
    "architecture": "resnet10t",
    "num_classes": 7,
    "model_args": {"drop_rate": 0.25},
    "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 96, 96], "crop_pct": 0.9},
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A repository in the hub's cache, without a connection."""
    repository = tmp_path / "models--lab--net"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "config.json").write_text(json.dumps(CONFIG))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return snapshot


def test_a_network_of_the_hub_is_timms_with_the_hubs_weights_and_preparation(hub):
    torch.manual_seed(0)
    expected = timm.create_model("resnet10t", num_classes=7).eval()
    save_file(expected.state_dict(), hub / "model.safetensors")
    network = create_network("hf-hub:lab/net", "pretrained").eval()
    images = torch.rand(2, 3, 96, 96)
    mean, std = (torch.tensor(CONFIG["pretrained_cfg"][key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        torch.testing.assert_close(network(images), expected((images - mean) / std))
    assert network.input_size == 96
    assert network.name == "timm/resnet10t"
    assert network.spec()["drop_rate"] == 0.25
    assert checked_spec(network.spec(), "a.ckpt")  # so that a checkpoint needs no hub


def test_without_a_connection_the_error_says_what_to_do(hub):
    with pytest.raises(
        FileNotFoundError, match=r"model.safetensors of hf-hub:lab/net .*cache where there is a connection"
    ):
        create_network("hf-hub:lab/net", "pretrained")
    with pytest.raises(FileNotFoundError, match=r"config.json of hf-hub:lab/other cannot be had"):
        create_network("hf-hub:lab/other")


@pytest.mark.parametrize("name", ["hf-hub:net", "hf-hub:lab/../../x", "hf-hub:"])
def test_a_name_is_an_organisation_and_a_network(name):
    with pytest.raises(ValueError, match="name must be hf-hub:ORG/NAME"):
        create_network(name)


def test_a_checkpoint_downloads_nothing():
    with pytest.raises(ValueError, match="which would be downloaded"):
        checked_spec({"name": "hf-hub:lab/net"}, "a.ckpt")
