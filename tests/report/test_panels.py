"""What a panel shows: bright inside the mask, dim outside, a frame where one is asked for."""

import io
import itertools

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
    (axes,) = figure.axes
    shown = axes.images[0].get_array()
    assert shown.shape == (6, 14, 3)  # two pictures, each with a gap after it
    assert (shown[:, 3:6] == 200).all()
    assert (shown[:, :3] == 70).all()
    assert (shown[:, 7:13] == 70).all()
    assert (shown[:, [6, 13]] == 255).all()
    (outline,) = axes.collections
    (box,) = [path.get_extents() for path in outline.get_paths()]
    assert (box.x0, box.x1) == (2.5, 5.5)  # an empty mask has no outline
    assert [text.get_text() for text in axes.texts] == ["dog", "cat"]
    (frame,) = axes.patches
    assert (frame.get_x(), frame.get_width(), frame.get_height()) == (6.5, 6, 6)
    assert axes.get_ylabel() == "unit 7"
    assert figure.get_suptitle() == "layer4"


def test_rows_may_have_fewer_pictures_or_none(row):
    short = PanelRow("fgsm", row.pictures[:1], row.masks[:1])
    none = PanelRow("pgd", row.pictures[:0], row.masks[:0])
    figure = unit_panel([row, short, none])
    assert [axis.images[0].get_array().shape[1] if axis.images else 0 for axis in figure.axes] == [14, 14, 0]
    figure.savefig(io.BytesIO())
    unit_panel([])  # no unit at all is no error


def test_a_picture_that_is_wholly_looked_at_has_no_outline(row):
    unmasked = PanelRow("unit 8", row.pictures, np.ones((2, 6, 6), bool))
    (axes,) = unit_panel([unmasked]).axes
    assert not axes.collections
    assert (axes.images[0].get_array()[:, :6] == 200).all()


TITLE = "standard-0, layer3.2.conv2: most and least consistent units\nabove each image: the prediction\nLC: floor 0.05"


@pytest.mark.parametrize("captions", [(), ("dog: 0.22\ncat",) * 8])
@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("pictures", [1, 2, 8])
def test_nothing_written_is_cut_off_or_written_over(row, count, captions, pictures):
    shown, masks = np.repeat(row.pictures[:1], pictures, 0), np.repeat(row.masks[:1], pictures, 0)
    titled = PanelRow("layer3.22.conv2, unit 12345\nobject, IoU 0.17", shown, masks, captions, [True] * pictures)
    figure = unit_panel([titled] * count, TITLE)
    figure.savefig(io.BytesIO())
    boxes = [axes.yaxis.label.get_window_extent() for axes in figure.axes]
    assert min(box.x0 for box in boxes) >= 0
    assert all(box.x1 <= axes.get_window_extent().x0 for box, axes in zip(boxes, figure.axes, strict=True))
    written = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
    (title,) = [text.get_window_extent() for text in figure.texts]
    assert title.x0 >= 0
    assert title.x1 <= figure.bbox.x1
    assert title.y1 <= figure.bbox.y1
    assert all(box.y1 < title.y0 for box in written)
    pictures = [axes.get_window_extent() for axes in figure.axes]
    assert all(not box.overlaps(image_box) for box in [title, *written] for image_box in pictures)
    assert all(upper.y0 > lower.y1 for upper, lower in itertools.pairwise(pictures))
    assert pictures[-1].y0 >= 2, "the frame's line is two points wide, one of them below the picture"
