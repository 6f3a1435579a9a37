"""The routes, by what they serve."""

from __future__ import annotations

from service.api.routes import (
    audit,
    backfill,
    collections,
    decision_log,
    decisions,
    detection,
    faces,
    keys,
    models,
    roles,
    subjects,
)

ROUTERS = (
    decisions.router,
    detection.router,
    collections.router,
    subjects.router,
    faces.router,
    models.router,
    roles.router,
    decision_log.router,
    backfill.router,
    keys.router,
    audit.router,
)
"""Those that ask for a key."""
