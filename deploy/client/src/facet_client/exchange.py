"""What both clients do around a request: put it together, and read the answer or the problem."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from facet_client.calls import Call
from facet_client.errors import AnswerInvalid, FacetError, Unreachable, problem_of

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def named_after(describe: Callable[..., Any], method: F) -> F:
    """Give the method of a client the name, the help and the parameters of the call that it sends."""
    method.__name__, method.__doc__ = describe.__name__, describe.__doc__
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [this, *inspect.signature(describe).parameters.values()]
    method.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return method


def base_of(address: str) -> str:
    """The address of a service as routes are put after it.

    Raises:
        ValueError: It does not say http or https and a host.
    """
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"the address is like http://127.0.0.1:8000, not {address!r}")
    return address.rstrip("/")


def headers_of(key: str | None) -> dict[str, str]:
    """The headers of every request. Space around a key is none of it: a file that holds one ends with a line's end.

    Raises:
        ValueError: The key holds what no key holds; the message does not show it.
    """
    text = (key or "").strip()
    if not text.isascii() or not text.isprintable():
        raise ValueError("the key holds characters that no key has")
    return {"Authorization": f"Bearer {text}"} if text else {}


def arguments_of(call: Call[object]) -> dict[str, Any]:
    """A call as httpx takes it."""
    arguments: dict[str, Any] = {"method": call.method, "url": call.path, "headers": dict(call.headers)}
    if query := {name: value for name, value in call.query.items() if value not in (None, "")}:
        arguments["params"] = query
    if call.document is not None:
        arguments["json"] = dict(call.document)
    if call.files:
        arguments["files"] = [(name, ("photograph", content)) for name, content in call.files]
        arguments["data"] = {name: str(value) for name, value in call.form.items() if value is not None}
    return arguments


def failure_of(address: str, error: httpx.RequestError) -> FacetError:
    """What it means that httpx got no answer, or none that it can read."""
    kind = Unreachable if isinstance(error, httpx.TransportError) else AnswerInvalid
    return kind(f"{address}: {str(error) or type(error).__name__}")


def answer_of(call: Call[T], response: httpx.Response) -> T:
    """Read an answer.

    Raises:
        Problem: The service refused or failed.
        AnswerInvalid: The answer is not one of Facet's.
    """
    if not response.is_success:
        request_id = response.headers.get("X-Request-ID", "")
        raise problem_of(response.status_code, _members(response), request_id, _retry_after(response))
    try:
        return call.parse(response.content)
    except ValueError as error:
        raise AnswerInvalid(f"{call.method} {call.path} was answered with something else than JSON") from error


def _members(response: httpx.Response) -> dict[str, Any]:
    """The members of a problem; a proxy in between may answer with something else."""
    try:
        members = json.loads(response.content)
    except ValueError:
        members = None
    return members if isinstance(members, dict) else {"title": response.reason_phrase}


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of `Retry-After`; a date, which Facet never sends, counts as none."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None
