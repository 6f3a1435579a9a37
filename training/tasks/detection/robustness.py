"""What damage to a picture costs a detector, beside what it costs its teacher.

The teacher looks at good pictures and says where the faces are; then both look at the same pictures spoiled, by a
generator that every picture seeds anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from service.face.session import ModelSession
from training.tasks.detection.corruptions import DAMAGES
from training.tasks.detection.evaluate import Question, Share, find_faces, same_face

Image = NDArray[np.uint8]


def survive(
    student: ModelSession, teacher: ModelSession, images: Iterable[Image], question: Question | None = None
) -> Mapping[str, tuple[Share, Share]]:
    """Measure by kind of damage the shares of faces that (student, teacher) still find at the operating score.

    The faces are those that the teacher finds in the good pictures at `reference_score`, of at least `side` pixels.
    """
    ask = question or Question()
    counts = {name: [0, 0, 0] for name in DAMAGES}
    for number, image in enumerate(images):
        faces = [face for face in find_faces(teacher, image, ask.reference_score) if face.box[3] >= ask.side]
        if not faces:
            continue
        for name, damage in DAMAGES.items():
            spoiled = damage(image, np.random.default_rng(number))
            for place, session in enumerate((student, teacher)):
                detections = find_faces(session, spoiled, ask.operating_score)
                counts[name][place] += sum(same_face(face, detections) is not None for face in faces)
            counts[name][2] += len(faces)
    return {name: (Share(mine, trials), Share(theirs, trials)) for name, (mine, theirs, trials) in counts.items()}
