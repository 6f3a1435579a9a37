"""Receivers are told what they want of what a service decides, without a caller waiting for them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from service.app import create_app
from tests.api.conftest import settings_for
from tests.conftest import encode
from tests.waiting import await_that
from tests.webhooks.receiver import TAKEN, Answer, Receiver, receiving

ABOUT = {"request_id", "caller", "collection"}
BASIS = ABOUT | {"model", "threshold", "fmr", "score", "subjects"}


@pytest.fixture(scope="module")
def face(astronaut: NDArray[np.uint8]) -> bytes:
    return encode(astronaut)


@pytest.fixture(scope="module")
def stranger(admiral: NDArray[np.uint8]) -> bytes:
    return encode(admiral)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@contextmanager
def running(data: Path, model_dirs: tuple[Path, ...], *endpoints: dict[str, Any], **given: Any) -> Iterator[TestClient]:
    """A service with these receivers and the collection `watchlist`."""
    webhooks = json.dumps(endpoints)
    settings = settings_for(data, model_dirs, anonymous=True, webhooks=webhooks, webhook_retry_seconds=0.001, **given)
    with TestClient(create_app(settings)) as client:
        client.post("/v1/collections", json={"name": "watchlist"})
        yield client


def enrol(client: TestClient, image: bytes, name: str, collection: str = "watchlist") -> str:
    fields = {"subject": name, "collection": collection}
    answer = client.post("/v1/enroll", data=fields, files={"images": ("i", image)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["subject"]["id"])


def identify(client: TestClient, image: bytes, collection: str = "watchlist", request_id: str = "search") -> None:
    fields = {"threshold": "0.5", "collection": collection}
    head = {"X-Request-ID": request_id}
    answer = client.post("/v1/identify", data=fields, files={"image": ("i", image)}, headers=head)
    assert answer.status_code == 200, answer.text


def test_receivers_are_told_by_filter(
    tmp_path: Path, model_dirs: tuple[Path, ...], receiver: Receiver, face: bytes, stranger: bytes
) -> None:
    with receiving() as unknown, receiving() as elsewhere:
        endpoints = [
            receiver.endpoint(),
            unknown.endpoint("unknown", events=["identification.no_match"]),
            elsewhere.endpoint("elsewhere", events=["*"], collections=["default"]),
        ]
        with running(tmp_path / "data", model_dirs, *endpoints) as client:
            ann = enrol(client, face, "Ann")
            identify(client, face, request_id="known")
            identify(client, stranger, request_id="unknown")
            client.post(
                "/v1/verify",
                data={"subject": "Ann", "collection": "watchlist", "threshold": "0.5"},
                files={"probe": ("p", stranger)},
            )
            bob = enrol(client, stranger, "Bob", "default")
            told = receiver.await_taken(5)
            assert client.delete("/v1/collections/watchlist/subjects/Ann").status_code == 200
            told = receiver.await_taken(6)
            unknown.await_taken(1)
            elsewhere.await_taken(1)
    by_kind: dict[str, Any] = {}
    for each in told:
        by_kind.setdefault(each["type"], each["data"])
    enrolments = {each["data"]["collection"]: each["data"] for each in told if each["type"] == "enrolment.done"}
    assert enrolments["watchlist"]["subjects"] == [{"id": ann, "name": "Ann"}]
    assert enrolments["watchlist"]["faces"] == 1
    assert enrolments["default"]["subjects"] == [{"id": bob, "name": "Bob"}]
    hit = by_kind["identification.match"]
    assert set(hit) == BASIS | {"face"}
    assert (hit["request_id"], hit["collection"], hit["threshold"]) == ("known", "watchlist", 0.5)
    assert hit["subjects"] == [{"id": ann, "name": "Ann", "score": hit["score"]}]
    assert by_kind["identification.no_match"]["subjects"] == []
    refused = by_kind["verification.no_match"]
    assert set(refused) == BASIS
    assert refused["subjects"][0]["id"] == ann
    erasure = by_kind["erasure.done"]
    assert set(erasure) == ABOUT | {"kind", "target", "faces", "receipt"}
    assert (erasure["kind"], erasure["target"], erasure["faces"]) == ("subject", ann, 1)
    assert [each["data"]["request_id"] for each in unknown.await_taken(1)] == ["unknown"]
    assert [each["type"] for each in elsewhere.await_taken(1)] == ["enrolment.done"]
    assert len({message for message, _ in receiver.taken}) == 6


def test_both_who_are_taken_for_each_other_are_told_where_one_candidate_is_asked_for(
    tmp_path: Path, model_dirs: tuple[Path, ...], receiver: Receiver, face: bytes
) -> None:
    endpoint = receiver.endpoint(events=["identification.*"])
    with running(tmp_path / "data", model_dirs, endpoint) as client:
        both = {enrol(client, face, name) for name in ("Ann", "Eve")}
        fields = {"threshold": "0.5", "collection": "watchlist", "top_k": "1"}
        answer = client.post("/v1/identify", data=fields, files={"image": ("i", face)}).json()
        assert len(answer["faces"][0]["candidates"]) == 1
        (told,) = receiver.await_taken(1)
    assert told["type"] == "identification.ambiguous"
    assert {person["id"] for person in told["data"]["subjects"]} == both


def test_a_receiver_that_hangs_holds_up_no_caller_and_no_other_receiver(
    tmp_path: Path, model_dirs: tuple[Path, ...], receiver: Receiver, face: bytes
) -> None:
    release = threading.Event()

    def hang() -> Answer:
        release.wait()
        return TAKEN

    receiver.answer = hang
    with receiving() as other:
        endpoints = [receiver.endpoint(), other.endpoint("other")]
        with running(tmp_path / "data", model_dirs, *endpoints, webhook_most=2, webhook_seconds=600) as client:
            enrol(client, face, "Ann")
            await_that(lambda: receiver.requests)
            for _ in range(3):
                identify(client, face)
                other.await_taken(len(other.requests))
            other.await_taken(4)
            series = client.get("/metrics").text
            assert 'facet_webhook_messages{receiver="desk"} 2.0' in series
            assert 'facet_webhook_dropped_total{reason="full",receiver="desk"} 2.0' in series
            release.set()
            receiver.await_taken(2)
    assert len(receiver.taken) == 2


def test_whoever_is_erased_meanwhile_is_not_named(
    tmp_path: Path, model_dirs: tuple[Path, ...], receiver: Receiver, face: bytes
) -> None:
    erased = False
    receiver.answer = lambda: TAKEN if erased else (503, {})
    endpoint = receiver.endpoint(events=["enrolment.done"])
    with running(tmp_path / "data", model_dirs, endpoint, webhook_tries=1_000_000) as client:
        ann = enrol(client, face, "Ann")
        client.delete("/v1/collections/watchlist/subjects/Ann")
        erased = True
        (told,) = receiver.await_taken(1)
    assert told["data"]["subjects"] == [{"id": ann, "name": None}]
