from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.data.crops import Entry, open_set, writing_set
from training.errors import ProtocolInvalid
from training.evaluation.openset import divide, evaluate_openset
from training.evaluation.subgroups import (
    describe_groups,
    evaluate_groups,
    measure_groups,
    overall_threshold,
    read_labels,
)
from training.evaluation.vectors import Model


def test_labels_are_read_from_names() -> None:
    labels = read_labels(["25_0_1_20170110.jpg", "a/70_1_2_20170110212.webp", "odd.jpg"])
    assert labels["gender and race"].tolist() == ["male, Black", "female, Asian", ""]
    assert labels["age"].tolist() == ["18 to 34", "65 to 120", ""]
    with pytest.raises(ProtocolInvalid, match="age_gender_race_date"):
        read_labels(["one.jpg", "two.jpg"])


def test_rates_within_and_between_are_counted() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = np.array(["a"] * 30 + ["b"] * 15 + [""] * 5)
    (groups,) = measure_groups(vectors, {"kind": names}, 0.3).values()
    found = {(g.first, g.second): (g.false_matches, g.trials) for g in groups}
    expected = {
        key: [
            bool(vectors[i] @ vectors[j] >= 0.3)
            for i in range(50)
            for j in range(i + 1, 50)
            if tuple(sorted((names[i], names[j]))) == key
        ]
        for key in (("a", "a"), ("a", "b"), ("b", "b"))
    }
    assert found == {key: (sum(values), len(values)) for key, values in expected.items()}
    text = describe_groups({"kind": groups}, 0.3)
    assert "upper bounds" in text
    assert f"| a | {found['a', 'a'][0] / 435:.2e} |" in text


def test_rates_are_of_the_scores_that_are_served() -> None:
    """A picture that scores low with everybody does not even match itself, and is not taken off as if it did."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(40, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    offsets = np.where(np.arange(40) % 3 == 0, -0.5, -0.1).astype(np.float32)
    names = np.array(["a"] * 25 + ["b"] * 15)
    scores = vectors @ vectors.T + offsets[:, None] + offsets[None]
    (groups,) = measure_groups(vectors, {"kind": names}, 0.3, offsets).values()
    for group in groups:
        pairs = [
            scores[i, j] >= 0.3
            for i in range(40)
            for j in range(i + 1, 40)
            if {names[i], names[j]} == {group.first, group.second}
        ]
        assert (group.false_matches, group.trials) == (sum(pairs), len(pairs))
    rate = np.mean(scores[np.triu_indices(40, 1)] >= overall_threshold(vectors, 0.05, offsets))
    assert rate == pytest.approx(0.05, abs=2e-3)


def test_the_overall_threshold_holds_its_rate() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(200, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = (vectors @ vectors.T)[np.triu_indices(200, 1)]
    assert np.mean(scores >= overall_threshold(vectors, 0.01)) == pytest.approx(0.01, abs=1e-4)


def test_the_open_set_is_divided_by_people() -> None:
    names = [f"p{i % 20}" for i in range(60)] + ["", ""]
    parts = divide(names)
    enrolled = {names[i] for i in parts.references}
    assert len(enrolled) == len(parts.references)
    assert {names[i] for i in parts.mated} == enrolled
    assert [names[parts.references[o]] for o in parts.owner] == [names[i] for i in parts.mated]
    assert {names[i] for i in parts.nonmated} == {f"p{i}" for i in range(20)} - enrolled
    assert set(parts.references) & set(parts.mated) == set()
    with pytest.raises(ProtocolInvalid, match="people in and out"):
        divide(["one"] * 5)


def test_at_a_served_score_on_pictures_that_were_held_out(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    with writing_set(tmp_path / "kinds") as writer:
        for i in range(40):
            split = "test" if i < 12 else "train"
            writer.add(np.roll(faces[i % 6], i, axis=0), Entry(f"30_0_{i % 2}_{i}.png", "", split))
    crops = open_set(tmp_path / "kinds")
    model = Model("pixels", Pixels(), "0" * 64, None)
    report = evaluate_groups("kinds", crops, 1e-3, model, threshold=0.5, held_out=True, progress=False)
    assert report.details["threshold"] == 0.5
    within = {row.metric: row.trials for row in report.rows}
    assert within["FMR within male, White"] == within["FMR within male, Black"] == 15, "six held-out pictures of each"
    assert report.protocol == "kinds, at the served score of FMR 0.001"


def test_nothing_held_out_is_told(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    with writing_set(tmp_path / "kinds") as writer:
        writer.add(faces[0], Entry("30_0_0_1.png", "", "train"))
    model = Model("pixels", Pixels(), "0" * 64, None)
    with pytest.raises(ProtocolInvalid, match="kinds holds no labelled picture out"):
        evaluate_groups("kinds", open_set(tmp_path / "kinds"), 1e-3, model, held_out=True, progress=False)


def test_mirror_images_are_averaged_by_every_protocol(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    """A model that sees no colours but those of the left half, and its average with the mirror image."""
    with writing_set(tmp_path / "kinds") as writer:
        for i in range(24):
            writer.add(np.roll(faces[i % 6], i, axis=0), Entry(f"30_0_{i % 2}_{i}.png", f"person {i // 2}", "test"))
    crops, left, both = open_set(tmp_path / "kinds"), Left(), Mirrored(Left())
    one, other = (Model("left", embeds, "0" * 64, None) for embeds in (left, both))
    groups = evaluate_groups("kinds", crops, 0.1, one, flip=True, progress=False)
    assert groups.rows == evaluate_groups("kinds", crops, 0.1, other, progress=False).rows
    assert groups.details != evaluate_groups("kinds", crops, 0.1, one, progress=False).details
    found = evaluate_openset("kinds", crops, faces, one, flip=True, progress=False)
    assert found.rows == evaluate_openset("kinds", crops, faces, other, progress=False).rows
    assert found.rows != evaluate_openset("kinds", crops, faces, one, progress=False).rows


class Pixels:
    """A stand-in for a network: a crop's own pixels, coarsely."""

    dim, digest = 48, "0" * 64

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        coarse = crops.reshape(len(crops), 4, 32, 4, 32, 3).mean((2, 4)).reshape(len(crops), 48)
        centred = coarse - coarse.mean(axis=1, keepdims=True)
        return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True), np.float32)


class Left(Pixels):
    """Sees the left half."""

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen = crops.copy()
        seen[:, :, 64:] = 0
        return super().embed(seen)


class Mirrored(Pixels):
    """A model's average with the mirror image."""

    def __init__(self, model: Pixels) -> None:
        self._model = model

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        both = self._model.embed(crops) + self._model.embed(crops[:, :, ::-1].copy())
        return np.asarray(both / np.linalg.norm(both, axis=1, keepdims=True), np.float32)
