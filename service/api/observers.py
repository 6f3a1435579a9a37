"""What is noted of decisions: metrics, and the audit log, which holds no biometric data."""

from __future__ import annotations

from starlette.requests import Request

from service import engine
from service.api.http.auth import Caller
from service.api.http.request_context import trace_of
from service.api.services import Services
from service.database.audit_log import AuditEntry
from service.face.errors import NoFace
from service.pipeline import FaceFound
from service.rollout.roles import Assignment


def choose_model(request: Request, services: Services, name: str | None, collection: str | None = None) -> None:
    """Note which model answers, and in which collection it decides or enrols: '' for two images.

    Raises: ModelNotFound, ChampionUnavailable.
    """
    trace = trace_of(request.scope)
    trace.model = services.engine.embedder(name).manifest.identity
    trace.collection = collection


def note_faces(services: Services, route: str, faces: tuple[FaceFound, ...], seen: int) -> None:
    """Note how many faces an image showed, and why those looked at are unfit."""
    services.metrics.faces(route, seen)
    for face in faces:
        services.metrics.unfit(str(reason) for reason in face.quality.reasons)


def note_acquired(request: Request, services: Services, faces: tuple[FaceFound, ...]) -> None:
    """Note that faces were acquired to decide on or to enrol, and how good they are."""
    trace = trace_of(request.scope)
    collection = trace.collection or ""
    services.metrics.acquisition(trace.model, collection, "acquired" if faces else NoFace.code)
    for face in faces:
        services.metrics.quality(trace.model, collection, face.quality)


def note_verification(
    request: Request, services: Services, caller: Caller, result: engine.Verification, collection: str | None
) -> None:
    """Note one verification."""
    model = result.model.manifest.identity
    outcome = "match" if result.matched else "no_match"
    looked_at = (result.probe, result.reference) if isinstance(result.reference, FaceFound) else (result.probe,)
    note_faces(services, "verify", looked_at, result.probe_faces)
    note_acquired(request, services, looked_at)
    services.metrics.decision("verify", model, collection or "", outcome, result.score)
    _audit(request, services, caller, "verify", outcome, collection, model, result.threshold.value)


def note_identification(
    request: Request, services: Services, caller: Caller, result: engine.Identification, collection: str
) -> None:
    """Note one identification, face by face."""
    model = result.model.manifest.identity
    faces = tuple(found.face for found in result.faces)
    note_faces(services, "identify", faces, len(faces))
    note_acquired(request, services, faces)
    for found in result.faces:
        score = found.candidates[0].score if found.candidates else None
        services.metrics.decision("identify", model, collection, found.outcome, score)
        _audit(request, services, caller, "identify", found.outcome, collection, model, result.threshold.value)


def note_enrolment(
    request: Request, services: Services, caller: Caller, images: tuple[engine.ImageOutcome, ...], collection: str
) -> None:
    """Note one enrolment, image by image."""
    for image in images:
        found = () if image.found is None else (image.found,)
        note_faces(services, "enroll", found, len(found))
    kept = sum(image.face_id is not None for image in images)
    note_acquired(request, services, tuple(image.found for image in images if image.found is not None))
    _audit(request, services, caller, "enroll", f"{kept} of {len(images)}", collection)


def note_erasure(request: Request, services: Services, caller: Caller, kind: str, collection: str) -> None:
    """Note that something was erased; the receipt says what."""
    _audit(request, services, caller, f"delete_{kind}", "done", collection)


def note_roles(request: Request, services: Services, caller: Caller, roles: Assignment) -> None:
    """Note that models changed their roles."""
    _audit(request, services, caller, f"roles_{roles.action}", "done", None, roles.champion)


def note_templates(
    request: Request, services: Services, caller: Caller, action: str, digest: str, collection: str | None
) -> None:
    """Note that templates of a model are to be made, or were dropped."""
    _audit(request, services, caller, action, "done", collection, digest)


def _audit(
    request: Request,
    services: Services,
    caller: Caller,
    action: str,
    outcome: str,
    collection: str | None,
    model: str | None = None,
    threshold: float | None = None,
) -> None:
    services.audit_log.append(
        AuditEntry(
            request_id=trace_of(request.scope).request_id,
            principal=caller.principal,
            action=action,
            outcome=outcome,
            collection=collection,
            model=model,
            threshold=threshold,
        )
    )
