"""Subjects made without a face, erased all at once, and their faces on numbered pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest

from service.gallery import errors, queries
from service.gallery.changes import subjects
from service.gallery.gallery import Gallery
from service.gallery.records import Face, Subject
from tests.gallery.test_gallery import VECTORS, A, face, gallery

__all__ = ["gallery"]
T = TypeVar("T")


def make(gallery: Gallery, collection: str, name: str) -> Subject:
    return gallery.database.change(partial(subjects.create_subject, collection=collection, name=name))


def read(gallery: Gallery, query: Callable[..., T], **given: object) -> T:
    return gallery.database.read(partial(query, **given))


def page_of(gallery: Gallery, number: int, size: int, subject: str | None = None) -> tuple[list[Face], int]:
    return read(gallery, queries.numbered_faces, collection="main", subject=subject, number=number, size=size)


def test_a_subject_is_made_without_a_face(gallery: Gallery) -> None:
    made = make(gallery, "main", "Ann")
    assert (made.name, made.faces) == ("Ann", 0)
    assert read(gallery, queries.has_subject, collection="main", name="Ann")
    with pytest.raises(errors.SubjectExists):
        make(gallery, "main", "Ann")
    with pytest.raises(errors.NameInvalid):
        make(gallery, "main", " ")
    with pytest.raises(errors.CollectionNotFound):
        make(gallery, "none", "Ann")
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    assert gallery.subject("main", "Ann").id == made.id


def test_all_subjects_are_erased_and_the_collection_stays(gallery: Gallery) -> None:
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    make(gallery, "main", "Bob")
    gallery.create_collection("other")
    gallery.enroll("other", "Cid", [face(VECTORS[1])])
    receipt, gone = gallery.delete_subjects("main")
    assert (receipt.kind, receipt.faces, receipt.templates, gone) == ("subjects", 1, 1, 2)
    assert gallery.subjects("main").items == ()
    assert gallery.search("main", A, VECTORS[:1], 1) == [[]]
    assert gallery.search("other", A, VECTORS[1:2], 1)[0][0].subject == "Cid"


def test_faces_are_listed_by_numbered_pages(gallery: Gallery) -> None:
    ids = [f"f{number}" for number in range(5)]
    for number, id_ in enumerate(ids):
        gallery.enroll("main", "Ann" if number < 3 else "Bob", [face(VECTORS[number], id_=id_)])
    pages = [page_of(gallery, number, 2) for number in range(4)]
    assert [[each.id for each in page] for page, _ in pages] == [ids[:2], ids[2:4], ids[4:], []]
    assert {total for _, total in pages} == {5}
    of_bob, total = page_of(gallery, 0, 10, "Bob")
    assert ([each.id for each in of_bob], total) == (ids[3:], 2)
    assert page_of(gallery, 0, 10, "nobody") == ([], 0)
    some = read(gallery, queries.faces_of, collection="main", face_ids=["f4", "f0", "none"])
    assert [each.id for each in some] == ["f0", "f4"]
