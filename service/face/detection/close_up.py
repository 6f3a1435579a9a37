"""A picture that one face fills: cut at hair and chin, or cut out by another program.

The close look at a face shows what lies round it, black where the picture ends. Round a face that fills its picture
there is nothing but that rim, and a face from the side or under a mask is lost in it. So such a picture is seen as it
is, without a rim, at a few sizes and mirrored, and both networks are heard: what they score enough between them in one
of these looks is a face.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from service.face.detection.detection import Detection
from service.face.detection.network import DetectorNetwork
from service.face.detection.view import View, whole

SIDES = (96, 128, 80)  # a face of such a size is one that the networks know best
FILLS = 0.5  # the least size of a face over the longer side of the picture


def find_close_up(
    finder: DetectorNetwork, placer: DetectorNetwork, views: Sequence[View], least: float, most_enlarged: float
) -> Detection | None:
    """Find the face that fills a photograph.

    Args:
        finder: The network that finds faces and scores them.
        placer: The network that places box and landmarks, of whose score the mean with the finder's is taken.
        views: The photograph and its halvings.
        least: The mean of both scores in one look, 0..1, from which on it is a face.
        most_enlarged: How many times the photograph is enlarged at most.

    Returns:
        The face, with the best mean of two scores as its own, or None.

    Raises:
        InferenceFailed: A network gave no finite number.
    """
    looks = [_look(finder, placer, view, least) for view in _looks(views, most_enlarged)]
    return max((face for face in looks if face is not None), key=lambda face: face.score, default=None)


def _looks(views: Sequence[View], most_enlarged: float) -> Iterator[View]:
    for side in SIDES:
        if side <= most_enlarged * views[0].side:
            view = whole(views, side)
            yield view
            yield view.mirrored()


def _look(finder: DetectorNetwork, placer: DetectorNetwork, view: View, least: float) -> Detection | None:
    """The face as the placing network sees it in one view, if both score it `least` on average."""
    glimpse = _filling(finder, view, least)
    placed = _filling(placer, view, least) if glimpse is not None else None
    if glimpse is None or placed is None:
        return None
    score = (glimpse.score + placed.score) / 2
    return replace(view.place(placed), score=score) if score >= least else None


def _filling(network: DetectorNetwork, view: View, least: float) -> Detection | None:
    """The surest face that fills the view, of those that a score of 1 beside theirs could lift to `least`."""
    faces = network.see(view.pixels, max(0.0, 2 * least - 1))
    return next((face for face in faces if face.size >= FILLS * view.side), None)
