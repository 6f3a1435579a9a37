"""A service that a reverse proxy publishes below a path of its own."""

from __future__ import annotations

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class PathPrefix:
    """ASGI middleware that serves an application below a prefix, as `/faces`.

    A proxy may take the prefix away or leave it: a path that lacks it gets it back, as ASGI's `root_path` wants it, so
    both reach the same routes. The bare prefix leads to the page, whose own addresses are relative to `/faces/`.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        """Wrap `app`; `prefix` begins with a slash and does not end with one."""
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            path = scope["path"]
            if path == self._prefix:
                await RedirectResponse(f"{self._prefix}/", 308)(scope, receive, send)
                return
            if not path.startswith(f"{self._prefix}/"):
                scope["path"] = self._prefix + path
                scope["raw_path"] = self._prefix.encode() + scope["raw_path"]
            scope["root_path"] = self._prefix
        await self._app(scope, receive, send)
