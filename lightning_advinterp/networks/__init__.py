"""Networks: pixels in [0, 1] in, logits out, layers by name, weights from anywhere."""

import lightning_advinterp.core.torchvision_import  # noqa: F401  # before the rest, which imports torchvision
from lightning_advinterp.networks.factory import create_network, preprocessing
from lightning_advinterp.networks.families import default_phi
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.recipes import Recipe
from lightning_advinterp.networks.sites import check_layers
from lightning_advinterp.networks.smoothing import smoothed_relu
from lightning_advinterp.networks.taps import taps
from lightning_advinterp.networks.weights import load_state_dict_file, weights_hash

__all__ = [
    "Network",
    "Recipe",
    "check_layers",
    "create_network",
    "default_phi",
    "load_state_dict_file",
    "preprocessing",
    "smoothed_relu",
    "taps",
    "weights_hash",
]
