import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from modelflow.figures.tiles import as_rgb, coloured, framed, mosaic, resized, show


def canvas(draw, place=(0.1, 0.1, 0.8, 0.8), window=None):
    figure = Figure(figsize=(2, 2), dpi=100)
    axes = figure.add_axes(place)
    axes.axis("off")
    draw(axes)
    if window:
        axes.axis(window)
    drawn = FigureCanvasAgg(figure)
    drawn.draw()
    return np.asarray(drawn.buffer_rgba())


@pytest.mark.parametrize("shape", [(160, 160), (16, 16), (80, 40), (40, 80), (7, 5), (597, 597)])
def test_bytes_are_shown_where_matplotlib_shows_them(shape):
    image_HW3 = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    ours, theirs = (
        canvas(lambda axes: show(axes, image_HW3)),
        canvas(lambda axes: axes.imshow(image_HW3, interpolation="nearest")),
    )
    assert (ours != theirs).any(axis=-1).mean() < 0.01


@pytest.mark.parametrize("window", [(3.5, 11.5, 11.5, 3.5), (-8.5, 7.5, 23.5, 7.5), (30, 40, 40, 30)])
def test_only_what_lies_in_the_axes_is_shown(window):
    image_HW3 = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    ours = canvas(lambda axes: show(axes, image_HW3), window=window)
    theirs = canvas(lambda axes: axes.imshow(image_HW3, interpolation="nearest"), window=window)
    assert (ours != theirs).any(axis=-1).mean() < 0.01


def test_grey_bytes_are_shown_as_they_are():
    images_NCHW = np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2)
    rgb_NHW3 = as_rgb(images_NCHW)
    assert rgb_NHW3.shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(rgb_NHW3[..., 1], images_NCHW[:, 0])


def test_three_channels_become_colours_and_other_numbers_show_the_first():
    images_NCHW = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    np.testing.assert_array_equal(as_rgb(images_NCHW)[0, 0, 1], [1, 5, 9])
    np.testing.assert_array_equal(as_rgb(images_NCHW[:, :2])[0, 0, 1], [1, 1, 1])


def test_normalised_images_are_stretched_over_all_bytes_and_nan_is_no_trouble():
    rgb_NHW3 = as_rgb(np.array([-1.0, np.nan, 0.0, 3.0]).reshape(1, 1, 2, 2))
    assert rgb_NHW3[0, ..., 0].tolist() == [[0, 0], [64, 255]]


def test_what_is_not_finite_has_a_colour_of_its_own():
    pixels = coloured(np.array([0.0, 1.0, np.nan, np.inf]), "cividis", 0.0, 1.0)
    assert pixels[2].tolist() == pixels[3].tolist() == [140, 140, 140]
    assert pixels[0].tolist() != pixels[1].tolist()


def test_a_constant_map_divides_by_no_zero():
    assert coloured(np.zeros((2, 2)), "cividis", 0.0, 0.0).shape == (2, 2, 3)


def test_resized_repeats_or_leaves_out_pixels():
    tile = np.array([[0, 1], [2, 3]])[..., None].repeat(3, axis=-1)
    assert resized(tile, 4, 4)[..., 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert resized(tile, 1, 1)[..., 0].tolist() == [[0]]


def test_a_mosaic_keeps_each_tile_in_its_place():
    tiles_RChw3 = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1).repeat(4, 2).repeat(5, 3).repeat(3, 4)
    picture = mosaic(tiles_RChw3, gap=2, row_gap=1)
    assert picture.shape == (2 * (4 + 1), 3 * (5 + 2), 3)
    assert picture[5, 14, 0] == 5
    assert picture[4, 0, 0] == picture[0, 5, 0] == 255


def test_a_frame_goes_around_each_tile():
    framed_tiles = framed(np.zeros((2, 1, 3, 3, 3), dtype=np.uint8))
    assert framed_tiles.shape == (2, 1, 5, 5, 3)
    assert framed_tiles[1, 0, 0, 2, 0] == 140
    assert framed_tiles[1, 0, 1, 1, 0] == 0
