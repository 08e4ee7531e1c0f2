"""Components against numpy, parts against literal updates, quality by hand, and rows in bounded memory."""

from itertools import chain

import numpy as np
import pytest
import torch
from helpers import Memory, small_network
from processes import on_processes, rows_on_a_share

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.user_images import as_image_set
from lightning_advinterp.units.activation_rows import ActivationSource, ShuffledRows
from lightning_advinterp.units.autoencoder_training import AutoencoderSettings
from lightning_advinterp.units.bases import Identity, NonNegativeParts, PrincipalComponents
from lightning_advinterp.units.basis_fitting import Fitting, basis_without_data, fit_autoencoder, fit_parts
from lightning_advinterp.units.basis_quality import basis_quality
from lightning_advinterp.units.components import Covariance, non_negative_parts, principal_components, updated
from lightning_advinterp.units.rotation import rotation
from lightning_advinterp.units.spaces import unit_space


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_components_equal_a_singular_value_decomposition():
    rows = numbers(300, 6) @ numbers(6, 6, seed=1) + 100
    covariance = Covariance(6)
    for part in rows.split(70):
        covariance.update(part)
    basis = principal_components(covariance, 4)
    centred = rows.double().numpy() - rows.double().numpy().mean(0)
    expected = np.linalg.svd(centred, full_matrices=False)[2][:4]
    expected *= np.sign(np.take_along_axis(expected, np.abs(expected).argmax(1)[:, None], 1))
    np.testing.assert_allclose(basis.directions.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(covariance.compute().numpy(), np.cov(centred.T, bias=True), rtol=1e-9, atol=1e-9)
    variances = basis.encode(rows).var(0)
    assert variances.tolist() == sorted(variances.tolist(), reverse=True)
    with pytest.raises(ValueError, match="at most the layer's 6 units for pca, got 7"):
        principal_components(covariance, 7)


def test_parts_equal_literal_updates():
    sample, codes, parts = numbers(7, 5).abs(), numbers(7, 3, seed=1).abs(), numbers(3, 5, seed=2).abs()
    literal_codes = codes.clone()
    for row in range(7):
        for part in range(3):
            above = sum(float(sample[row, unit] * parts[part, unit]) for unit in range(5))
            below = sum(float((codes[row] @ parts)[unit] * parts[part, unit]) for unit in range(5))
            literal_codes[row, part] = codes[row, part] * above / below
    literal_parts = parts.clone()
    for part in range(3):
        for unit in range(5):
            above = sum(float(literal_codes[row, part] * sample[row, unit]) for row in range(7))
            below = sum(float(literal_codes[row, part] * (literal_codes[row] @ parts)[unit]) for row in range(7))
            literal_parts[part, unit] = parts[part, unit] * above / below
    new_codes, new_parts = updated(sample, codes, parts, 1e-30)
    torch.testing.assert_close(new_codes, literal_codes)
    torch.testing.assert_close(new_parts, literal_parts)


def test_planted_parts_are_found():
    planted = torch.eye(3, 9) + torch.eye(3, 9).roll(3, 1)
    sample = numbers(200, 3).abs() @ planted
    basis = non_negative_parts(sample, 3, 300, seed=0)
    assert isinstance(basis, NonNegativeParts)
    cosines = torch.nn.functional.normalize(planted) @ basis.parts.T
    assert float(cosines.amax(1).min()) > 0.99
    assert basis_quality(basis, [sample]).explained > 0.999
    with pytest.raises(ValueError, match="nmf needs activations of zero or more, this layer has -1"):
        non_negative_parts(sample - 1 - sample.min(), 3, 1, seed=0)


def test_quality_by_hand():
    rows = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    along = PrincipalComponents(torch.tensor([[1.0, 0.0]]), torch.tensor([0.0, 1.0]))
    quality = basis_quality(along, [rows[:3], rows[3:]])
    # the first unit is given back, of the second its mean: 1 of 6 + 4 remains of each row
    assert quality.explained == pytest.approx(1 - 4 / 10)
    assert (quality.active, quality.dead, quality.rows) == (0.5, 0, 4)
    same = basis_quality(Identity(2), [rows])
    assert (same.explained, same.active, same.dead) == (1.0, 1.0, 0)
    with pytest.raises(ValueError, match="no images"):
        basis_quality(Identity(2), [])


def source(count=13, places=64, batch_size=4, seed=0):
    images = (numbers(count, 3, 16, 16) * 0.2 + 0.5).clamp(0, 1)
    network = small_network()
    (unit,) = unit_space(network, "relu2")
    data = as_image_set(Memory(Batch(images, torch.zeros(count, dtype=torch.int64), torch.arange(count))))
    return ActivationSource(network, unit, data, places, batch_size, seed), images


def sorted_rows(rows):
    return sorted(tuple(row) for row in rows.tolist())


def all_rows(origin, images):
    """Every place of every image, read by hand."""
    with torch.no_grad():
        maps = origin.network.forward_features(images, ("relu2",))[1]["relu2"]
    return [
        tuple(maps[image, :, row, column].tolist())
        for image in range(len(images))
        for row in range(8)
        for column in range(8)
    ]


def test_rows_are_all_places_in_another_order_each_epoch():
    origin, images = source()
    first, again, second = (torch.cat(list(origin.epoch(number))) for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    expected = torch.tensor(sorted(all_rows(origin, images)))
    for rows in (first, second):
        torch.testing.assert_close(torch.tensor(sorted_rows(rows)), expected)


def test_few_places_are_drawn_anew_and_do_not_depend_on_batches():
    drawn = {}
    for batch_size in (3, 13):
        origin, images = source(places=5, batch_size=batch_size)
        drawn[batch_size] = [sorted_rows(torch.cat(list(origin.epoch(number)))) for number in (0, 1)]
    assert len(drawn[3][0]) == 13 * 5
    torch.testing.assert_close(torch.tensor(drawn[3]), torch.tensor(drawn[13]))
    assert drawn[3][0] != drawn[3][1]
    assert {tuple(round(value, 4) for value in row) for row in drawn[3][0]} <= {
        tuple(round(value, 4) for value in row) for row in all_rows(origin, images)
    }


class Counting(ActivationSource):
    """Notes how many epochs were begun, and how many rows are alive."""

    def epoch(self, number):
        EPOCHS.append(number)
        return super().epoch(number)


EPOCHS = []


def test_images_pass_once_where_all_rows_fit():
    EPOCHS.clear()
    origin, _ = source()
    rows = ShuffledRows(Counting(**vars(origin)), capacity=10_000)
    batches = list(rows.batches(64, 40))
    assert rows.complete
    assert EPOCHS == [0]
    assert len(batches) == 40
    assert sorted_rows(torch.cat(batches[:13])) == sorted_rows(rows.rows)  # 13 · 64 rows: every one once an epoch


@pytest.mark.parametrize("capacity", [100, 832])
def test_a_small_buffer_mixes_epochs_and_holds_no_more(capacity):
    EPOCHS.clear()
    origin, _ = source()
    rows = ShuffledRows(Counting(**vars(origin)), capacity=capacity)
    assert rows.complete == (capacity == 832)
    assert len(rows.rows) == capacity
    batches = list(rows.batches(16, 200))
    assert {tuple(batch.shape) for batch in batches} == {(16, 8)}
    assert len(EPOCHS) == (1 if rows.complete else 1 + (200 * 16 + capacity) // 832)
    rows_of_source = {tuple(round(value, 4) for value in row) for row in torch.cat(list(origin.epoch(0))).tolist()}
    assert {tuple(round(value, 4) for value in row) for row in torch.cat(batches).tolist()} <= rows_of_source


def test_fitting_is_decided_by_the_seed():
    fitted = []
    for seed in (0, 0, 1):
        origin, _ = source(seed=seed)
        settings = AutoencoderSettings(12, k=3, steps=8, seed=seed)
        fitted.append(fit_autoencoder(origin, settings, Fitting(rows=32, buffer_mb=1, seed=seed)))
    assert torch.equal(fitted[0].decoder, fitted[1].decoder)
    assert not torch.equal(fitted[0].decoder, fitted[2].decoder)
    origin, _ = source()
    assert fit_parts(origin, 3, 5, Fitting()).parts.shape == (3, 8)


def test_bases_without_data():
    turn = basis_without_data("rotation", 8, seed=3)
    assert torch.equal(turn.directions, rotation(8, 3, 0, torch.zeros(())))
    assert basis_without_data("identity", 8, seed=3) == Identity(8)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("count", [2, 20])
def test_processes_share_the_passes_and_have_all_rows(world_size, count):
    """Each has the rows of one process alone, to the bit and in the same order: batches are never divided."""
    alone = rows_on_a_share(0, 1, count)
    for everywhere in on_processes(rows_on_a_share, world_size, count):
        assert [len(epoch) for epoch in everywhere] == [len(epoch) for epoch in alone]
        for rows, expected in zip(chain.from_iterable(everywhere), chain.from_iterable(alone), strict=True):
            assert torch.equal(rows, expected)
