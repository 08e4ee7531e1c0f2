"""The grid of cells against loops over pixels."""

import pytest
import torch

from lightning_advinterp.metrics.cells import Grid, default_cell


@pytest.mark.parametrize(
    ("height", "width", "cell"), [(6, 6, 2), (5, 7, 2), (7, 4, 3), (3, 9, 4), (4, 4, 1), (2, 3, 3)]
)
def test_cells_cover_every_pixel_once_row_by_row(height, width, cell):
    grid = Grid(height, width, cell)
    columns = -(-width // cell)
    numbers = [[(y // cell) * columns + x // cell for x in range(width)] for y in range(height)]
    assert grid.numbers().tolist() == numbers
    assert len(grid) == max(map(max, numbers)) + 1
    values = torch.rand(2, height, width, dtype=torch.float64)
    for image in range(2):
        inside = [[] for _ in range(len(grid))]
        for y in range(height):
            for x in range(width):
                inside[numbers[y][x]].append(float(values[image, y, x]))
        assert grid.sums(values)[image].tolist() == pytest.approx([sum(cell) for cell in inside])
        assert grid.means(values)[image].tolist() == pytest.approx([sum(cell) / len(cell) for cell in inside])
    assert torch.equal(grid.spread(torch.arange(len(grid))[None]), grid.numbers()[None])


def test_the_default_keeps_its_share_of_the_image():
    sizes = {299: 13, 224: 10, 227: 10, 160: 7, 112: 5, 64: 3, 32: 2, 16: 2, 1: 1}
    assert {size: default_cell(size, size) for size in sizes} == sizes
    assert default_cell(224, 448) == default_cell(448, 224) == 10


@pytest.mark.parametrize("cell", [0, -1, 8])
def test_a_cell_larger_than_the_image_is_refused(cell):
    with pytest.raises(ValueError, match=f"cell must be 1 to 7 pixels, the image's longer side, got {cell}"):
        Grid(5, 7, cell)
