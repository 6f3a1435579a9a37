from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from service.face.manifest import InputSpec
from service.face.embedding.preprocess import to_tensor
from tests.training.conftest import INPUT, MakeSet
from training.data.augment import Augment
from training.data.crops import CropSet, Entry, open_set, writing_set
from training.errors import SetInvalid
from training.data.loader import Plan
from training.data.samples import CropSource, DataSpec, gather

PIXELS = InputSpec.model_validate(INPUT)


@pytest.fixture
def sets(tmp_path: Path, make_set: MakeSet) -> tuple[CropSet, CropSet]:
    return make_set(tmp_path / "a", each=4, some_unknown=True), make_set(tmp_path / "b", each=3, people=4, seed=1)


def source(
    sets: tuple[CropSet, ...], weights: tuple[float, ...], spec: Augment | None = None, **options: object
) -> CropSource:
    data = DataSpec(sets={s.name: w for s, w in zip(sets, weights, strict=True)})
    return CropSource(gather(sets, data), PIXELS, spec or Augment(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [32, 112, 128])
def test_without_augmentation_training_sees_what_serving_sees(sets: tuple[CropSet, CropSet], size: int) -> None:
    """Bit for bit, at any size, region and colour order."""
    pixels = PIXELS.model_copy(update={"width": size, "height": size, "colour": "BGR", "region": (8, 0, 104, 112)})
    pool = gather(sets[:1], DataSpec(sets={"a": 1.0}))
    batch = CropSource(pool, pixels, Augment()).batch(np.arange(24), np.random.default_rng(0))
    expected = to_tensor(np.asarray(sets[0].crops), pixels)
    assert batch["x"].dtype == np.float32
    assert batch["x"].tobytes() == expected.tobytes()


def test_a_batch_is_a_function_of_indices_and_seed(sets: tuple[CropSet, CropSet]) -> None:
    made = source(sets, (1.0, 1.0), Augment(flip=0.5, shift=4, light=0.2, jpeg=0.5))
    one, same, other = (made.batch(np.arange(10), np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one["x"], same["x"])
    assert (one["x"] != other["x"]).any()


def test_an_epoch_shows_each_set_as_often_as_it_weighs(sets: tuple[CropSet, CropSet]) -> None:
    made = source(sets, (2.0, 0.5))
    first, second = made.order(0, 3), made.order(1, 3)
    assert len(first) == len(second) == 2 * 24 + 6
    counts = np.bincount(first, minlength=36)
    assert (counts[:24] == 2).all()
    assert sorted(counts[24:]) == [0] * 6 + [1] * 6
    assert (first != second).any()
    np.testing.assert_array_equal(first, made.order(0, 3))


def test_labels_count_across_sets_and_unknown_is_minus_one(sets: tuple[CropSet, CropSet]) -> None:
    pool = gather(sets, DataSpec(sets={"a": 1.0, "b": 1.0}))
    assert pool.classes == tuple(sorted([f"a/person-{i}" for i in range(6)] + [f"b/person-{i}" for i in range(4)]))
    assert (pool.label[:24] == -1).sum() == 6
    assert [pool.classes[i] for i in pool.label[24:27]] == ["b/person-0"] * 3
    labelled = gather(sets, DataSpec(sets={"a": 1.0, "b": 1.0}, labelled=True))
    assert len(labelled) == 30
    assert labelled.label.min() == 0


def test_targets_arrive_with_their_crop(sets: tuple[CropSet, CropSet]) -> None:
    targets = [np.arange(24, dtype=np.float32)[:, None], 100 + np.arange(12, dtype=np.float32)[:, None]]
    made = source(sets, (1.0, 1.0), cached={"t": targets})
    batch = made.batch(np.array([30, 2, 24, 23]), np.random.default_rng(0))
    assert batch["target.t"][:, 0].tolist() == [106, 2, 100, 23]


def test_groups_hold_one_person_each(sets: tuple[CropSet, CropSet]) -> None:
    made = source(sets, (1.0, 1.0), per_identity=4)
    pool = gather(sets, DataSpec(sets={"a": 1.0, "b": 1.0}))
    order = made.order(0, 0)
    groups = pool.label[order].reshape(-1, 4)
    assert (groups == groups[:, :1]).all()
    assert set(groups[:, 0]) == set(range(10))


def test_devices_share_a_batch_out_by_whole_groups(sets: tuple[CropSet, CropSet]) -> None:
    """Or else no device of several sees two crops of one person, and there is no triplet."""
    made = source(sets, (1.0, 1.0), per_identity=2)
    order = made.order(0, 0)
    parts = []
    for rank in range(2):
        plan = Plan(made, 0, 8, rank, 2)
        labels = plan.batch(1, order, plan.steps_per_epoch)["label"].reshape(-1, 2)
        assert (labels[:, 0] == labels[:, 1]).all()
        parts.append(labels.ravel())
    pool = gather(sets, DataSpec(sets={"a": 1.0, "b": 1.0}))
    assert np.concatenate(parts).tolist() == pool.label[order[8:16]].tolist()


def test_weights_that_would_not_count_are_refused() -> None:
    for wrong in ({"a": 2.0}, {"a": 1.0, "b": 0.5}):
        with pytest.raises(ValidationError, match="the weight 1"):
            DataSpec(sets=wrong, per_identity=2)
    with pytest.raises(ValidationError, match="no scarce"):
        DataSpec(sets={"a": 1.0}, scarce=("a",), per_identity=2)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        DataSpec(sets={"a": -0.5})


def test_landmarks_are_centred_and_move_along(sets: tuple[CropSet, CropSet]) -> None:
    plain = source(sets[:1], (1.0,), points=True).batch(np.arange(4), np.random.default_rng(0))
    landmarks = sets[0].landmarks
    assert landmarks is not None
    np.testing.assert_allclose(plain["points"].reshape(4, 5, 2) * 128 + 63.5, landmarks[:4], atol=1e-4)
    flipped = source(sets[:1], (1.0,), Augment(flip=1.0), points=True).batch(np.arange(4), np.random.default_rng(0))
    np.testing.assert_allclose(
        flipped["points"].reshape(4, 5, 2)[:, :, 0], -plain["points"].reshape(4, 5, 2)[:, [1, 0, 2, 4, 3], 0], atol=1e-5
    )


def test_nothing_to_train_on(tmp_path: Path, make_set: MakeSet) -> None:
    crops = make_set(tmp_path / "a", each=1)
    crops.splits[:] = "test"
    with pytest.raises(SetInvalid, match="no crop is left"):
        gather([crops], DataSpec(sets={"a": 1.0}))
    with pytest.raises(SetInvalid, match="two crops"):
        source((make_set(tmp_path / "b", each=1),), (1.0,), per_identity=2).order(0, 0)


def test_scarce_kinds_are_shown_more_often(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    with writing_set(tmp_path / "kinds") as writer:
        for i in range(200):
            name = f"5_1_2_{i}.png" if i % 10 == 0 else f"30_0_0_{i}.png"
            writer.add(faces[i % 6], Entry(name, "", "train"))
    crops = open_set(tmp_path / "kinds")
    shares = {}
    for scarce in ((), ("kinds",)):
        pool = gather([crops], DataSpec(sets={"kinds": 0.3}, scarce=scarce))
        drawn = np.concatenate([CropSource(pool, PIXELS, Augment()).order(epoch, 0) for epoch in range(60)])
        assert len(drawn) == 60 * 60
        shares[scarce] = float((drawn % 10 == 0).mean())
    assert shares[()] == pytest.approx(0.1, abs=0.02)
    assert shares[("kinds",)] == pytest.approx(0.22, abs=0.03)
    with pytest.raises(SetInvalid, match="not among the sets"):
        gather([crops], DataSpec(sets={"kinds": 1.0}, scarce=("others",)))
