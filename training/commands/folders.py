"""Where commands look for things: three folders, each an option and an environment variable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option(envvar="FACET_TRAIN_DATA", help="Folder of prepared sets.")]
Models = Annotated[Path, typer.Option(envvar="FACET_TRAIN_MODELS", help="Folder of registered models.")]
Runs = Annotated[Path, typer.Option(envvar="FACET_TRAIN_RUNS", help="Folder of runs: checkpoints, targets, logs.")]
DATA, MODELS, RUNS = Path("data/sets"), Path("data/models"), Path("data/runs")
