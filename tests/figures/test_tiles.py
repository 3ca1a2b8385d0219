import numpy as np

from modelflow.figures.tiles import as_rgb, coloured, framed, mosaic, resized


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
