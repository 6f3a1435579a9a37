"""Identification among distractors, worked by hand."""

import numpy as np
import pytest

from training.evaluation.openset import OpenSet
from training.papers.measures.identification import identify

PERSON = np.array([0, 0, 1, 1, 2, 3])
PARTS = OpenSet(references=np.array([0, 2]), mated=np.array([1, 3]), owner=np.array([0, 1]), nonmated=np.array([4, 5]))


def units(*degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


# two people at 0 and 90 degrees; their probes 10 and 30 degrees off; strangers 20 and 40 degrees off the second
VECTORS = units(0, -10, 90, 120, 110, 130)
NOBODY = np.empty((0, 2), np.float32)


def test_a_probe_is_found_where_it_is_nearest_and_above_the_threshold_of_strangers() -> None:
    everybody = np.ones((1, 4), np.int64)
    found = identify(VECTORS, PERSON, PARTS, NOBODY, everybody)
    assert found["rank-1"].tolist() == [1.0]
    # no stranger may pass at an FPIR of 0.1 of two, so the nearer one sets the threshold, at 20 degrees
    assert found["dir 0.1"].tolist() == [0.5]


def test_a_distractor_that_is_nearer_takes_the_probe() -> None:
    found = identify(VECTORS, PERSON, PARTS, units(121), np.ones((1, 4), np.int64))
    assert found["rank-1"].tolist() == [0.5]


def test_people_count_as_often_as_they_are_drawn() -> None:
    drawn = np.array([[3, 1, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
    found = identify(VECTORS, PERSON, PARTS, NOBODY, drawn)
    # without the stranger at 20 degrees the one at 40 sets the threshold
    assert found["dir 0.1"][:2] == pytest.approx([0.75, 1.0])
    assert np.isnan(found["rank-1"][2])
