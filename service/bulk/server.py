"""A running service, asked for many things: a key, open connections, and patience where it is busy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from service.bulk.errors import BulkError, ServerRefused, ServerUnreachable

SECONDS = 120.0
TIMES = 8
LONGEST_PAUSE = 30.0
BUSY = frozenset({408, 429, 502, 503, 504})
USELESS = frozenset({401, 403, 404, 405})
"""Statuses of refusals that every further request would meet."""
ONE_OF_MANY = frozenset({"subject_not_found"})
"""But for these, which are about one person."""
HOPELESS = frozenset({"threshold_unsupported"})
"""Refusals of another status that every further request would meet as well."""

Reply = dict[str, Any]


class Refusal(Exception):
    """The service refused one request, for a reason of its own: the problem that it answered with."""

    def __init__(self, problem: Reply) -> None:
        super().__init__(problem.get("detail", ""))
        self.problem = problem

    @property
    def code(self) -> str:
        """The problem's code."""
        return str(self.problem.get("code", "unknown"))


class Server:
    """The service at an address. Safe to use from many threads at once; closed on leaving."""

    def __init__(
        self, address: str, key: str | None, connections: int, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Take the address, the key, and how many requests there will be at once."""
        self.address = address.rstrip("/")
        self._sleep = sleep
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        try:
            self._http = httpx.Client(base_url=self.address, headers=headers, timeout=SECONDS, limits=limits)
        except (httpx.InvalidURL, ValueError) as error:
            raise BulkError(f"{address} is no address of a server: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def check(self) -> None:
        """Ask for something small first, so that a wrong address or key is known before anything is read.

        Raises:
            ServerRefused, ServerUnreachable.
        """
        self._ask("GET", "/v1/key", {}, [], {})

    def post(
        self, path: str, fields: Mapping[str, Any], images: Sequence[tuple[str, bytes]], once: str | None = None
    ) -> Reply:
        """Send a form with images under the names of their fields; again where the service is busy.

        Args:
            path: Of the route.
            fields: Texts of the form; those that are None are left out.
            images: Names of fields, and files.
            once: The idempotency key. Requests without one must be such that can be repeated.

        Raises:
            Refusal: The service refuses this request.
            ServerRefused: It would refuse any.
            ServerUnreachable: It does not answer, or stays busy.
        """
        headers = {} if once is None else {"Idempotency-Key": once}
        texts = {name: str(value) for name, value in fields.items() if value is not None}
        return self._ask("POST", path, texts, images, headers)

    def _ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str],
        images: Sequence[tuple[str, bytes]],
        headers: Mapping[str, str],
    ) -> Reply:
        files = [(name, ("photograph", content)) for name, content in images]
        why = ""
        for attempt in range(TIMES):
            pause = min(LONGEST_PAUSE, 0.25 * 2**attempt)
            try:
                response = self._http.request(method, path, data=dict(fields), files=files or None, headers=headers)
            except httpx.UnsupportedProtocol as error:
                raise BulkError(f"{self.address} is no address of a server: {error}") from error
            except httpx.DecodingError as error:
                raise ServerRefused(f"{self.address} answers, and not as Facet does: {error}") from error
            except httpx.TransportError as error:
                why = str(error) or type(error).__name__
            else:
                if response.status_code not in BUSY:
                    return self._read(response)
                why = str(_members(response).get("detail") or f"it answers {response.status_code}")
                named = response.headers.get("Retry-After", "")
                pause = min(LONGEST_PAUSE, float(named)) if named.isdecimal() else pause
            if attempt < TIMES - 1:
                self._sleep(pause)
        raise ServerUnreachable(f"{self.address}: {why}; tried {TIMES} times")

    def _read(self, response: httpx.Response) -> Reply:
        members = _members(response)
        if response.is_success and members:
            return members
        if "code" not in members:
            raise ServerRefused(f"{self.address} answers {response.status_code}, and not as Facet does")
        code = members["code"]
        useless = (response.status_code in USELESS and code not in ONE_OF_MANY) or code in HOPELESS
        if useless or response.status_code >= 500:
            raise ServerRefused(f"{self.address}: {members.get('detail')} [{code}]")
        raise Refusal(members)


def _members(response: httpx.Response) -> Reply:
    try:
        members = json.loads(response.content)
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}
