"""`facet serve`: the service, until it is asked to stop."""

from __future__ import annotations

import os
import signal
import socket
from functools import partial
from typing import Annotated, Any

import cv2
import typer
import uvicorn

from service import logs
from service.api.http.connection import Connection, HeadLimits
from service.app import create_app
from service.commands.terminal.settings import DataOption
from service.errors import FacetError
from service.runtime.descriptors import allow_connections
from service.runtime.malloc import bound_heap
from service.settings import Settings, read_settings

KEEP_ALIVE_SECONDS = 30
PRIVATE = 0o077
"""Nobody else on this machine reads what the service writes: templates are biometric data."""
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Addresses that stand for all of this machine's, and one of these."""


class AddressUnavailable(FacetError):
    """The address or the port cannot be listened on."""

    code = "address_unavailable"


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: FACET_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: FACET_PORT.")] = None,
    data: DataOption = None,
) -> None:
    """Run the service until it is asked to stop. The first start makes an admin key and prints it, this once.

    The port is taken first, then models, rates and storage are checked; only then is anything made or printed.
    """
    options: dict[str, Any] = {"host": host, "port": port, "data": data}
    settings = read_settings(**{name: value for name, value in options.items() if value is not None})
    logs.configure(settings)
    os.umask(PRIVATE)
    with bind(settings) as listener:
        allow_connections(settings.limits.max_connections)
        bound_heap()
        cv2.setNumThreads(1)  # requests are the parallelism; further threads inside one would only take turns with them
        signal.signal(signal.SIGTERM, _end)
        address = address_of(settings, listener.getsockname()[1]) + settings.server.path_prefix
        app = create_app(settings, announce=lambda key: typer.echo(welcome(address, key)))
        protocol: Any = partial(  # which uvicorn calls as it would call a class
            Connection,
            limits=HeadLimits(settings.limits.max_head_bytes, settings.limits.head_seconds),
            connections=app.state.connections,
            count=lambda code: app.state.requests.count_rejection(code, "unmatched"),
        )
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            proxy_headers=bool(settings.server.trusted_proxies),
            forwarded_allow_ips=list(settings.server.trusted_proxies),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=round(settings.server.shutdown_seconds),
        )
        server = AnnouncedServer(config, f"Facet at {address}/ - API documentation at {address}/docs")
        server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(3)


class AnnouncedServer(uvicorn.Server):
    """A server that says where it is once it answers there, and not before."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the announcement."""
        await super().startup(sockets=sockets)
        if self.started:
            typer.echo(self._announcement)


def bind(settings: Settings) -> socket.socket:
    """Take the port, so that a start which cannot have it makes nothing.

    Raises:
        AddressUnavailable: It is taken, or the address is none of this machine's.
    """
    host, port = settings.server.host, settings.server.port
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
    except OSError as error:
        raise AddressUnavailable(
            f"cannot listen on {host} port {port}: {error.strerror or error}. "
            "Choose others with --host and --port, or FACET_HOST and FACET_PORT."
        ) from error
    listener.set_inheritable(True)
    return listener


def _end(*_: object) -> None:
    """End in good order: uvicorn hands SIGTERM on when it has stopped, which is a success and no death by a signal."""
    raise SystemExit(0)


def address_of(settings: Settings, port: int | None = None) -> str:
    """Return an address at which this machine reaches the service, on the port that was really taken."""
    host = EVERYWHERE.get(settings.server.host, settings.server.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port or settings.server.port}"


def welcome(address: str, key: str) -> str:
    """Return what the first start prints."""
    return f"""
This is the first start. The admin key, which is not shown again:

    {key}

Try it:

    curl -H "Authorization: Bearer {key}" {address}/v1/collections
"""
