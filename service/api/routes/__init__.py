"""The routes, by what they serve."""

from __future__ import annotations

from service.api.routes import audit, backfill, decision_log, decisions, faces, gallery, keys, models, roles

ROUTERS = (
    decisions.router,
    faces.router,
    gallery.router,
    models.router,
    roles.router,
    decision_log.router,
    backfill.router,
    keys.router,
    audit.router,
)
"""Those that ask for a key."""
