import numpy as np
import pytest

from training.errors import ProtocolInvalid
from training.evaluation.openset import divide
from training.evaluation.subgroups import describe_groups, measure_groups, overall_threshold, read_labels


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
