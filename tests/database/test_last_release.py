"""A data folder of the last release: carried over by the migrations, and read as it was.

The folder was written by release 0.1.0: two people enrolled from skimage's and matplotlib's photographs, one of them
with an idempotency key, and four sampled decisions. Beside it lie the answers that the release gave itself.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.api.schemas.rollout import Case
from service.database.schema import now
from service.decision import OperatingPoint
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.records import Idempotency, KeptReply
from service.rollout.decision_log import DecisionLog, LogQuery, Retention
from service.rollout.model_decision import VERIFY, ModelDecision
from service.rollout.roles import last_assignment
from service.rollout.sampling import SampledDecision
from tests.gallery.vectors import people

FOLDER = Path(__file__).parent / "last_release"
ANSWERED: list[dict[str, Any]] = json.loads((FOLDER / "decisions.json").read_text())
FINGERPRINT = "95bb55a44a575df52b4dcec070de6a08c1d6cfd54f0efc538e9c94617b0b8fcf"


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    """The release's folder, opened."""
    database = tmp_path / "gallery.sqlite3"
    database.write_bytes(gzip.decompress((FOLDER / "gallery.sqlite3.gz").read_bytes()))
    with sqlite3.connect(database) as connection:  # a kept answer's day is over
        connection.execute("UPDATE replies SET expires_at = '2999-01-01 00:00:00.000000'")
    connection.close()
    opened = open_embedded(tmp_path)
    yield opened
    opened.close()


def test_who_is_enrolled_is_as_before(gallery: Gallery) -> None:
    assert gallery.verify().problems == ()
    assert [subject.name for subject in gallery.subjects("default").items] == ["person-1", "person-2"]
    assert {size.templates for size in gallery.counts.sizes()} == {2}
    with gallery.database.engine.connect() as connection:
        roles = last_assignment(connection)
    assert roles is not None
    assert (roles.champion, roles.challenger) == (ANSWERED[0]["champion"], None)


def test_logged_decisions_are_as_the_release_told_them(gallery: Gallery) -> None:
    log = DecisionLog(gallery.database, Retention(1000, 1e5))
    champion, challenger = ANSWERED[1]["champion"], ANSWERED[1]["challenger"]
    alone, both = log.all(LogQuery(champion, None)), log.all(LogQuery(champion, challenger))
    told = [Case.of(decision).model_dump(mode="json") for decision in (*alone, *both)]
    assert told == ANSWERED
    judged = log.judge(log.find("two-images", 0), "genuine", "somebody")
    assert log.find("two-images", 0) == judged


def test_new_decisions_come_after_those_of_before(gallery: Gallery) -> None:
    log = DecisionLog(gallery.database, Retention(1000, 1e5))
    model = ANSWERED[0]["champion"]
    decision = ModelDecision(model, 0.5, 0.4, 1e-3, "match", (), 0.01)
    crops = people(1, 1, 4).astype("uint8")
    log.keep(SampledDecision("new", "key:a", now(), VERIFY, None, None, OperatingPoint(), crops, 1, (decision,)), None)
    gallery.database.write(lambda connection: None)  # what was deferred travels along
    assert [each.row for each in log.page(LogQuery(model, None)).items] == [len(ANSWERED) + 1, 1]


def test_an_answer_kept_as_text_is_given_again(gallery: Gallery) -> None:
    request = Idempotency("address:testclient", "first-of-the-release", FINGERPRINT)
    assert gallery.replay(request) == KeptReply((FOLDER / "enrolment.json").read_text())
