"""A search from coarse to fine: faces are found small, then looked at closely one by one.

A view of half the size costs a quarter. So a photograph is seen at halved sizes, the smallest first, and at larger ones
only for what could still be there; and each face that matters gets its box and its landmarks from one look at a cut-out
of a fixed size round it, held upright whichever way the head is turned. Two networks may share the work: one finds
faces and scores them, the other places boxes and landmarks in the close look. Where nothing is found, a last
look is for a face that fills the photograph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from service.face.detection.close_up import find_close_up
from service.face.detection.detection import Detection, covered, overlap
from service.face.detection.network import IOU, DetectorNetwork
from service.face.detection.view import View, cut_out, halvings

RIVAL_SHARE = 0.2  # a second face smaller than this share of the first is a passer-by, not a rival
NEARLY = 0.6  # a glimpse errs about a face's area: what shows so much of the area that matters may have it
SAME = 0.6  # of two boxes that share so much of the smaller one, one is no face
OTHER_TURNS = (180.0, 90.0, 270.0, 45.0, 315.0, 135.0, 225.0)  # the likely ones first
LEAN = 2.0  # a head's tilt over what its landmarks tell of it
OVERLAP = 256  # pixels that neighbouring tiles share: larger faces are found in the next smaller view
MOST_LOOKS = 3  # at a tilted head, until it is held upright


class Seek(StrEnum):
    """What is looked for: the face a photograph is of, the same and whether it is the only one, or all faces."""

    PROMINENT = "prominent"
    SINGLE = "single"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class DetectionLimits:
    """How faces are looked for. Scores are the detector's; sides and sizes are the longer ones, in pixels.

    `min_score`: what scores less both in the view and from close by is dropped. `glimpse_score`: what scores so
    much in a view is looked at closely. `upright_score`: no head on its side or upside down scores so much, so that
    it needs no other look. `placed_score`: what a placing network scores so much it places, and it is a face.
    `turned_score`: what shows only so turned has to score so much, and smaller faces than `turned_size` are not
    looked at from other sides. `smallest_side`: of the first view. `usual_side`: the largest view is about so
    large, where a face was found. `largest_side`: the same where none was, or all are sought; larger photographs
    are seen at half their size at least. `turned_side`: of the largest view that is also seen turned.
    `certain_size`: faces of this size in a view are seen there for certain. `close_side`, `close_size`: of the
    cut-out for the close look and of the face in it; small faces are enlarged `most_enlarged` times at most.
    `most_tilt`: degrees by which a head may seem tilted there. `tile_side`: larger views are seen in tiles.
    """

    min_score: float = 0.75
    glimpse_score: float = 0.5
    upright_score: float = 0.905
    turned_score: float = 0.85
    placed_score: float = 0.7
    turned_size: float = 28.0
    smallest_side: int = 256
    usual_side: int = 640
    largest_side: int = 1600
    turned_side: int = 480
    certain_size: float = 20.0
    close_side: int = 160
    close_size: float = 80.0
    most_enlarged: float = 1.25
    most_tilt: float = 5.0
    tile_side: int = 1024


class Search:
    """The search of one photograph, RGB uint8 (H, W, 3)."""

    def __init__(
        self,
        finder: DetectorNetwork,
        placer: DetectorNetwork,
        limits: DetectionLimits,
        pixels: NDArray[np.uint8],
        seek: Seek,
    ) -> None:
        self._finder, self._placer, self._limits, self._seek = finder, placer, limits, seek
        self._views = halvings(pixels, limits.smallest_side)
        self._height, self._width = pixels.shape[:2]
        self._faces: list[Detection] = []

    def find(self) -> list[Detection]:
        """Faces, the most prominent first. Raises: InferenceFailed."""
        for view in self._upright_views():
            for tile in view.tiles(self._limits.tile_side, OVERLAP):
                self._inspect(tile)
            if self._faces and self._is_settled(view):
                break
        else:
            self._turn()
            self._see_whole()
        return sorted(self._faces, key=self._prominence, reverse=True)

    def _upright_views(self) -> Iterator[View]:
        """The photograph at rising sizes, up to the largest that is worth its time."""
        largest = self._limits.largest_side
        for view in reversed(self._views):
            if self._seek is not Seek.ALL and view.side > largest:
                return
            yield view
            if view.side >= largest and view.zoom >= 0.5:
                return

    def _is_settled(self, view: View) -> bool:
        """Whether a larger view than this has nothing to add."""
        if self._seek is Seek.ALL:
            return False
        if view.zoom * np.sqrt(self._area_that_matters()) >= self._limits.certain_size:
            return True  # what matters would have been seen
        return view.side >= self._limits.usual_side

    def _area_that_matters(self) -> float:
        """A face of less area could not be what is sought, beside those that were found."""
        if self._seek is Seek.ALL or not self._faces:
            return 0.0
        area = max(map(self._prominence, self._faces))
        return min(area, RIVAL_SHARE * max(face.area for face in self._faces)) if self._seek is Seek.SINGLE else area

    def _turn(self) -> None:
        """See smaller views on their sides and upside down, until there is a face."""
        for view in reversed(self._views):
            for quarters in (1, 3, 2):
                if self._faces or view.side > self._limits.turned_side:
                    return
                self._inspect(view.turned(quarters), 90.0 * quarters)

    def _see_whole(self) -> None:
        """See the photograph without a rim, where there is no face yet: one may fill it. Such a face is in doubt."""
        if not self._faces:
            least, enlarged = self._limits.min_score, self._limits.most_enlarged
            face = find_close_up(self._finder, self._placer, self._views, least, enlarged)
            self._faces += [replace(face, score=least)] if face is not None else []

    def _inspect(self, view: View, roll: float = 0.0) -> None:
        """Add the faces of one view, which heads rolled by `roll` degrees stand upright in."""
        glimpses = [view.place(seen) for seen in self._finder.see(view.pixels, self._limits.glimpse_score)]
        for glimpse in sorted(glimpses, key=self._prominence, reverse=True):
            if _is_among(glimpse, self._faces):
                continue
            if glimpse.area >= NEARLY * self._area_that_matters():
                face = self._look(glimpse, roll)
            else:
                face = glimpse if glimpse.score >= self._limits.min_score else None
            if face is not None and not _is_among(face, self._faces):
                self._faces.append(face)

    def _look(self, glimpse: Detection, roll: float) -> Detection | None:
        """The face that was glimpsed, from close by and held upright; None when it is none.

        Of a face that is in doubt, from the side for example, both networks are heard: what the finding one glimpses
        and the placing one affirms is a face, though a doubtful one.
        """
        face, roll = self._judge(glimpse, roll)
        if face is None and glimpse.score < self._limits.turned_score:
            return None
        placed, roll = self._place(face or glimpse, roll)
        score = max(glimpse.score, face.score if face else 0.0)
        if score < self._limits.upright_score and (again := self._look_closely(self._finder, placed, roll)):
            score = max(score, again.score)
        if self._placer is not self._finder and placed.score >= self._limits.placed_score:
            score = max(score, self._limits.min_score)
        return replace(placed, score=score) if score >= self._limits.min_score else None

    def _judge(self, glimpse: Detection, roll: float) -> tuple[Detection | None, float]:
        """What is seen of a glimpse from close by, if it is in doubt, and the roll of the head.

        A head that stands on end is found as well, its landmarks in the wrong order, but never scores as an upright one
        does. So what is in doubt is seen from other sides, until it does.
        """
        if glimpse.score >= self._limits.upright_score:
            return glimpse, roll
        face, start = self._look_closely(self._finder, glimpse, roll), roll
        for turn in OTHER_TURNS if glimpse.size >= self._limits.turned_size else ():
            if face is not None and face.score >= self._limits.upright_score:
                break
            other = self._look_closely(self._finder, glimpse, start + turn)
            if other is not None and other.score >= max(self._limits.turned_score, face.score if face else 0.0):
                face, roll = other, start + turn
        return face, roll

    def _place(self, face: Detection, roll: float) -> tuple[Detection, float]:
        """Place a face seen as if rolled by `roll`; return it, and how far it is rolled.

        Its box is as the first look shows it, its landmarks as the last one does, with the head held upright. Landmarks
        lean towards the upright order: one look at a tilted head tells less than half of its tilt.
        """
        first = face = self._locate(face, roll)
        for _ in range(MOST_LOOKS):
            tilt = (face.roll - roll + 180.0) % 360.0 - 180.0
            if abs(tilt) <= self._limits.most_tilt:
                break
            roll += LEAN * tilt
            face = self._locate(face, roll)
        return replace(face, box=first.box), roll

    def _locate(self, face: Detection, roll: float) -> Detection:
        """A face as the placing network shows it; as the finding one does, where the other is in doubt."""
        placed = self._look_closely(self._placer, face, roll)
        if self._placer is self._finder or (placed is not None and placed.score >= self._limits.placed_score):
            return placed or face
        return self._look_closely(self._finder, face, roll) or placed or face

    def _look_closely(self, network: DetectorNetwork, glimpse: Detection, roll: float) -> Detection | None:
        """What a cut-out round a glimpse shows of it, held so that a head rolled by `roll` degrees stands upright."""
        side = self._limits.close_side
        reach = max(glimpse.size * side / self._limits.close_size, side / self._limits.most_enlarged)
        view = cut_out(self._views, glimpse.centre, reach, side, roll)
        for seen in network.see(view.pixels, self._limits.glimpse_score):
            face = view.place(seen)
            if overlap(np.array(glimpse.box), np.array([face.box]))[0] > IOU:
                return face
        return None

    def _prominence(self, face: Detection) -> float:
        """Area, weighed down towards the picture's edge: the subject of a photograph is large and central."""
        x, y = face.centre
        dx, dy = x / self._width - 0.5, y / self._height - 0.5
        return face.area * float(np.exp(-6.0 * (dx * dx + dy * dy)))


def _is_among(face: Detection, others: list[Detection]) -> bool:
    if not others:
        return False
    box, boxes = np.array(face.box), np.array([other.box for other in others])
    return bool((overlap(box, boxes) > IOU).any() or (covered(box, boxes) > SAME).any())
