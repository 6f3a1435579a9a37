"""`facet verify-pairs`: a list of pairs, decided by a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from service.bulk.errors import ServerUnreachable
from service.bulk.pairs import read_list
from service.bulk.results import Results, Row
from service.bulk.server import Server
from service.bulk.verification import PairVerifier, Rates, Wishes, verify_all
from service.commands.terminal.bars import counting_bar, resumable
from service.commands.terminal.choices import FaceChoice, QualityChoice
from service.commands.terminal.names import spell
from service.commands.terminal.outputs import check_file
from service.commands.terminal.server import KeyOption, ServerOption, count_at_once

UNDECIDED = 3
"""The exit status when everything was asked, and some pairs were not decided."""


def verify_pairs(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="CSV with the columns first, second or subject, and genuine (1 or 0) where it is known, the files "
            "relative to the list; or LFW's layout.",
        ),
    ],
    server: ServerOption = None,
    key: KeyOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            callback=check_file,
            help="CSV to write a row for each pair to, and to go on after. Default: <FILE without suffix>.results.csv, "
            "here.",
        ),
    ] = None,
    fmr: Annotated[
        float | None, typer.Option(min=0, max=1, help="False match rate to decide at. Default: the service's.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Score to decide at, instead of a rate.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to decide by. Default: the one that answers.")] = None,
    faces: Annotated[
        FaceChoice, typer.Option(help="`prominent` takes the largest face, `single` refuses photographs of several.")
    ] = FaceChoice.PROMINENT,
    quality: Annotated[
        QualityChoice, typer.Option(help="`enforce` refuses unfit faces, `report` decides.")
    ] = QualityChoice.REPORT,
    collection: Annotated[
        str | None, typer.Option(callback=spell, help="Collection of the subjects. Default: default.")
    ] = None,
    parallel: Annotated[
        int | None, typer.Option(min=1, max=64, help="Requests at once. Default: twice the cores of this machine.")
    ] = None,
    retry_undecided: Annotated[
        bool, typer.Option("--retry-undecided", help="Ask again what an earlier run saw refused.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rates as JSON.")] = False,
) -> None:
    """Verify a list of pairs through a running service, and print error rates where the list has the truth.

    Interrupted, it goes on when it is run again. Ends with status 3 when pairs were not decided: their rows say why.
    """
    if server is None:
        raise ServerUnreachable("name the running service with --server or FACET_SERVER")
    if fmr is not None and threshold is not None:
        raise typer.BadParameter("give --fmr or --threshold, not both")
    pairs = read_list(file)
    wishes = Wishes(fmr, threshold, model, faces.value, quality.value, collection)
    place = check_file(output or Path(f"{file.stem}.results.csv"))
    assert place is not None  # noqa: S101 - a path is given back as it came
    results = Results(place, [Row.of(pair, str(wishes)) for pair in pairs])
    if retry_undecided:
        results.forget_undecided()
    at_once = parallel or count_at_once()
    with Server(server, key, at_once) as running, counting_bar() as bar:
        running.check()
        task = bar.add_task("pairs", total=len(pairs))
        with results, resumable(place):
            verifier = PairVerifier(running, file.parent, wishes)
            verify_all(pairs, verifier, results, at_once, lambda count: bar.advance(task, count))
    rates = Rates.of(list(results.rows.values()))
    typer.echo(json.dumps(rates.document(), indent=2) if as_json else "\n".join(rates.lines()))
    if rates.undecided:
        raise typer.Exit(UNDECIDED)
