"""Whose embedding space a run's student lives in."""

from __future__ import annotations

import json

from training.engine.checkpoint import Checkpoint


def teacher_space(checkpoint: Checkpoint) -> str | None:
    """The digest of the one teacher whose embedding the student regresses without an adapter; None otherwise.

    Such a student's templates can be compared with the teacher's. Any adapter, selection or label-only training makes
    a space of its own.
    """
    recipe = json.loads(checkpoint.recipe)
    names = {
        term["target"]["teacher"]
        for term in recipe.get("terms", ())
        if term["tap"] == "embedding"
        and term["adapter"]["kind"] == "identity"
        and term["target"]["kind"] == "identity"
        and term["target"].get("tap") in (None, "embedding")
        and term["distance"]["kind"] in ("cosine", "mse")
    }
    if len(names) != 1:
        return None
    digest = checkpoint.facts.get("teachers", {}).get(names.pop())
    return str(digest) if digest is not None else None
