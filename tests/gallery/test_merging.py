"""Subjects made, merged and erased all at once."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.database.errors import TemplateDamaged
from service.database.schema import templates
from service.gallery import errors
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.records import Idempotency
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


def test_merged_subjects_are_found_as_one_also_after_a_restart(tmp_path: Path) -> None:
    once = Idempotency("key:a", "k", "f")
    with closing(open_embedded(tmp_path)) as gallery:
        gallery.create_collection("main")
        gallery.enroll("main", "Ann", [face(VECTORS[0], id_="a1"), face(VECTORS[1], id_="a2")], idempotency=once)
        gallery.enroll("main", "Anna", [face(VECTORS[2], id_="b1")])
        merged = gallery.merge_subjects("main", "Ann", "Anna")
        assert (merged.name, merged.faces) == ("Anna", 3)
        assert not gallery.has_subject("main", "Ann")
        with pytest.raises(errors.EnrolmentErased):
            gallery.replay(once)
        found_as_one(gallery)
    with closing(open_embedded(tmp_path)) as gallery:
        found_as_one(gallery)


def found_as_one(gallery: Gallery) -> None:
    hits = gallery.search("main", A, VECTORS[:2], 5)
    assert [[(hit.subject, hit.face_id) for hit in ranked] for ranked in hits] == [[("Anna", "a1")], [("Anna", "a2")]]
    assert gallery.verify().sound


def test_a_subject_merged_with_itself_or_with_nobody_stays(gallery: Gallery) -> None:
    gallery.enroll("main", "Ann", [face(VECTORS[0])])
    assert gallery.merge_subjects("main", "Ann", "Ann").faces == 1
    with pytest.raises(errors.SubjectNotFound):
        gallery.merge_subjects("main", "Ann", "nobody")
    with pytest.raises(errors.SubjectNotFound):
        gallery.merge_subjects("main", "nobody", "Ann")
    assert gallery.subject("main", "Ann").faces == 1


def test_a_damaged_template_is_not_carried_over(gallery: Gallery) -> None:
    gallery.enroll("main", "Ann", [face(VECTORS[0], id_="a1")])
    gallery.enroll("main", "Anna", [face(VECTORS[1], id_="b1")])
    row = gallery.database.read(lambda connection: connection.scalar(sa.select(sa.func.min(templates.c.row))))
    damage = sa.update(templates).where(templates.c.row == row).values(checksum=b"0" * 16)
    gallery.database.write(lambda connection: connection.execute(damage))
    with pytest.raises(TemplateDamaged):
        gallery.merge_subjects("main", "Ann", "Anna")
    assert gallery.subject("main", "Ann").faces == 1


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
