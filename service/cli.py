"""The command `facet`: serve, and look after keys, models and the gallery."""

from __future__ import annotations

import signal
from functools import partial
from typing import Annotated, Any

import cv2
import typer
import uvicorn
from typer.core import TyperGroup

from service import logs
from service.api.http.connection import Connection, HeadLimits
from service.app import create_app
from service.commands import backfill, bench, gallery, keys, models, rollout
from service.commands.settings import DataOption, settings_for
from service.descriptors import allow_connections
from service.errors import FacetError
from service.malloc import bound_heap
from service.settings import Settings, read_settings

KEEP_ALIVE_SECONDS = 30


class Commands(TyperGroup):
    """Expected errors end a command with their message and status 1, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except FacetError as error:
            typer.echo(f"facet: {error}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=Commands,
    help="Self-hosted face verification: enrol, verify and identify over HTTP at a stated false match rate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(gallery.app, name="gallery")
app.add_typer(bench.app, name="bench")
app.add_typer(rollout.app, name="comparison")
app.add_typer(backfill.app, name="reembed")
app.command()(rollout.compare)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: FACET_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: FACET_PORT.")] = None,
    data: DataOption = None,
) -> None:
    """Run the service until it is asked to stop. The first start makes an admin key and prints it, this once."""
    given: dict[str, Any] = {"host": host, "port": port, "data": data}
    settings = read_settings(**{name: value for name, value in given.items() if value is not None})
    logs.configure(settings)
    allow_connections(settings.limits.max_connections)
    bound_heap()
    cv2.setNumThreads(1)  # requests are the parallelism; further threads inside one would only take turns with them
    signal.signal(signal.SIGTERM, _end)
    address = address_of(settings)
    typer.echo(f"Facet at {address}/ - API documentation at {address}/docs")
    app = create_app(settings, announce=lambda key: typer.echo(welcome(address, key)))
    protocol: Any = partial(  # which uvicorn calls as it would call a class
        Connection,
        limits=HeadLimits(settings.limits.max_head_bytes, settings.limits.head_seconds),
        connections=app.state.connections,
        count=lambda code: app.state.requests.count_rejection(code, "unmatched"),
    )
    uvicorn.run(
        app,
        host=settings.server.host,
        port=settings.server.port,
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


def _end(*_: object) -> None:
    """Uvicorn hands SIGTERM on when it has stopped in good order, which is a success and no death by a signal."""
    raise SystemExit(0)


@app.command()
def config(data: DataOption = None) -> None:
    """Print the settings in force, as they could stand in a `.env` file."""
    settings = settings_for(data)
    for variable in Settings.variables():
        typer.echo(f"# {Settings.description_of(variable)}\n{variable}={settings.text_of(variable)}\n")


def address_of(settings: Settings) -> str:
    """An address at which this machine reaches the service."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.server.host, settings.server.host)  # noqa: S104
    return f"http://{host}:{settings.server.port}"


def welcome(address: str, key: str) -> str:
    """What the first start prints."""
    return f"""
This is the first start. The admin key, which is not shown again:

    {key}

Try it:

    curl -H "Authorization: Bearer {key}" {address}/v1/collections
"""


if __name__ == "__main__":
    app()
