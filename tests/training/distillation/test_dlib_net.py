import dlib
import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.align import CANONICAL_LANDMARKS
from training.data.augment import Augment, augment
from training.distillation.dlib_net import MEAN_FACE, DlibNet, chip_warp, cut_chips, find_weights
from training.distillation.dlib_weights import read_layers
from training.errors import TeacherMissing


def test_the_chip_holds_the_landmarks_where_dlib_puts_them() -> None:
    warp = chip_warp()
    moved = CANONICAL_LANDMARKS @ warp[:, :2].T + warp[:, 2]
    wanted = (MEAN_FACE + 0.25) / 1.5 * 150
    assert np.abs(moved - wanted).max() < 3, "two templates of a face differ by a few pixels of 150"
    corners = np.array([[0, 0], [150, 150]]) - warp[:, 2]
    inside = corners @ np.linalg.inv(warp[:, :2]).T
    assert inside.min() > -2
    assert inside.max() < 132, "but for a few rows below, which repeat the border"


def test_one_person_is_nearer_to_himself_than_to_another(faces: NDArray[np.uint8]) -> None:
    net = DlibNet()
    varied, _ = augment(faces[:2], Augment(shift=2, light=0.2, rotate=4), np.random.default_rng(0))
    vectors = net.embed(np.concatenate([faces[:2], varied]))
    assert vectors.shape == (4, net.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    scores = vectors @ vectors.T
    # dlib's own rule is a distance below 0.6 between vectors of length about 1.4, which is a cosine above about 0.91
    assert min(scores[0, 2], scores[1, 3]) > 0.93
    assert scores[0, 1] < 0.91


def test_it_gives_what_dlib_itself_gives(faces: NDArray[np.uint8]) -> None:
    published = dlib.face_recognition_model_v1(str(find_weights()))
    wanted = np.array(published.compute_face_descriptor(list(cut_chips(faces[:3], chip_warp()))))
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(DlibNet().embed(faces[:3]), wanted, atol=1e-5)


def test_a_file_that_is_not_dlibs_network_is_refused() -> None:
    whole = find_weights().read_bytes()
    for data in (b"", b"nothing of the kind", whole[: len(whole) // 2], whole[:-10_000]):
        with pytest.raises(TeacherMissing, match="dlib's network cannot be read"):
            read_layers(data)
