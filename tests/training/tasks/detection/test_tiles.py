from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.face.session import ModelSession
from training.errors import RecipeInvalid, SetInvalid, SetMissing
from training.tasks.detection.composites import Sources, compose_tile
from training.tasks.detection.prepare import split_photographs
from training.tasks.detection.teacher import DenseTeacher
from training.tasks.detection.tiles import TileSource, open_tiles, write_tiles


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sources: Sources) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "tiles"
    write_tiles(folder, sources, seed=2, count=8, size=96, about={"note": "small"})
    return folder


def test_a_tile_set_holds_the_tiles_of_its_seed(folder: Path, sources: Sources) -> None:
    opened = open_tiles(folder)
    assert opened.tiles.shape == (8, 96, 96, 3)
    np.testing.assert_array_equal(opened.tiles[5], compose_tile(sources, 2, 5, 96))


def test_the_digest_tells_sets_apart(folder: Path, sources: Sources, tmp_path: Path) -> None:
    write_tiles(tmp_path / "same", sources, seed=2, count=8, size=96)
    write_tiles(tmp_path / "other", sources, seed=3, count=8, size=96)
    assert open_tiles(tmp_path / "same").digest == open_tiles(folder).digest
    assert open_tiles(tmp_path / "other").digest != open_tiles(folder).digest


def test_a_batch_is_labelled_on_its_own_pixels(folder: Path, random_session: ModelSession) -> None:
    teacher = DenseTeacher(random_session)
    source = TileSource(open_tiles(folder), teacher, 64)
    indices = np.array([4, 1, 1])
    batch = source.batch(indices, np.random.default_rng([1, 2]))
    assert batch["x"].shape == (3, 3, 64, 64)
    assert batch["x"].dtype == np.float32
    assert 0 <= batch["x"].min() < batch["x"].max() <= 255
    np.testing.assert_array_equal(batch["rows"], teacher.rows(batch["x"].transpose(0, 2, 3, 1).astype(np.uint8)))
    same = source.batch(indices, np.random.default_rng([1, 2]))
    np.testing.assert_array_equal(batch["x"], same["x"])
    assert not np.array_equal(batch["x"][1], batch["x"][2])  # the same tile, shown anew


def test_a_spoiled_batch_is_labelled_as_if_it_were_not(folder: Path, random_session: ModelSession) -> None:
    teacher, indices = DenseTeacher(random_session), np.array([0, 3])
    good, spoiled = (
        TileSource(open_tiles(folder), teacher, 96, degrade).batch(indices, np.random.default_rng(5))
        for degrade in (0.0, 1.0)
    )
    np.testing.assert_array_equal(spoiled["rows"], good["rows"])
    assert all(not np.array_equal(a, b) for a, b in zip(spoiled["x"], good["x"], strict=True))


def test_every_epoch_shows_every_tile_once(folder: Path, random_session: ModelSession) -> None:
    source = TileSource(open_tiles(folder), DenseTeacher(random_session), 32)
    orders = [source.order(epoch, seed=9) for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(8))
    assert not np.array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[2], source.order(2, seed=9))


@pytest.mark.parametrize("crop", [0, 40, 128])
def test_a_crop_the_tiles_cannot_give(folder: Path, random_session: ModelSession, crop: int) -> None:
    with pytest.raises(RecipeInvalid, match="multiple of 32"):
        TileSource(open_tiles(folder), DenseTeacher(random_session), crop)


def test_a_set_that_is_not_there_or_damaged(folder: Path, tmp_path: Path, sources: Sources) -> None:
    with pytest.raises(SetMissing):
        open_tiles(tmp_path / "missing")
    damaged = tmp_path / "damaged"
    write_tiles(damaged, sources, seed=2, count=2, size=64)
    np.save(damaged / "tiles.npy", np.zeros((3, 64, 64, 3), np.uint8))
    with pytest.raises(SetInvalid, match=r"tiles\.npy"):
        open_tiles(damaged)


def test_an_interrupted_set_leaves_nothing(tmp_path: Path, sources: Sources) -> None:
    def stop(numbers: range) -> object:
        yield numbers[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tiles(tmp_path / "cut", sources, seed=0, count=4, size=64, watch=stop)
    assert not list(tmp_path.iterdir())


def test_what_is_held_out_is_kept_apart(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.tasks.detection.prepare.HELD_SCENES", 1)
    split = split_photographs(photographs / "scenes", photographs / "portraits")
    assert len(split.scenes) == len(split.held_scenes) == 1
    assert not set(split.scenes) & set(split.held_scenes)
    assert not set(split.portraits) & set(split.held_portraits)
    assert len(split.portraits) + len(split.held_portraits) == 2


def test_alarming_scenes_are_labelled_as_showing_no_face(
    tmp_path: Path, sources: Sources, random_session: ModelSession
) -> None:
    alarming = replace(sources, alarming=sources.empty)
    write_tiles(tmp_path / "set", alarming, seed=5, count=24, size=64)
    opened = open_tiles(tmp_path / "set")
    assert 0 < opened.bare.sum() < 12
    source = TileSource(opened, DenseTeacher(random_session), 64, bare=4.0)
    batch = source.batch(np.arange(24), np.random.default_rng(1))
    assert batch["stress"].tolist() == np.where(opened.bare, 4.0, 1.0).tolist()
    rows = batch["rows"]
    assert not rows[opened.bare, :, :2].any()
    assert rows[~opened.bare, :, :2].all()
