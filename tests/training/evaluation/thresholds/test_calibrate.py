import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.score import ThresholdTable
from service.measures.all_pairs import compare_across, compare_all
from training.errors import RateUnsupported
from training.evaluation.thresholds.calibrate import calibrate


def people(count: int, each: int, spread: float = 0.6, seed: int = 0) -> tuple[NDArray[np.float32], list[str]]:
    """Unit vectors in 16 dimensions round one direction per person."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, 16)).repeat(each, axis=0)
    vectors = centres + spread * rng.normal(size=centres.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), [
        f"p{i // each}" for i in range(count * each)
    ]


def test_every_pair_is_compared_once_and_people_are_kept_apart() -> None:
    vectors, names = people(5, 3)
    person = np.array([int(name[1:]) for name in names])
    impostor, left, right, genuine, _ = compare_all(vectors, person)
    expected = [(float(vectors[i] @ vectors[j]), person[i], person[j]) for i in range(15) for j in range(i + 1, 15)]
    assert len(impostor) + len(genuine) == len(expected)
    np.testing.assert_allclose(sorted(impostor), sorted(s for s, a, b in expected if a != b), atol=1e-6)
    np.testing.assert_allclose(sorted(genuine), sorted(s for s, a, b in expected if a == b), atol=1e-6)
    assert (left != right).all()


def test_thresholds_hold_the_rate_they_name() -> None:
    vectors, names = people(60, 4)
    found = calibrate(vectors, names)
    person = np.array([int(name[1:]) for name in names])
    impostor, _, _, genuine, _ = compare_all(vectors, person)
    assert [row.fmr for row in found.rows] == [1e-1, 1e-2]
    assert found.refused == (1e-3, 1e-4, 1e-5, 1e-6)
    for row, fnmr in zip(found.rows, found.fnmr, strict=True):
        assert np.mean(impostor >= row.threshold) <= row.fmr
        assert np.mean(impostor >= row.threshold - 1e-3) > row.fmr * 0.98
        assert fnmr == pytest.approx(np.mean(genuine < row.threshold))
        assert row.ci95[0] < row.fmr < row.ci95[1]
        assert row.impostor_trials == len(impostor) == 60 * 59 // 2 * 16
    assert ThresholdTable(found.rows).at(0.01).value == found.rows[1].threshold


def test_an_unsupported_rate_is_refused_with_its_numbers() -> None:
    vectors, names = people(20, 2)
    with pytest.raises(RateUnsupported, match=r"FMR 0\.001 expects 0\.8 false matches in 760 comparisons between 20"):
        calibrate(vectors, names, [0.1, 0.001])
    with pytest.raises(RateUnsupported):
        calibrate(vectors, ["same"] * 40)
    for templates in (None, vectors):
        with pytest.raises(RateUnsupported, match="in 0 comparisons between 0 people"):
            calibrate(vectors, [""] * 40, templates=templates)


def test_crops_of_unknown_people_are_left_out() -> None:
    vectors, names = people(30, 3)
    known = calibrate(vectors[:60], names[:60])
    assert calibrate(vectors, names[:60] + [""] * 30) == known


def test_the_interval_is_that_of_people_not_of_pairs() -> None:
    """Many crops of few people: far more comparisons, hardly more certainty."""
    few, many = calibrate(*people(40, 2)), calibrate(*people(40, 12))
    width = [found.rows[0].ci95[1] - found.rows[0].ci95[0] for found in (few, many)]
    assert many.impostors > 30 * few.impostors
    assert width[1] > width[0] / 4


def test_probes_of_one_model_meet_all_templates_of_another_but_their_own() -> None:
    probes, names = people(40, 3, seed=1)
    templates, _ = people(40, 3, spread=0.7, seed=1)
    person = np.array([int(name[1:]) for name in names])
    impostor, left, right, genuine, _ = compare_across(probes, templates, person)
    scores = probes @ templates.T
    same = person[:, None] == person[None, :]
    np.testing.assert_allclose(np.sort(impostor), np.sort(scores[~same]), atol=1e-6)
    np.testing.assert_allclose(np.sort(genuine), np.sort(scores[same & ~np.eye(120, dtype=bool)]), atol=1e-6)
    assert (left != right).all()

    found = calibrate(probes, names, templates=templates)
    for row, fnmr in zip(found.rows, found.fnmr, strict=True):
        assert np.mean(impostor >= row.threshold) <= row.fmr
        assert row.impostor_trials == len(impostor) == 40 * 39 * 9
        assert row.ci95[0] < row.fmr < row.ci95[1]
        assert fnmr == pytest.approx(np.mean(genuine < row.threshold))


def test_a_model_against_itself_is_calibrated_as_alone() -> None:
    vectors, names = people(60, 4)
    alone, paired = calibrate(vectors, names), calibrate(vectors, names, templates=vectors)
    assert paired.impostors == 2 * alone.impostors
    for one, two in zip(alone.rows, paired.rows, strict=False):
        assert two.threshold == pytest.approx(one.threshold, abs=1e-5)
        assert two.ci95 == pytest.approx(one.ci95, rel=0.02)


def test_offsets_of_both_templates_are_part_of_the_score() -> None:
    """A kind whose strangers are alike gets lower scores, within the kind and with others, and the rate holds again."""
    vectors, names = people(80, 3)
    person = np.array([int(name[1:]) for name in names])
    offsets = np.where(person < 40, -0.1, 0.02).astype(np.float32)
    left, right = np.triu_indices(len(person), 1)
    scores = (vectors @ vectors.T)[left, right] + offsets[left] + offsets[right]
    other = person[left] != person[right]
    found = calibrate(vectors, names, offsets=offsets)
    plain = calibrate(vectors, names)
    for row, before in zip(found.rows, plain.rows, strict=True):
        assert np.mean(scores[other] >= row.threshold) == pytest.approx(row.fmr, rel=0.01)
        assert row.threshold < before.threshold
    across = calibrate(vectors, names, offsets=offsets, templates=vectors, template_offsets=offsets)
    assert across.rows[0].threshold == pytest.approx(found.rows[0].threshold, abs=1e-5)


def test_the_fitted_tail_goes_on_from_the_last_counted_threshold() -> None:
    found = calibrate(*people(150, 4))
    thresholds = [row.threshold for row in (found.rows[-1], *found.tail)]
    assert thresholds == sorted(thresholds)
    assert found.tail[0].fmr == pytest.approx(found.rows[-1].fmr * 10**-0.5)
    assert found.tail[-1].fmr == pytest.approx(1e-12)
    assert all(row.ci95[0] <= row.fmr <= row.ci95[1] for row in found.tail)
    table = ThresholdTable(found.rows, found.tail)
    far = table.for_gallery(found.rows[-1].fmr, 1000)
    assert far.basis == "extrapolated"
    assert far.ci95 is not None
    assert thresholds[0] < far.value < thresholds[-1]
