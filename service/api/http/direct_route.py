"""Routes whose dependencies are put in order once.

FastAPI looks at a route anew for each request: what its dependencies are, which of them are generators, what their
scopes are. For a route that many requests a second come to, that took as long as reading its body.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class _Step:
    """One call: of a dependency, or at last of the endpoint.

    `inputs` says for each parameter which earlier step gives it; None is the request. `dependant` has those that are
    read off the request. What is opened is closed once the endpoint has returned.
    """

    call: Callable[..., Any]
    opens: bool
    inputs: Mapping[str, int | None]
    dependant: Dependant

    def read(self, request: Request) -> tuple[dict[str, Any], list[Any]]:
        """Parameters by name, and what is wrong with others."""
        part = self.dependant
        values: dict[str, Any] = {}
        errors: list[Any] = []
        for fields, source in (
            (part.path_params, request.path_params),
            (part.query_params, request.query_params),
            (part.header_params, request.headers),
        ):
            if fields:
                found, faults = request_params_to_args(fields, source)
                values |= found
                errors += faults
        return values, errors


class DirectRoute(APIRoute):
    """A route that is declared and documented as any other, and answers with the model that its endpoint returns.

    It and what it depends on are coroutines, whose parameters are the request, other dependencies, and what stands in
    path, query or headers. A route with others is served as usual.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler."""
        steps: list[_Step] = []
        model = self.response_model
        if not (isinstance(model, type) and issubclass(model, BaseModel) and _plan(self.dependant, steps, {})):
            return super().get_route_handler()
        status, exclude_none = self.status_code or 200, self.response_model_exclude_none

        async def answer(request: Request) -> Response:
            async with AsyncExitStack() as stack:
                reply = await _perform(steps, request, stack)
            if isinstance(reply, Response):
                return reply
            text = reply.model_dump_json(by_alias=True, exclude_none=exclude_none)
            return Response(text, status, media_type=JSON)

        return answer


async def _perform(steps: list[_Step], request: Request, stack: AsyncExitStack) -> Any:
    """Take the steps in turn and return the last one's result. What depends on a faulty parameter is left out.

    Raises:
        RequestValidationError: Of all parameters that are wrong.
    """
    results: list[Any] = []
    errors: list[Any] = []
    left_out: set[int | None] = set()
    for number, step in enumerate(steps):
        given, faults = step.read(request)
        errors += faults
        result = None
        if faults or not left_out.isdisjoint(step.inputs.values()):
            left_out.add(number)
        else:
            for name, source in step.inputs.items():
                given[name] = request if source is None else results[source]
            called = step.call(**given)
            result = await (stack.enter_async_context(called) if step.opens else called)
        results.append(result)
    if errors:
        raise RequestValidationError(errors)
    return results[-1]


def _plan(dependant: Dependant, steps: list[_Step], known: dict[Any, int]) -> bool:
    """Append what has to be called before a dependant, then itself; whether that is all it needs."""
    call = dependant.call
    others = (
        dependant.cookie_params,
        dependant.body_params,
        dependant.response_param_name,
        dependant.background_tasks_param_name,
        dependant.security_scopes_param_name,
    )
    if call is None or any(others):
        return False
    inputs: dict[str, int | None] = {}
    for part in dependant.dependencies:
        if part.call not in known and not _plan(part, steps, known):
            return False
        if part.name is not None:
            inputs[part.name] = known[part.call]
    for name in (dependant.request_param_name, dependant.http_connection_param_name):
        if name is not None:
            inputs[name] = None
    opens = isasyncgenfunction(call)
    if not opens and not iscoroutinefunction(call) and not iscoroutinefunction(type(call).__call__):
        return False
    known[call] = len(steps)
    steps.append(_Step(asynccontextmanager(call) if opens else call, opens, inputs, dependant))
    return True
