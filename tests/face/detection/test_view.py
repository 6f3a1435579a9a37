"""Places in views, tiles, turned views and cut-outs lead back to the photograph."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from service.face.detection.detection import Detection
from service.face.detection.view import View, cut_out, halvings, whole


def dot(width: int, height: int, x: int, y: int) -> np.ndarray:
    """A black photograph with one bright disc of 9 pixels around (x, y)."""
    pixels = np.zeros((height, width, 3), np.uint8)
    cv2.circle(pixels, (x, y), 9, (255, 255, 255), -1)
    return pixels


def brightest(view: View) -> np.ndarray:
    """Where the disc is, told in pixels of the photograph."""
    weights = view.pixels[..., 0].astype(float)
    rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]]
    x, y = (weights * columns).sum() / weights.sum() + 0.5, (weights * rows).sum() / weights.sum() + 0.5
    face = Detection((x - 2, y - 1, 4, 2), 1.0, np.array([[x, y]] * 5, np.float32))
    placed = view.place(face)
    assert np.allclose(placed.landmarks, placed.centre, atol=1e-3)
    return np.array(placed.centre)


@pytest.mark.parametrize("quarters", range(4))
def test_a_place_leads_back_from_halved_and_turned_views(quarters: int) -> None:
    views = halvings(dot(401, 303, 250, 90), 120)
    assert [view.side for view in views] == [401, 200, 100]
    for view in views:
        assert np.allclose(brightest(view.turned(quarters)), (250.5, 90.5), atol=1.0)
    assert views[-1].zoom == pytest.approx(0.25)


def test_a_quarter_turn_swaps_the_sides_of_a_box() -> None:
    face = Detection((10, 20, 30, 60), 1.0, np.zeros((5, 2), np.float32))
    assert View(np.zeros((100, 200, 3), np.uint8), np.eye(2, 3)).turned(1).place(face).box[2:] == (60, 30)


def test_tiles_cover_the_view_and_overlap() -> None:
    photo = View(dot(1000, 130, 870, 60), np.eye(2, 3))
    tiles = list(photo.tiles(400, 100))
    assert all(tile.pixels.shape == (130, 400, 3) for tile in tiles)
    lefts = [tile.matrix[0, 2] for tile in tiles]
    assert (lefts[0], lefts[-1]) == (0, 600)
    assert all(right - left <= 300 for left, right in itertools.pairwise(lefts))
    assert np.allclose(brightest(tiles[-1]), (870.5, 60.5), atol=0.5)
    assert len(list(photo.tiles(1000, 100))) == 1


@pytest.mark.parametrize("roll", [0.0, 37.0, 90.0, -135.0])
@pytest.mark.parametrize("reach", [60.0, 500.0])
def test_a_cut_out_holds_a_rolled_head_upright(roll: float, reach: float) -> None:
    """The disc lies 20 pixels to the right of the centre once the picture is turned back by the roll."""
    direction = np.array([np.cos(np.radians(roll)), np.sin(np.radians(roll))])
    centre = np.array([300.0, 240.0])
    place = np.rint(centre + 20 * direction).astype(int)
    views = halvings(dot(640, 480, *place.tolist()), 200)
    view = cut_out(views, (300.0, 240.0), reach, 128, roll)
    assert view.pixels.shape == (128, 128, 3)
    assert view.zoom == pytest.approx(128 / reach)
    assert np.allclose(brightest(view), place + 0.5, atol=1.0)
    rows, columns = np.nonzero(view.pixels[..., 0] > 128)
    assert columns.mean() - 63.5 == pytest.approx(20 * 128 / reach, abs=2.0)
    assert rows.mean() - 63.5 == pytest.approx(0, abs=2.0)


def test_the_whole_photograph_is_seen_at_a_size_and_in_a_mirror() -> None:
    views = halvings(dot(640, 480, 500, 100), 200)
    for view in (whole(views, 320), whole(views, 100).mirrored(), whole(views, 800)):
        assert np.allclose(brightest(view), (500.5, 100.5), atol=1.5)
    assert whole(views, 320).pixels.shape == (240, 320, 3)
    assert whole(halvings(dot(900, 4, 500, 2), 200), 80).pixels.shape == (1, 80, 3)
    left_to_right = np.array([[10, 5], [20, 5], [15, 9], [11, 13], [19, 13]], np.float32)
    face = Detection((5, 0, 20, 20), 1.0, left_to_right)
    mirrored = View(np.zeros((20, 30, 3), np.uint8), np.eye(2, 3)).mirrored().place(face).landmarks
    assert mirrored[0, 0] < mirrored[1, 0]
    assert mirrored[3, 0] < mirrored[4, 0]
