"""Fifty who enrol the same person at the same instant."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from service.database.schema import new_id
from service.gallery import errors
from service.gallery.gallery import Gallery
from service.gallery.records import DuplicateCheck, DuplicatePolicy, NewFace
from tests.gallery.vectors import Matrix


def admitted(gallery: Gallery, digest: str, vectors: Matrix) -> int:
    """How many got into `main` with `duplicate=reject`, each under a name of its own. `vectors` are of one person."""
    barrier = threading.Barrier(50)
    check = DuplicateCheck(DuplicatePolicy.REJECT, digest, 0.4)

    def enrol(number: int) -> bool:
        barrier.wait()
        face = NewFace(new_id(), {digest: vectors[number % len(vectors)]})
        try:
            gallery.enroll("main", f"name{number}", [face], duplicate=check)
        except errors.DuplicateSubject:
            return False
        return True

    with ThreadPoolExecutor(50) as pool:
        return sum(pool.map(enrol, range(50)))
