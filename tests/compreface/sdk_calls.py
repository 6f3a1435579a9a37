"""Every call of the Python SDK of CompreFace, unchanged, against a server.

Run in an environment that has the package `compreface-sdk`; prints what each call answered as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from compreface import CompreFace  # type: ignore[import-not-found]


def call_everything(domain: str, port: str, key: str, one: str, other: str) -> dict[str, object]:
    """Make the calls in an order in which each has something to answer. `one` and `other` are files of portraits."""
    options = {"limit": 0, "det_prob_threshold": 0.8, "prediction_count": 2, "status": True}
    sdk = CompreFace(domain, port, {**options, "face_plugins": "calculator,landmarks,age,gender,mask"})
    recognition, verification = sdk.init_face_recognition(key), sdk.init_face_verification(key)
    detection = sdk.init_face_detection(key)
    faces, subjects = recognition.get_face_collection(), recognition.get_subjects()
    as_bytes = Path(one).read_bytes()
    said: dict[str, object] = {}
    said["subjects.add"] = subjects.add("Edna")
    said["face_collection.add"] = added = faces.add(one, "Edna")
    said["face_collection.add, of bytes"] = second = faces.add(as_bytes, "Gwen", {"det_prob_threshold": 0.5})
    said["subjects.list"] = subjects.list()
    said["face_collection.list"] = faces.list()
    said["recognition.recognize"] = recognition.recognize(one)
    said["recognition.recognize, of bytes"] = recognition.recognize(as_bytes, {"limit": 1})
    said["face_collection.verify"] = faces.verify(other, added["image_id"])
    said["verification.verify"] = verification.verify(one, one)
    said["verification.verify, of another"] = verification.verify(one, other, {"limit": 1})
    said["detection.detect"] = detection.detect(one)
    said["subjects.update"] = subjects.update("Edna", "Edna Moss")
    said["face_collection.delete"] = faces.delete(second["image_id"])
    said["face_collection.delete_all"] = faces.delete_all("Gwen")
    said["subjects.delete"] = subjects.delete("Edna Moss")
    said["subjects.delete, of nobody"] = subjects.delete("nobody")
    said["subjects.delete_all"] = subjects.delete_all()
    return said


if __name__ == "__main__":
    print(json.dumps(call_everything(*sys.argv[1:])))
