"""ReLU layers exchanged for softplus for good, so that a network is trained with it and evaluated as it was trained."""

from math import isfinite

from torch import nn

from lightning_advinterp.networks.activations import activation_calls
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.smoothing import THRESHOLD, smoothed_functions


def exchange_relu(network: Network, beta: float) -> None:
    """Put softplus of β into the place of every ReLU layer of a network, which then has no kink left.

    Unlike :func:`~lightning_advinterp.networks.smoothing.smoothed_relu`, which smooths a network for the length of a
    block, this changes the network: training, attacks and analyses see softplus, and :meth:`Network.spec` records β.
    Layers keep their names and weights.

    Args:
        network: is changed, unless it has softplus of this β already.
        beta: β > 0 of softplus_β(x) = log(1 + exp(βx)) / β.

    Raises:
        ValueError: if β is not above 0; if the network has softplus of another β; if it has no ReLU layer, calls ReLU
            or a function like it other than as a layer, or has one that overwrites what is read again.

    Reference:
        Dombrowski et al. 2019, section 4, smooth explanations of a trained network; here it is the network.
    """
    if isinstance(beta, bool) or not isinstance(beta, int | float) or not (beta > 0 and isfinite(beta)):
        raise ValueError(f"softplus must be a number above 0, the beta of the softplus (null: relu), got {beta!r}.")
    if network.softplus is not None:
        if network.softplus == beta:
            return
        raise ValueError(
            f"softplus={beta:g} contradicts the network, which is built with softplus={network.softplus:g}; leave it "
            "out, or say it to create_network."
        )
    backbone = network.backbone
    # a layer may stand under several names, and stays one layer under all of them
    relus = {path: part for path, part in backbone.named_modules(remove_duplicate=False) if isinstance(part, nn.ReLU)}
    overwriting = [path for path, part in relus.items() if part.inplace]
    if overwriting:
        raise ValueError(
            f"softplus={beta:g}: {network.name} has ReLU layers that overwrite what is read again "
            f"({', '.join(overwriting[:3])}), for which no other layer can stand; take a network without such layers."
        )
    layers = {part: nn.Softplus(beta, THRESHOLD) for part in relus.values()}
    for path, part in relus.items():
        parent, _, name = path.rpartition(".")
        backbone.get_submodule(parent).add_module(name, layers[part])
    calls = sorted(set(activation_calls(network)) & smoothed_functions())
    if calls or not relus:
        reason = f"it calls {', '.join(calls)} other than as a ReLU layer" if calls else "it has no ReLU layer"
        raise ValueError(
            f"softplus={beta:g} stands for the ReLU layers of a network, and does not suit {network.name}: {reason}. "
            "Take a network of nn.ReLU layers, such as resnet18, vgg16 or cifar_resnet20, or leave softplus out."
        )
    network.softplus = float(beta)
