"""The discrepancy map against the triple loop, pixel by pixel, and a forward pass that ends early."""

import pytest
import torch
from helpers import assert_untouched, fingerprint, small_batch, small_network

from lightning_advinterp.core.randomness import mix, sample_keys, uniform
from lightning_advinterp.explanations.discrepancy import discrepancy_map, occluder_positions
from lightning_advinterp.networks.until import forward_until

STREAM = 0x6F63636C


def literal(network, image, layer, unit, key, size, stride, fill, position):
    """Occluder by occluder, pixel by pixel."""
    height, width = image.shape[1:]

    def places(length):
        first = list(range(0, length - size + 1, stride))
        return first if first[-1] == length - size else [*first, length - size]

    network.eval()
    with torch.no_grad():
        uncovered = network.forward_features(image[None], (layer,))[1][layer][0, unit]
        index = divmod(int(uncovered.argmax()), uncovered.shape[1])
        total, count = torch.zeros(height, width), torch.zeros(height, width)
        number = 0
        for top in places(height):
            for left in places(width):
                if fill == "random":
                    place_key = mix(key, torch.tensor([number]))
                    patch = uniform(place_key, (3, size, size), stream=STREAM)[0]
                else:
                    patch = image.mean((1, 2))[:, None, None] if fill == "mean" else torch.full((3, 1, 1), 0.5)
                copy = image.clone()
                copy[:, top : top + size, left : left + size] = patch
                covered = network.forward_features(copy[None], (layer,))[1][layer][0, unit]
                now = covered[index] if position == "argmax" else covered.max()
                for row in range(top, top + size):
                    for column in range(left, left + size):
                        total[row, column] += float((uncovered.max() - now).abs())
                        count[row, column] += 1
                number += 1
    return torch.where(count > 0, total / count.clamp_min(1), 0)


@pytest.mark.parametrize(
    ("fill", "position", "size", "stride"),
    [("random", "argmax", 5, 3), ("mean", "max", 4, 2), ("grey", "argmax", 3, 5)],
)
def test_it_is_the_mean_change_over_the_occluders_that_cover_a_pixel(fill, position, size, stride):
    network, batch = small_network(), small_batch(n=2, size=16)
    x = batch.image[:, :, :, :14].contiguous()
    keys, units = sample_keys(batch.index), torch.tensor([1, 6])
    network.train()
    before = fingerprint(network)
    options = {"size": size, "stride": stride, "fill": fill, "position": position}
    maps = discrepancy_map(network, x, "relu2", units, keys, batch_size=7, **options)
    assert_untouched(network, before)
    assert maps.shape == (2, 16, 14)
    assert maps.max() > 0
    for i in range(2):
        expected = literal(network, x[i], "relu2", int(units[i]), keys[i : i + 1], size, stride, fill, position)
        torch.testing.assert_close(maps[i], expected, rtol=1e-4, atol=1e-5)


def test_the_grid_has_the_papers_count():
    assert len(occluder_positions(224, 11, 3)) == 72
    assert len(occluder_positions(227, 11, 3)) == 73
    assert occluder_positions(10, 4, 4).tolist() == [0, 4, 6]


def test_a_pass_until_a_layer_gives_its_activation_and_goes_no_further():
    network, batch = small_network().eval(), small_batch(n=2, size=16)
    later = []
    network.backbone.fc.register_forward_hook(lambda *_: later.append(1))
    activation = forward_until(network, batch.image, "relu1")
    assert not later
    assert torch.equal(activation, network.forward_features(batch.image, ("relu1",))[1]["relu1"])
    assert later == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 17}, "size must be 1 to 16 pixels"),
        ({"stride": 0}, "stride 1 or more"),
        ({"fill": "black"}, "fill must be random, mean or grey"),
        ({"position": "mean"}, "position argmax or max"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    batch = small_batch(n=1, size=16)
    with pytest.raises(ValueError, match=message):
        discrepancy_map(small_network(), batch.image, "relu2", torch.tensor([0]), sample_keys(batch.index), **options)


@pytest.mark.parametrize(("layer", "unit"), [("fc", 0), ("relu2", 8)])
def test_a_layer_without_maps_or_such_a_unit_is_refused(layer, unit):
    batch = small_batch(n=1, size=16)
    with pytest.raises(ValueError, match="needs maps and a unit in range"):
        discrepancy_map(small_network(), batch.image, layer, torch.tensor([unit]), sample_keys(batch.index))
