"""What is asked again, when, and that nothing happens twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from facet_client import AsyncFacet, Facet, Retries, Unreachable, errors

from tests.api.server import Server
from tests.client.flaky import Fault, Flaky, flaky

SECONDS = 120


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def through(unsteady: Flaky, shared_server: Server, pauses: list[float]) -> Iterator[Facet]:
    with Facet(unsteady.address, shared_server.key, sleep=pauses.append, timeout=SECONDS) as client:
        yield client


def test_a_busy_service_is_asked_again_after_the_pause_it_names(
    through: Facet, unsteady: Flaky, pauses: list[float]
) -> None:
    unsteady.faults += ["later", "later"]
    assert through.ready().status == "ready"
    assert pauses == [7.0, 7.0]


def test_without_a_pause_named_it_is_random_and_grows(through: Facet, unsteady: Flaky, pauses: list[float]) -> None:
    unsteady.faults += ["busy"] * 4
    assert through.ready().status == "ready"
    assert all(0 <= pause <= 0.5 * 2**attempt for attempt, pause in enumerate(pauses))
    assert len(pauses) == 4


def test_it_is_given_up_at_last(through: Facet, unsteady: Flaky) -> None:
    unsteady.faults += ["busy"] * 9
    with pytest.raises(errors.Busy) as busy:
        through.ready()
    assert busy.value.code == "overloaded"
    assert len(unsteady.seen) == 5


def test_a_pause_longer_than_the_most_is_not_waited_for(unsteady: Flaky, pauses: list[float]) -> None:
    unsteady.faults += ["later"]
    hasty = Retries(most=5)
    with Facet(unsteady.address, retries=hasty, sleep=pauses.append) as facet, pytest.raises(errors.Busy) as busy:
        facet.alive()
    assert busy.value.retry_after == 7
    assert pauses == []


def test_an_enrolment_whose_answer_is_lost_enrols_once(
    through: Facet, unsteady: Flaky, facet: Facet, people: str, ann: bytes
) -> None:
    unsteady.faults += ["lost"]
    made = through.enroll("ann", ann, collection=people)
    assert made.subject.faces == 1
    assert facet.subject("ann", collection=people).faces == 1
    keys = [key for *_, key in unsteady.seen]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert keys[0]


def test_two_enrolments_have_two_keys(through: Facet, unsteady: Flaky, people: str, ann: bytes) -> None:
    for _ in range(2):
        through.enroll("ann", ann, collection=people)
    assert len({key for *_, key in unsteady.seen}) == 2


def test_an_erasure_whose_answer_is_lost_is_not_repeated(
    through: Facet, unsteady: Flaky, facet: Facet, people: str, ann: bytes
) -> None:
    facet.enroll("ann", ann, collection=people)
    unsteady.faults += ["lost"]
    with pytest.raises(Unreachable):
        through.delete_subject("ann", collection=people)
    assert len(unsteady.seen) == 1


def test_an_erasure_that_was_not_begun_is_asked_again(
    through: Facet, unsteady: Flaky, facet: Facet, people: str, ann: bytes
) -> None:
    facet.enroll("ann", ann, collection=people)
    unsteady.faults += ["busy"]
    assert through.delete_subject("ann", collection=people).faces == 1


def test_an_erasure_is_not_repeated_after_a_refusal_of_somebody_else(
    through: Facet, unsteady: Flaky, facet: Facet, people: str, ann: bytes
) -> None:
    facet.enroll("ann", ann, collection=people)
    unsteady.faults += ["page"]
    with pytest.raises(errors.Busy) as busy:
        through.delete_subject("ann", collection=people)
    assert busy.value.code == "http_503"


def test_refusals_that_stay_are_not_asked_again(through: Facet, unsteady: Flaky, pauses: list[float]) -> None:
    with pytest.raises(errors.ImageRefused):
        through.detect(b"no image")
    assert (len(unsteady.seen), pauses) == (1, [])


def test_the_async_client_asks_again_alike(
    unsteady: Flaky, shared_server: Server, people: str, ann: bytes, pauses: list[float]
) -> None:
    async def note(seconds: float) -> None:
        pauses.append(seconds)

    async def ask() -> None:
        async with AsyncFacet(unsteady.address, shared_server.key, sleep=note, timeout=SECONDS) as facet:
            assert (await facet.enroll("ann", ann, collection=people)).subject.faces == 1

    unsteady.faults += ["later", "lost"]
    asyncio.run(ask())
    assert len(pauses) == 2
    assert pauses[0] == 7.0
    assert len({key for *_, key in unsteady.seen}) == 1


@pytest.mark.parametrize("fault", ["garbled", "elsewhere"])
def test_an_answer_that_cannot_be_read_is_no_answer_of_facets(fault: Fault, pauses: list[float]) -> None:
    async def note(seconds: float) -> None:
        pauses.append(seconds)

    async def ask(address: str) -> None:
        async with (
            httpx.AsyncClient(follow_redirects=True) as http,
            AsyncFacet(address, sleep=note, http=http) as facet,
        ):
            await facet.alive()

    with flaky("http://127.0.0.1:9") as proxy, httpx.Client(follow_redirects=True) as http:
        proxy.faults += [fault] * 100
        with Facet(proxy.address, sleep=pauses.append, http=http) as facet, pytest.raises(errors.AnswerInvalid) as own:
            facet.alive()
        with pytest.raises(errors.AnswerInvalid):
            asyncio.run(ask(proxy.address))
    assert proxy.address in str(own.value)
    assert pauses == [], "the next answer would be no other"
