import numpy as np

from training.papers.measures.benchmark import Faces, measure_points


def test_landmark_error_by_hand() -> None:
    wanted = np.tile(np.float32([[40, 60], [80, 60], [60, 80], [50, 100], [70, 100]]), (3, 1, 1))
    given = wanted.copy()
    given[0, :, 0] += 2  # two of forty pixels between the eyes
    given[1, 0] += (12, 16)  # twenty pixels at one of five points
    given[2, :, 1] -= 8
    drawn = np.array([[1, 1], [2, 0], [0, 1]])
    faces = Faces(np.zeros((3, 128, 128, 3), np.uint8), np.array([0, 0, 1]), drawn)
    found = measure_points(given, wanted, faces)
    np.testing.assert_allclose(found["nme"], [(0.05 + 0.1 + 0.2) / 3, 0.075, 0.2], atol=1e-6)
    np.testing.assert_allclose(found["failures"], [1 / 3, 0, 1])
