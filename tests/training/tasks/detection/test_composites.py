import numpy as np
import pytest

from training.errors import SetInvalid, SetMissing
from training.tasks.detection.composites import Sources, compose_tile


def test_a_tile_depends_on_seed_and_index_alone(sources: Sources) -> None:
    tiles = [compose_tile(sources, 3, index, 128) for index in range(12)]
    again = [compose_tile(sources, 3, index, 128) for index in reversed(range(12))]
    for tile, same in zip(tiles, reversed(again), strict=True):
        assert tile.shape == (128, 128, 3)
        assert tile.dtype == np.uint8
        np.testing.assert_array_equal(tile, same)
    assert not np.array_equal(tiles[0], tiles[1])
    assert not np.array_equal(tiles[0], compose_tile(sources, 4, 0, 128))


def test_every_kind_of_tile_shows_something(sources: Sources) -> None:
    """None of the four kinds leaves a flat picture, nor one that is black or white."""
    for index in range(40):
        tile = compose_tile(sources, 0, index, 96).astype(float)
        assert tile.std() > 8
        assert 10 < tile.mean() < 245


def test_sources_without_files_are_refused(sources: Sources) -> None:
    with pytest.raises(SetMissing, match="no crops"):
        Sources(sources.scenes, sources.empty, ())


def test_an_unreadable_picture_is_named(sources: Sources, tmp_path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")
    bad = Sources((broken,), (broken,), (broken,))
    with pytest.raises(SetInvalid, match=r"broken\.jpg"):
        compose_tile(bad, 0, 0, 64)
