"""Subjects: made, listed, renamed or merged, and erased with their faces."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import Depends, Request

from service.api.http.request_context import context_of
from service.api.route_declarations import body
from service.api.services import ServicesDep
from service.compreface import replies
from service.compreface.requests import SubjectRequest
from service.compreface.route import Service, router_of, serves
from service.gallery import queries
from service.gallery.changes import subjects
from service.gallery.changes.reassignment import merge_subjects
from service.keys import Scope
from service.observation import Reassignment

router = router_of("subjects")

Reader = Annotated[Service, Depends(serves(Scope.READ))]
Enroller = Annotated[Service, Depends(serves(Scope.ENROL))]
Eraser = Annotated[Service, Depends(serves(Scope.DELETE))]
SubjectBody = Annotated[SubjectRequest, Depends(body(SubjectRequest, forms=False))]
AT_ONCE = 1000


@router.post("/recognition/subjects", status_code=201)
def create_subject(
    request: Request, services: ServicesDep, service: Enroller, fields: SubjectBody
) -> replies.SubjectName:
    """Make a subject without a face."""
    person = services.gallery.change(
        partial(subjects.create_subject, collection=service.collection, name=fields.subject)
    )
    context_of(request.scope).target = person.id
    return replies.SubjectName(subject=person.name)


@router.get("/recognition/subjects/", include_in_schema=False)
@router.get("/recognition/subjects")
def list_subjects(services: ServicesDep, service: Reader) -> replies.SubjectNames:
    """The names of all subjects, oldest first."""
    names: list[str] = []
    cursor: str | None = None
    while True:
        page = services.gallery.subjects(service.collection, cursor, AT_ONCE)
        names += [subject.name for subject in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return replies.SubjectNames(subjects=names)


@router.put("/recognition/subjects/{subject}")
def rename_subject(
    request: Request, services: ServicesDep, service: Enroller, subject: str, fields: SubjectBody
) -> replies.Updated:
    """Rename a subject. Where another has the new name already, that one gets its faces."""
    gallery, collection = services.gallery, service.collection
    if fields.subject == subject:
        return replies.Updated(updated=False)
    if gallery.database.read(partial(queries.has_subject, collection=collection, name=fields.subject)):
        keyring = services.settings.storage.keyring
        merger = gallery.change(
            partial(merge_subjects, keyring=keyring, collection=collection, subject=fields.subject, other=subject)
        )
        context_of(request.scope).target = merger.subject.id
        event = Reassignment("merge_subjects", merger.merged, merger.subject.id, merger.faces)
        services.publish(request, event, collection)
    else:
        context_of(request.scope).target = gallery.update_subject(collection, subject, fields.subject).id
    return replies.Updated(updated=True)


@router.delete("/recognition/subjects/{subject}")
def delete_subject(request: Request, services: ServicesDep, service: Eraser, subject: str) -> replies.SubjectName:
    """Erase a subject with its faces."""
    services.gallery.delete_subject(service.collection, subject, services.noting(request, service.collection))
    return replies.SubjectName(subject=subject)


@router.delete("/recognition/subjects/", include_in_schema=False)
@router.delete("/recognition/subjects")
def delete_subjects(request: Request, services: ServicesDep, service: Eraser) -> replies.Deleted:
    """Erase all subjects with their faces."""
    _, gone = services.gallery.delete_subjects(service.collection, services.noting(request, service.collection))
    return replies.Deleted(deleted=gone)
