"""`ensemble`: several embedders as one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from service.face.registry import Registry
from training.atomic_folder import whole_file
from training.commands.folders import DATA, MODELS, RUNS, Data, Models
from training.data.crops import open_sets
from training.distillation.ensemble import make_ensemble
from training.errors import TeacherMismatch
from training.export.publish import check_identity
from training.recipe import Roots


def ensemble(
    name: Annotated[str, typer.Argument(help="Name of the new model.")],
    members: Annotated[list[str], typer.Argument(help="Embedders, `name` or `name@version`, each `=weight` or not.")],
    crops: Annotated[list[str] | None, typer.Option(help="Prepared sets to fit the projection on; repeatable.")] = None,
    dim: Annotated[int | None, typer.Option(help="Length of the embedding. Default: all members' together.")] = None,
    projection: Annotated[Path | None, typer.Option(help="A projection to use again, .npy, not --dim.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Write the fitted projection to this .npy.")] = None,
    version: Annotated[str, typer.Option(help="Version of the new model.")] = "1.0.0",
    into: Annotated[Path | None, typer.Option(help="Folder of models to write into. Default: --models.")] = None,
    data: Data = DATA,
    models: Models = MODELS,
) -> None:
    """Join several embedders into one model: their crops, networks, weights and projection in one graph."""
    if projection is not None and (dim is not None or crops or keep is not None):
        raise TeacherMismatch("--projection is used as it is: leave out --dim, --crops and --keep, which fit another")
    if dim is None and (crops or keep is not None):
        raise TeacherMismatch("--crops and --keep are for a projection that is fitted: give --dim, its length")
    check_identity(name, version)
    registry = Registry.scan(Roots(data, models, RUNS).model_folders)
    model = make_ensemble(
        name,
        _weights(members),
        registry,
        into or models,
        version=version,
        dim=dim,
        sets=open_sets(data, crops or ()),
        projection=_read(projection) if projection is not None else None,
    )
    print(f"{model.folder.path}, space {model.folder.manifest.space}")
    if model.projection is not None and projection is None:
        print(f"{model.kept:.1%} of the joined vectors' energy is kept in {dim} values")
        if keep is not None:
            with whole_file(keep) as draft, draft.open("wb") as file:
                np.save(file, model.projection.astype(np.float16))


def _read(path: Path) -> NDArray[np.float32]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise TeacherMismatch(f"{path}: {error}") from error
    if values.ndim != 2:
        raise TeacherMismatch(f"{path} holds an array of {values.ndim} axes, a projection has two")
    return np.asarray(values, np.float32)


def _weights(members: list[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for member in members:
        name, _, weight = member.partition("=")
        try:
            weights[name] = float(weight or 1.0)
        except ValueError as error:
            raise TeacherMismatch(f"{member}: the weight {weight!r} is no number") from error
    return weights
