"""`facet-train`: one command per step, each of which may be run again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from service.errors import FacetError
from training.commands.data import neurons, prepare_set, targets
from training.commands.device import device_accept, device_pack
from training.commands.distil import distil_photos
from training.commands.ensemble import ensemble
from training.commands.measure import calibrate_model, cost, evaluate
from training.commands.papers import papers, papers_table
from training.commands.promise import cohort, promise
from training.commands.release import export_run, publish_run, starter
from training.commands.runs import confidence, fit_recipe, pace
from training.errors import TrainingError
from training.tasks.detection.commands import compose_tiles, evaluate_detector, evaluate_search

COMMANDS: dict[str, Callable[..., None]] = {
    "distil": distil_photos,
    "prepare": prepare_set,
    "ensemble": ensemble,
    "targets": targets,
    "neurons": neurons,
    "fit": fit_recipe,
    "confidence": confidence,
    "pace": pace,
    "evaluate": evaluate,
    "cohort": cohort,
    "calibrate": calibrate_model,
    "promise": promise,
    "cost": cost,
    "export": export_run,
    "publish": publish_run,
    "starter": starter,
    "device-pack": device_pack,
    "device-accept": device_accept,
    "papers": papers,
    "papers-table": papers_table,
    "detector-tiles": compose_tiles,
    "detector-evaluate": evaluate_detector,
    "detector-search": evaluate_search,
}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


def plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Turn expected failures into one line and an exit status."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (TrainingError, FacetError) as error:
            print(f"{error.code}: {error}", file=sys.stderr)
            raise typer.Exit(1) from error

    return run


for _name, _command in COMMANDS.items():
    app.command(_name)(plainly(_command))

if __name__ == "__main__":
    app()
