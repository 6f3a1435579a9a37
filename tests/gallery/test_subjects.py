"""Subjects made without a face, erased all at once, and their faces on numbered pages."""

from __future__ import annotations

import pytest

from service.gallery import errors
from service.gallery.gallery import Gallery
from tests.gallery.test_gallery import VECTORS, A, face, gallery

__all__ = ["gallery"]


def test_a_subject_is_made_without_a_face(gallery: Gallery) -> None:
    made = gallery.create_subject("main", "Ann")
    assert (made.name, made.faces) == ("Ann", 0)
    assert gallery.has_subject("main", "Ann")
    with pytest.raises(errors.SubjectExists):
        gallery.create_subject("main", "Ann")
    with pytest.raises(errors.NameInvalid):
        gallery.create_subject("main", " ")
    with pytest.raises(errors.CollectionNotFound):
        gallery.create_subject("none", "Ann")
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    assert gallery.subject("main", "Ann").id == made.id


def test_all_subjects_are_erased_and_the_collection_stays(gallery: Gallery) -> None:
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    gallery.create_subject("main", "Bob")
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
    pages = [gallery.numbered_page("main", number, 2) for number in range(4)]
    assert [[each.id for each in page] for page, _ in pages] == [ids[:2], ids[2:4], ids[4:], []]
    assert {total for _, total in pages} == {5}
    of_bob, total = gallery.numbered_page("main", 0, 10, "Bob")
    assert ([each.id for each in of_bob], total) == (ids[3:], 2)
    assert gallery.numbered_page("main", 0, 10, "nobody") == ([], 0)
    assert [each.id for each in gallery.faces_of("main", ["f4", "f0", "none"])] == ["f0", "f4"]
