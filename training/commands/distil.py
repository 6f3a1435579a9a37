"""`distil`: the main job in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.folders import DATA, MODELS, RUNS, Data, Models, Runs
from training.export.distil import Order, distil
from training.recipe import Roots


def distil_photos(
    photos: Annotated[Path, typer.Argument(help="Folder, .tar, .rec or .bin of photographs; a folder each, if known.")],
    teacher: Annotated[str, typer.Option(help="The embedder to distil, registered or bundled.")],
    student: Annotated[str, typer.Option(help="The published model whose network and weights it begins with.")],
    into: Annotated[Path, typer.Option(help="Folder of models to publish into.")],
    name: Annotated[str | None, typer.Option(help="Name of the new model. Default: <student>-<teacher>.")] = None,
    version: Annotated[str, typer.Option(help="Version of the new model.")] = "1.0.0",
    epochs: Annotated[float, typer.Option(help="Passes over the photographs.")] = 12.0,
    test: Annotated[float, typer.Option(help="Share of people held out, to measure and calibrate on.")] = 0.15,
    aligned: Annotated[bool, typer.Option(help="The pictures are aligned crops, 128x128 or 112x112.")] = False,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Distil a teacher into a small student on your photographs; publish it, calibrated, ready beside its teacher.

    Stop it, start it again with the same words: it goes on.
    """
    called = name or f"{student.partition('@')[0]}-{teacher.partition('@')[0]}"
    order = Order(called, version, epochs=epochs, test=test, aligned=aligned)
    print(distil(photos, teacher, student, into, Roots(data, models, runs), order))
