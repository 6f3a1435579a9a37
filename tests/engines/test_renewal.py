"""Templates added to people enrolled before, counted and dropped, on every kind of gallery."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from service.database.encryption import Keyring
from service.database.schema import new_id
from service.gallery import template_coverage
from service.gallery.changes import template_update
from service.gallery.changes.reassignment import move_face
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from service.rollout.backfill.errors import ReembeddingRunning
from service.rollout.backfill.jobs import (
    DONE,
    Job,
    advance_job,
    claim_job,
    end_job,
    find_job,
    latest_jobs,
    list_jobs,
    release_jobs,
    start_job,
)
from tests.engines.conftest import KINDS, Places
from tests.gallery.vectors import people

pytestmark = pytest.mark.engines
OLD, NEW = "a" * 64, "b" * 64
PEOPLE = 12
MINUTE = timedelta(minutes=1)
VECTORS, OTHERS = people(PEOPLE, 1, 32), people(PEOPLE, 1, 24, seed=3)


@pytest.fixture(params=KINDS)
def gallery(request: pytest.FixtureRequest, places: Places) -> Iterator[Gallery]:
    """People of the old model in `main`; every second one with a crop, which is no picture here."""
    made = places(request.param)()
    made.create_collection("main", keep_crops=True)
    for number in range(PEOPLE):
        crop = b"crop" if number % 2 else None
        made.enroll("main", f"s{number}", [NewFace(new_id(), {OLD: VECTORS[number]}, crop=crop)])
    yield made
    made.close()


def claim(gallery: Gallery, job: Job, holder: str, lease: timedelta = MINUTE) -> Job:
    """The job in somebody's hands."""
    claimed = gallery.database.write(partial(claim_job, job_id=job.id, holder=holder, lease=lease))
    assert claimed is not None
    return claimed


def advance(gallery: Gallery, job: Job, made: dict[int, NDArray[np.float32]], reached: int) -> Job:
    """The job, advanced by its holder."""
    work = partial(
        advance_job, keyring=Keyring.empty(), job=job, new_templates=made, reached=reached, failed=0, lease=MINUTE
    )
    advanced = gallery.database.change_alone(work)
    assert advanced is not None
    return advanced


def test_a_job_is_one_holders_until_its_time_is_over(gallery: Gallery) -> None:
    job = gallery.database.write(partial(start_job, principal="test", model=NEW, collection="main", rate=5.0))
    with gallery.database.engine.connect() as connection:
        row, *_ = (crop.face_row for crop in template_update.crops_without(connection, NEW, "main", 0, 100))
    with ThreadPoolExecutor(8) as pool:
        tries = pool.map(
            lambda name: gallery.database.write(partial(claim_job, job_id=job.id, holder=name, lease=MINUTE)),
            "abcdefgh",
        )
        (won,) = [claimed for claimed in tries if claimed is not None]
    assert claim(gallery, job, won.holder or "", timedelta(0)).holder == won.holder, "one's own is claimed again"
    other = claim(gallery, job, "other")
    late = partial(advance_job, keyring=Keyring.empty(), job=won, new_templates={row: OTHERS[0]}, reached=row, failed=1)
    assert gallery.database.change_alone(partial(late, lease=MINUTE)) is None
    with gallery.database.engine.connect() as connection:
        assert find_job(connection, job.id) == other
    assert advance(gallery, other, {row: OTHERS[0]}, row).made == 1
    gallery.database.write(partial(release_jobs, holder="other"))
    assert claim(gallery, job, "third").reached == row
    gallery.database.write(partial(end_job, job_id=job.id, state=DONE))
    assert gallery.database.write(partial(claim_job, job_id=job.id, holder="third", lease=MINUTE)) is None


def test_a_job_advances_with_its_templates_and_ends(gallery: Gallery) -> None:
    job = gallery.database.write(partial(start_job, principal="test", model=NEW, collection="main", rate=5.0))
    assert (job.total, job.left) == (PEOPLE // 2, PEOPLE // 2)
    with pytest.raises(ReembeddingRunning):
        gallery.database.write(partial(start_job, principal="test", model=NEW, collection=None, rate=5.0))
    with gallery.database.engine.connect() as connection:
        kept = template_update.crops_without(connection, NEW, "main", 0, 100)
    rows = [crop.face_row for crop in kept]
    made = {row: OTHERS[number] for number, row in enumerate(rows[:4])}
    job = claim(gallery, job, "me")
    for _ in range(2):  # the second time nothing is lacking any more
        job = advance(gallery, job, made, rows[3])
    assert (job.made, job.reached, job.left) == (4, rows[3], 2)
    hits = gallery.search("main", NEW, OTHERS[:4], 1)
    assert [found[0].subject for found in hits] == ["s1", "s3", "s5", "s7"]
    with gallery.database.engine.connect() as connection:
        assert [crop.face_row for crop in template_update.crops_without(connection, NEW, "main", 0, 100)] == rows[4:]
        (found,) = template_coverage.cover(connection, NEW, [NEW])
    assert (found.faces, found.templates, found.from_crops) == (PEOPLE, 4, 2)
    assert (found.out_of_reach, found.to_be_seen) == (PEOPLE - 4, PEOPLE // 2)
    ended = gallery.database.write(partial(end_job, job_id=job.id, state=DONE))
    assert ended.ended_at is not None
    assert [each.id for each in list_jobs(gallery.database.engine).items] == [job.id]
    with gallery.database.engine.connect() as connection:
        assert latest_jobs(connection) == [find_job(connection, job.id)]
    assert gallery.verify().sound


def test_dropped_templates_leave_record_and_index_and_the_faces_stay(gallery: Gallery) -> None:
    dropped = []
    while some := gallery.database.change_alone(
        partial(template_update.drop_some, digest=OLD, collection="main", limit=5)
    ):
        dropped.append(some)
    assert dropped == [5, 5, 2]
    assert gallery.counts.templates("main", OLD) == 0
    with gallery.database.engine.connect() as connection:
        (found,) = template_coverage.cover(connection, OLD, [OLD])
    assert (found.faces, found.templates) == (PEOPLE, 0)


def test_a_sighting_serves_faces_without_a_crop(gallery: Gallery) -> None:
    subject = gallery.subject("main", "s0")
    with gallery.database.engine.connect() as connection:
        (row,) = template_update.faces_to_renew(connection, NEW, subject.id)
        assert template_update.faces_to_renew(connection, NEW, gallery.subject("main", "s1").id) == []
    add = partial(
        template_update.add_templates,
        keyring=Keyring.empty(),
        digest=NEW,
        new_templates={row: OTHERS[0], 10**9: OTHERS[1]},
    )
    assert gallery.database.change_alone(add) == 1, "the face that is not there is passed over"
    assert gallery.search("main", NEW, OTHERS[:1], 1)[0][0].subject == "s0"


def test_a_sighting_gives_nothing_to_a_face_that_went_to_somebody_else(gallery: Gallery) -> None:
    subject = gallery.subject("main", "s0")
    with gallery.database.engine.connect() as connection:
        (row,) = template_update.faces_to_renew(connection, NEW, subject.id)
    (face,) = gallery.faces("main", "s0").items
    add = partial(
        template_update.add_templates,
        keyring=Keyring.empty(),
        digest=NEW,
        new_templates={row: OTHERS[0]},
        owner=subject.id,
    )
    move = partial(move_face, keyring=Keyring.empty(), collection="main", face_id=face.id)
    gallery.database.change(partial(move, subject="somebody else"))
    assert gallery.database.change_alone(add) == 0
    gallery.database.change(partial(move, subject="s0"))
    assert gallery.database.change_alone(add) == 1
