"""The command `facet`: serve, and look after keys, models and the gallery."""

from __future__ import annotations

from typing import Annotated

import typer

from service.runtime.lazy_commands import LazyCommands, Place, lazy_app
from service.version import VERSION

COMMANDS = {
    "serve": Place("service.commands.serve:serve", "Run the service until it is asked to stop."),
    "config": Place("service.commands.config:config", "Print the settings in force."),
    "keys": Place("service.commands.keys:app", "Make, list and revoke keys; a running service follows at once."),
    "enroll": Place("service.commands.bulk.enroll:enroll", "Enrol many people, from folders or a list."),
    "verify-pairs": Place(
        "service.commands.bulk.verify_pairs:verify_pairs", "Verify a list of pairs, with error rates."
    ),
    "models": Place("service.commands.models:app", "List, inspect, check, add and download models."),
    "gallery": Place("service.commands.gallery:app", "Move, check, compact and measure what is enrolled."),
    "import": Place("service.commands.imports:app", "Bring people from other services."),
    "compare": Place("service.commands.rollout.compare:compare", "Measure models side by side on photographs."),
    "report": Place("service.commands.report:report", "Report on a model as an auditor asks, as one page."),
    "comparison": Place(
        "service.commands.rollout.comparison:app", "What champion and challenger decided on live requests."
    ),
    "reembed": Place(
        "service.commands.rollout.backfill:app", "A new model's templates for people who are enrolled already."
    ),
    "audit": Place("service.commands.audit:list_audit", "Who asked what of whom."),
    "backup": Place("service.commands.backup:backup", "Copy the database to a file, beside a running service."),
    "restore": Place("service.commands.restore:restore_", "Put a backup into the data folder."),
    "bench": Place("service.commands.bench:app", "Measure throughput, memory and start on this machine."),
}


class Commands(LazyCommands):
    """The commands of `facet`."""

    program = "facet"
    table = COMMANDS


app = lazy_app(
    Commands, "Self-hosted face verification: enrol, verify and identify over HTTP at a stated false match rate."
)


def _print_version(show: bool) -> None:
    if show:
        typer.echo(f"facet {VERSION}")
        raise typer.Exit


@app.callback()
def facet(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


if __name__ == "__main__":
    app()
