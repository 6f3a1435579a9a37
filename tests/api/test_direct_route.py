"""A direct route answers as FastAPI's own does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from fastapi.testclient import TestClient
from pydantic import BaseModel

from service.api.http.direct_route import DirectRoute

calls: list[str] = []


class Reply(BaseModel):
    """What is answered."""

    who: str
    depth: int
    note: str | None = None


async def named(
    request: Request, key: Annotated[str | None, Depends(APIKeyHeader(name="X-Key", auto_error=False))]
) -> str:
    """Who asks."""
    calls.append("named")
    if key is None:
        raise HTTPException(401, "no key")
    return f"{key} at {request.url.path}"


async def held(who: Annotated[str, Depends(named)]) -> AsyncIterator[str]:
    """Something that is given back."""
    calls.append("taken")
    try:
        yield who
    finally:
        calls.append("given back")


async def depth_of(depth: Annotated[int, Query(ge=1)] = 3) -> int:
    """A parameter of the address."""
    return depth


async def show(
    place: str,
    who: Annotated[str, Depends(named)],
    thing: Annotated[str, Depends(held)],
    depth: Annotated[int, Depends(depth_of)],
    times: Annotated[int, Header()] = 1,
) -> Reply:
    """Answer what was found out."""
    assert thing == who
    if place == "nowhere":
        raise HTTPException(404, "no such place")
    return Reply(who=f"{who} {place}", depth=depth * times)


async def made(who: Annotated[str, Depends(named)]) -> Response:
    """Answer by oneself."""
    return Response(who, 202)


def waited(who: Annotated[str, Depends(named)]) -> Reply:
    """A function, which FastAPI sends to a thread."""
    return Reply(who=who, depth=0)


def router_of(kind: type[APIRoute]) -> APIRouter:
    """The same routes, of this kind."""
    router = APIRouter(route_class=kind)
    router.post("/show/{place}", status_code=201, response_model_exclude_none=True)(show)
    router.post("/made", response_model=Reply)(made)
    router.post("/waited")(waited)
    return router


def client_of(kind: type[APIRoute]) -> TestClient:
    """A client of an application with routes of this kind."""
    app = FastAPI()
    app.include_router(router_of(kind))
    return TestClient(app)


@pytest.fixture(scope="module")
def clients() -> tuple[TestClient, TestClient]:
    """Clients of usual routes and of direct ones."""
    return client_of(APIRoute), client_of(DirectRoute)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/show/here", {"X-Key": "a"}),
        ("/show/here?depth=2", {"X-Key": "a", "times": "4"}),
        ("/show/here?depth=0", {"X-Key": "a"}),
        ("/show/here?depth=0", {"X-Key": "a", "times": "often"}),
        ("/show/here?depth=0", {}),
        ("/show/nowhere", {"X-Key": "a"}),
        ("/made", {"X-Key": "a"}),
        ("/made", {}),
        ("/waited", {"X-Key": "a"}),
    ],
)
def test_answers_calls_and_faults_are_those_of_a_usual_route(
    clients: tuple[TestClient, TestClient], path: str, headers: dict[str, str]
) -> None:
    seen = []
    for client in clients:
        calls.clear()
        answer = client.post(path, headers=headers)
        seen.append(
            (
                answer.status_code,
                answer.json() if "json" in answer.headers.get("content-type", "") else answer.text,
                [*calls],
            )
        )
    assert seen[0] == seen[1]
    assert seen[1][2].count("taken") == seen[1][2].count("given back")


def test_a_route_with_a_function_is_left_to_the_framework() -> None:
    routes = [route for route in router_of(DirectRoute).routes if isinstance(route, DirectRoute)]
    handlers = {route.path: route.get_route_handler().__module__ for route in routes}
    ours = "service.api.http.direct_route"
    assert handlers == {"/show/{place}": ours, "/made": ours, "/waited": "fastapi.routing"}
