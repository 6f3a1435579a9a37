"""Decisions are published to whoever is registered, and everybody is told of the same model."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from service.app import create_app
from service.database.errors import StorageFull
from service.database.schema import audit, replies
from service.engine.engine import Engine
from service.engine.results import EnrolmentOutcome, Identification, Repetition, Verification
from service.observation import DecisionEvent, Erasure, GroundTruth, RolesChange
from tests.api.conftest import settings_for
from tests.conftest import encode
from tests.rollout.conftest import Start, enrol, identify
from tests.rollout.test_shadow import cases_of, series
from tests.waiting import PATIENCE, await_that


class Witness:
    """Remembers what it is told, and fails on demand."""

    def __init__(self) -> None:
        self.events: list[DecisionEvent] = []
        self.fault: Exception | None = None
        self.noting: Future[None] | None = None

    def observe(self, event: DecisionEvent) -> Future[None] | None:
        self.events.append(event)
        if self.fault is not None:
            raise self.fault
        return self.noting


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def client(model_dirs: tuple[Path, ...], witness: Witness, tmp_path: Path) -> Iterator[TestClient]:
    """A service with one observer more than it brings along."""
    settings = settings_for(tmp_path / "data", model_dirs, anonymous=True)
    with TestClient(create_app(settings, observers=[witness]), raise_server_exceptions=False) as running:
        yield running


def test_a_new_observer_sees_every_kind_of_decision(
    client: TestClient, witness: Witness, portrait: bytes, other_portrait: bytes
) -> None:
    photo = {"images": ("i", portrait)}
    head = {"X-Request-ID": "enrolment", "Idempotency-Key": "once"}
    for _ in range(2):
        assert client.post("/v1/enroll", data={"subject": "ann"}, files=photo, headers=head).status_code == 201
    pair = {"probe": ("p", portrait), "reference": ("r", other_portrait)}
    client.post("/v1/verify", data={"threshold": "0.4"}, files=pair, headers={"X-Request-ID": "two"})
    client.post("/v1/verify", data={"threshold": "0.4", "subject": "ann"}, files={"probe": pair["probe"]})
    answer = client.post("/v1/identify", data={"threshold": "0.4"}, files={"image": ("i", portrait)}).json()
    name = answer["model"]["name"]
    client.put("/v1/roles", json={"champion": name, "sample": 0.5})
    client.delete("/v1/collections/default/subjects/ann")

    kinds = [type(event.decision) for event in witness.events]
    assert kinds == [EnrolmentOutcome, Repetition, Verification, Verification, Identification, RolesChange, Erasure]
    enrolment, _, two, one, search, *_ = witness.events
    assert (enrolment.context.request_id, enrolment.context.collection) == ("enrolment", "default")
    assert enrolment.context.principal.startswith("address:")
    assert (two.context.request_id, two.context.collection) == ("two", None)
    assert one.context.collection == search.context.collection == "default"
    assert isinstance(search.decision, Identification)
    assert search.decision.faces[0].candidates[0].score == answer["faces"][0]["candidates"][0]["score"]
    assert search.decision.seconds["search"] > 0


def test_a_fault_of_an_observer_is_not_the_callers_but_its_refusal_is(
    client: TestClient, witness: Witness, portrait: bytes
) -> None:
    pair = {"probe": ("p", portrait), "reference": ("r", portrait)}
    witness.fault = ValueError("a bug")
    assert client.post("/v1/verify", data={"threshold": "0.4"}, files=pair).status_code == 200
    witness.fault = StorageFull()
    refused = client.post("/v1/verify", data={"threshold": "0.4"}, files=pair)
    assert (refused.status_code, refused.json()["code"]) == (507, StorageFull.code)


def test_a_decision_is_answered_once_it_is_noted_and_holds_no_worker_until_then(
    client: TestClient, witness: Witness, portrait: bytes
) -> None:
    pair = {"probe": ("p", portrait), "reference": ("r", portrait)}
    executor = client.app.state.services.executor  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as pool:
        for fault, status in ((None, 200), (StorageFull(), 507)):
            witness.noting = Future()
            answer = pool.submit(client.post, "/v1/verify", data={"threshold": "0.4"}, files=pair)
            await_that(lambda: executor.load().resting == 1)
            assert executor.load().running == 0
            assert not answer.done()
            if fault is None:
                witness.noting.set_result(None)
            else:
                witness.noting.set_exception(fault)
            assert answer.result(PATIENCE).status_code == status


def test_the_model_is_resolved_once_though_the_roles_change_in_between(
    start: Start, portrait: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start("teacher", "student", shadow_cpu=1.0)
    enrol(client, "person-1", portrait)
    client.put("/v1/roles", json={"champion": "teacher", "challenger": "student", "sample": 1.0})
    services = client.app.state.services  # type: ignore[attr-defined]
    for name in ("verify", "identify", "embed"):
        original = getattr(Engine, name)

        def flipped(*given: object, original: object = original, **named: object) -> object:
            services.roles.promote("somebody")  # between the resolution and the decision
            return original(*given, **named)  # type: ignore[operator]

        monkeypatch.setattr(Engine, name, flipped)
    champion = "teacher"
    calls = {
        "verify": ({"probe": ("p", portrait), "reference": ("r", portrait)}, {"threshold": "0.4"}),
        "identify": ({"image": ("i", portrait)}, {"fmr": "0.01"}),
        "embed": ({"image": ("i", portrait)}, {}),
    }
    for number, (route, (files, data)) in enumerate(calls.items()):
        head = {"X-Request-ID": f"flip-{number}"}
        answer = client.post(f"/v1/{route}", data=data, files=files, headers=head).json()
        assert answer["model"]["name"] == champion
        label = f'model="{champion}@1.0.0"'
        (request,) = [key for key in series(client, "facet_request_seconds_count") if f'route="/v1/{route}"' in key]
        assert label in request
        if route != "embed":
            (decided,) = [key for key in series(client, "facet_decisions_total") if f'route="{route}"' in key]
            assert label in decided
            services.gallery.database.write(lambda connection: None)  # what was deferred travels along
            with services.gallery.database.engine.connect() as connection:
                noted = connection.scalar(sa.select(audit.c.model).where(audit.c.request_id == head["X-Request-ID"]))
            assert noted == f"{champion}@1.0.0"
        champion = "student" if champion == "teacher" else "teacher"


def test_what_a_client_says_was_true_is_published(start: Start, portrait: bytes) -> None:
    client = start("teacher", shadow_cpu=1.0)
    enrol(client, "person-1", portrait)
    client.put("/v1/roles", json={"champion": "teacher", "sample": 1.0})
    identify(client, portrait, fmr="0.01")
    (case,) = cases_of(client, 1)
    told: list[DecisionEvent] = []
    services = client.app.state.services  # type: ignore[attr-defined]
    publish = services.observers.publish
    services.observers.publish = lambda event: (told.append(event), publish(event))
    assert client.post(f"/v1/decisions/{case['request_id']}/outcome", json={"outcome": "genuine"}).status_code == 200
    (event,) = told
    assert isinstance(event.decision, GroundTruth)
    assert [(each.role, each.accepted) for each in event.decision.acceptances] == [("champion", True)]


def test_a_repetition_is_rendered_from_the_outcome_and_refused_after_an_erasure(
    client: TestClient, portrait: bytes, cat: np.ndarray
) -> None:
    photos = [("images", ("i", data)) for data in (portrait, encode(cat, "PNG"))]
    head = {"Idempotency-Key": "once"}

    def enroll() -> Any:
        return client.post("/v1/enroll", data={"subject": "ann"}, files=photos, headers=head)

    first = enroll()
    assert first.status_code == 201
    assert enroll().content == first.content
    subject = client.get("/v1/collections/default/subjects/ann").json()["id"]
    engine = client.app.state.services.gallery.database.engine  # type: ignore[attr-defined]
    with engine.connect() as connection:
        (row,) = connection.execute(sa.select(replies.c.subject_id, replies.c.reply)).all()
    assert tuple(row) == (subject, "")
    client.delete("/v1/collections/default/subjects/ann")
    refused = enroll()
    assert (refused.status_code, refused.json()["code"]) == (410, "enrolment_erased")
    assert client.get("/v1/collections/default/subjects/ann").status_code == 404


def test_an_answer_kept_as_text_by_an_earlier_version_is_given_as_it_is(client: TestClient, portrait: bytes) -> None:
    photo, head = {"images": ("i", portrait)}, {"Idempotency-Key": "once"}
    first = client.post("/v1/enroll", data={"subject": "ann"}, files=photo, headers=head)
    text = '{"of": "before"}'
    client.app.state.services.gallery.database.write(  # type: ignore[attr-defined]
        lambda connection: connection.execute(sa.update(replies).values(reply=text, outcome=None))
    )
    again = client.post("/v1/enroll", data={"subject": "ann"}, files=photo, headers=head)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.text == text
    assert again.headers["Idempotency-Replayed"] == "true"
