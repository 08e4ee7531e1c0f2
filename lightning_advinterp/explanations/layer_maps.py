"""A layer's activations as maps of the image, whatever the family: channels first or last, or tokens of patches."""

from collections.abc import Mapping

from torch import Tensor, nn

from lightning_advinterp.explanations.question import Question
from lightning_advinterp.networks import default_phi
from lightning_advinterp.networks.families import declared_features
from lightning_advinterp.networks.network import Network
from lightning_advinterp.networks.sites import parse_layer
from lightning_advinterp.units.blocks import block_paths
from lightning_advinterp.units.maps import Layout
from lightning_advinterp.units.outputs import cuts_patches


def feature_layers(question: Question, layer: str | None, method: str) -> tuple[str, ...]:
    """Return the layers of which one is explained: the one that is asked for, or the defaults.

    The default is φ, or the last features that a timm network declares. Of a transformer the first LayerNorm of the
    last block stands beside it: behind that block, a class token alone may decide.

    Raises:
        ValueError: if there is no default.
    """
    if layer not in (None, "phi"):
        return (str(layer),)
    phi = question.network.phi if isinstance(question.network, Network) else None
    phi = phi or default_phi(question.body, channels=question.z.shape[1], input_size=question.z.shape[2])
    phi = phi or declared_features(question.body)
    if phi is None:
        raise ValueError(f"{method}: {type(question.body).__name__} has no default feature layer; name one as layer.")
    before = last_block_input(question.body) if layer is None else None
    return (str(phi),) if before is None else (str(phi), before)


def last_block_input(body: nn.Module) -> str | None:
    """Return the path of the first LayerNorm of the last block with an MLP; None where there is none."""
    blocks = block_paths(body, [])
    if not blocks:
        return None
    norms = (name for name, part in body.get_submodule(blocks[-1]).named_modules() if isinstance(part, nn.LayerNorm))
    name = next(norms, None)
    return None if name is None else f"{blocks[-1]}.{name}"


def patch_cutters(body: nn.Module) -> list[str]:
    """Return the paths of the convolutions that cut an image into patches."""
    convolutions = [name for name, part in body.named_modules() if isinstance(part, nn.Conv2d)]
    return [name for name in convolutions if cuts_patches(body, name)]


def explained_layer(layers: tuple[str, ...], activations: Mapping[str, Tensor]) -> str:
    """Return the layer of :func:`feature_layers` that is explained: the second one where the first returned tokens."""
    first = activations.get(layers[0])
    return layers[-1] if first is not None and first.dim() == 3 else layers[0]


def layer_layout(question: Question, layer: str, activations: Mapping[str, Tensor], method: str) -> Layout:
    """Return how a layer's activations hold maps.

    Args:
        question: with the images that passed.
        layer: that is meant.
        activations: of this layer, and of :func:`patch_cutters`.
        method: the explanation's name, for messages.

    Raises:
        ValueError: naming the layer and its shape, if it returns nothing that has places in the image.
    """
    activation = activations.get(layer)
    layout = None
    if activation is not None and len(activation) == len(question.z):  # attention's windows count as images
        cutters = (values for name, values in activations.items() if name != layer and values.dim() == 4)
        grids = [(values.shape[2], values.shape[3]) for values in cutters]
        module = question.body.get_submodule(parse_layer(layer).path)
        height, width = question.z.shape[2:]
        layout = Layout.of_image(tuple(activation.shape[1:]), module, grids, (height, width))
    if layout is None or not layout.has_places:
        shape = "nothing" if activation is None else f"shape {tuple(activation.shape)}"
        raise ValueError(
            f"{method}: layer {layer} must return maps [B, K, h, w] or [B, h, w, K], or tokens [B, T, K] of a grid of "
            f"patches, it returned {shape}; name another."
        )
    return layout
