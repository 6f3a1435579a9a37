"""Say who stands before a camera, and whenever that changes.

    pip install ./deploy/client opencv-python     # in a checkout of Facet
    FACET_KEY=facet_... python webcam.py --address http://127.0.0.1:8000

Frames that come while the service decides are passed over: what is sent is always the newest. Where the service is
busy, fails or is away, this says so and goes on. A camera is a number, a file or an address that OpenCV can open.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator

import cv2
from facet_client import Facet, FacetError, Problem, errors
from facet_client.replies import Identification


def frames(camera: str, every: float) -> Iterator[bytes]:
    """Yield a JPEG of what the camera sees, at most one in `every` seconds, until it ends."""
    capture = cv2.VideoCapture(int(camera) if camera.isdecimal() else camera)
    if not capture.isOpened():
        raise SystemExit(f"the camera {camera} cannot be opened")
    next_time = time.monotonic()
    try:
        while True:
            there, picture = capture.read()
            if not there:
                return
            if time.monotonic() < next_time:
                continue
            next_time = time.monotonic() + every
            yield cv2.imencode(".jpg", picture)[1].tobytes()
    finally:
        capture.release()


def name_of(answer: Identification) -> str:
    """Say who is in a picture, for people."""
    (face,) = answer.faces
    if face.decision == "match":
        return face.candidates[0].subject
    return "somebody unknown" if face.decision == "no_match" else "one of several who look alike"


def main() -> None:
    """Ask about frame after frame, and print each change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="http://127.0.0.1:8000")
    parser.add_argument("--collection", default="default")
    parser.add_argument("--camera", default="0", help="number, file or address")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two frames that are sent")
    arguments = parser.parse_args()
    before = ""
    with Facet(arguments.address, os.environ.get("FACET_KEY")) as facet:
        for frame in frames(arguments.camera, arguments.every):
            try:
                now = name_of(facet.identify(frame, collection=arguments.collection, top_k=1))
            except errors.NoFace:
                now = "nobody"
            except (errors.Busy, errors.ServiceFailed):
                now = "no answer"
            except Problem as problem:
                raise SystemExit(str(problem)) from None
            except FacetError:
                now = "no answer"
            if now != before:
                print(now, flush=True)
            before = now


if __name__ == "__main__":
    main()
