"""What a panel shows: bright inside the mask, dim outside, a frame where one is asked for."""

import numpy as np
import pytest

from lightning_advinterp.report.panels import PanelRow, unit_panel


@pytest.fixture
def row():
    pictures = np.full((2, 6, 6, 3), 200, np.uint8)
    masks = np.zeros((2, 6, 6), bool)
    masks[0, :, 3:] = True
    return PanelRow("unit 7", pictures, masks, ["dog", "cat"], [False, True])


def test_a_picture_is_bright_where_the_unit_looks(row):
    figure = unit_panel([row], "layer4")
    first, second = figure.axes
    shown = first.images[0].get_array()
    assert (shown[:, 3:] == 200).all()
    assert (shown[:, :3] == 70).all()
    assert len(first.collections) == 1  # the outline
    assert not second.collections  # an empty mask has none
    assert first.get_title() == "dog"
    assert not first.spines["left"].get_visible()
    assert second.spines["left"].get_visible()
    assert first.get_ylabel() == "unit 7"
    assert figure.get_suptitle() == "layer4"


def test_rows_may_have_fewer_pictures(row):
    short = PanelRow("fgsm", row.pictures[:1], row.masks[:1])
    figure = unit_panel([row, short])
    assert [len(axis.images) for axis in figure.axes] == [1, 1, 1, 0]
    unit_panel([])  # no unit at all is no error
