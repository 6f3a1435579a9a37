"""The client for ordinary code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx

from facet_client import calls
from facet_client.calls import Call, Listing
from facet_client.errors import FacetError
from facet_client.exchange import answer_of, arguments_of, base_of, failure_of, headers_of, named_after
from facet_client.retries import Retries

P = ParamSpec("P")
T = TypeVar("T")
SECONDS = 30.0


def _asks(describe: Callable[P, Call[T]]) -> Callable[Concatenate[Facet, P], T]:
    def ask(self: Facet, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(describe(*args, **kwargs))

    return named_after(describe, ask)


def _walks(describe: Callable[P, Listing[T]]) -> Callable[Concatenate[Facet, P], Iterator[T]]:
    def walk(self: Facet, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self.walk(describe(*args, **kwargs))

    return named_after(describe, walk)


class Facet:
    """A service at an address, asked with a key. Safe to share among threads; close it, or use it in a `with`.

    Lists are iterators that fetch page after page. What fails raises one of `facet_client.errors`.
    """

    def __init__(
        self,
        address: str,
        key: str | None = None,
        *,
        timeout: float | httpx.Timeout = SECONDS,
        retries: Retries | None = None,
        sleep: Callable[[float], None] = time.sleep,
        http: httpx.Client | None = None,
    ) -> None:
        """Take the address, as `http://127.0.0.1:8000`, and the key.

        Args:
            address: Of the service; a path after it is kept.
            key: As `facet serve` or `facet keys create` printed it; None where the service asks for none.
            timeout: Seconds for each step of a request (connecting, sending, receiving), or httpx's own settings.
            retries: How often to ask again; see `Retries`.
            sleep: Waits between attempts.
            http: A client of your own, for proxies or certificates; it is not closed here.

        Raises:
            ValueError: The address does not say http or https and a host, or the key is none.
        """
        self._address = base_of(address)
        self._headers = headers_of(key)
        self._retries = retries or Retries()
        self._sleep = sleep
        self._owned = http is None
        self._http = http or httpx.Client(timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owned:
            self._http.close()

    def send(self, call: Call[T]) -> T:
        """Send a call, and send it again where that is safe and of use.

        Raises:
            Problem: The service refused or failed.
            Unreachable: There was no answer.
            AnswerInvalid: The answer is not one of Facet's.
        """
        attempt = 0
        while True:
            try:
                return self._send_once(call)
            except FacetError as error:
                pause = self._retries.pause(call, error, attempt)
                if pause is None:
                    raise
            self._sleep(pause)
            attempt += 1

    def walk(self, listing: Listing[T]) -> Iterator[T]:
        """Go through a list, page after page."""
        page = self.send(listing.page(None))
        yield from page.items
        while page.next_cursor is not None:
            page = self.send(listing.page(page.next_cursor))
            yield from page.items

    def _send_once(self, call: Call[T]) -> T:
        arguments = arguments_of(call)
        arguments["url"] = self._address + arguments["url"]
        arguments["headers"] = {**self._headers, **arguments["headers"]}
        try:
            response = self._http.request(**arguments)
        except httpx.RequestError as error:
            raise failure_of(self._address, error) from error
        return answer_of(call, response)

    verify = _asks(calls.verify)
    identify = _asks(calls.identify)
    enroll = _asks(calls.enroll)
    detect = _asks(calls.detect)
    embed = _asks(calls.embed)
    collections = _walks(calls.collections)
    create_collection = _asks(calls.create_collection)
    collection = _asks(calls.collection)
    update_collection = _asks(calls.update_collection)
    delete_collection = _asks(calls.delete_collection)
    subjects = _walks(calls.subjects)
    subject = _asks(calls.subject)
    update_subject = _asks(calls.update_subject)
    merge_subjects = _asks(calls.merge_subjects)
    delete_subject = _asks(calls.delete_subject)
    faces = _walks(calls.faces)
    face = _asks(calls.face)
    crop = _asks(calls.crop)
    move_face = _asks(calls.move_face)
    delete_face = _asks(calls.delete_face)
    receipts = _walks(calls.receipts)
    models = _asks(calls.models)
    model = _asks(calls.model)
    card = _asks(calls.card)
    key = _asks(calls.key)
    alive = _asks(calls.alive)
    ready = _asks(calls.ready)
