"""The routes of CompreFace's API, by its services."""

from __future__ import annotations

from service.compreface.routes import detection, embeddings, faces, recognition, subjects, verification

ROUTERS = (
    subjects.router,
    faces.router,
    recognition.router,
    verification.router,
    detection.router,
    embeddings.router,
)
