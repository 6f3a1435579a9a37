"""`facet models`: what models there are, whether their files are sound, and how to take in more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from service.commands.terminal.group import command_group
from service.commands.terminal.listing import JsonOption, print_list
from service.commands.terminal.settings import DataOption, settings_for
from service.face.download import download
from service.face.errors import ModelError, ModelInvalid
from service.face.manifest import Manifest
from service.face.model_import import ModelSpec, add_model, known_specs, read_spec
from service.face.registry import ModelFolder, Registry

app = command_group("List, inspect, check, add and download models.")

SpecOption = Annotated[
    str, typer.Option("--spec", help="A known spec (see `facet models specs`) or a JSON file that describes the model.")
]
NAMES = {"--url": "address", "--sha256": "digest"}
IntoOption = Annotated[Path | None, typer.Option("--into", help="Model folder to add to. Default: <data>/models.")]


@app.command("list")
def list_models(as_json: JsonOption = False, data: DataOption = None) -> None:
    """Show every model found."""
    registry = _registry(data)
    folders = registry.folders()
    columns = ("name", "version", "task", "size", "licence", "supported FMR")
    print_list(columns, [_row(folder.manifest) for folder in folders], [_record(each) for each in folders], as_json)
    for fault in registry.faults:
        typer.echo(f"left out: {fault}", err=True)


@app.command()
def show(name: Annotated[str, typer.Argument(help="`name` or `name@version`.")], data: DataOption = None) -> None:
    """Show a model's card."""
    folder = _registry(data).find(name)
    from rich.markdown import Markdown  # noqa: PLC0415 - slow

    Console().print(Markdown(folder.card()))
    typer.echo(f"\nfolder: {folder.path}")


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="`name` or `name@version`. Default: all.")] = None,
    data: DataOption = None,
) -> None:
    """Check model files against the digests in their manifests."""
    registry = _registry(data)
    folders = registry.folders() if name is None else [registry.find(name)]
    faults = [*registry.faults, *(fault for folder in folders if (fault := _fault(folder)) is not None)]
    for fault in faults:
        typer.echo(f"FAULT {fault}", err=True)
    if faults:
        raise typer.Exit(1)


@app.command()
def specs(as_json: JsonOption = False) -> None:
    """Show the model specs that come along, and what `facet models pull` must be told beside them."""
    known = known_specs().values()
    rows = [(spec.name, spec.task, _missing(spec) or "nothing", spec.about) for spec in known]
    records = [spec.model_dump(include={"name", "task", "about", "url", "sha256"}, mode="json") for spec in known]
    print_list(("name", "task", "pull needs", "about"), rows, records, as_json)


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="The ONNX file.")],
    spec: SpecOption,
    into: IntoOption = None,
    data: DataOption = None,
) -> None:
    """Take in an ONNX file: load it, run it, check it against its spec, and keep it with manifest and card."""
    _report(add_model(file, read_spec(spec), _target(into, data)))


@app.command()
def pull(
    spec: SpecOption,
    url: Annotated[str | None, typer.Option(help="Address of the ONNX file, where the spec names none.")] = None,
    sha256: Annotated[str | None, typer.Option(help="SHA-256 of the file, where the spec names none.")] = None,
    into: IntoOption = None,
    data: DataOption = None,
) -> None:
    """Download a model, resuming where an earlier try ended, check its digest, and take it in."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn  # noqa: PLC0415 - slow

    known = read_spec(spec)
    address, digest = url or known.url, sha256 or known.sha256
    if address is None or digest is None:
        options = {"--url": url, "--sha256": sha256}
        needed = [name for name in _missing(known).split(" and ") if options[name] is None]
        raise ModelInvalid(
            f"the spec {known.name!r} names no {' and no '.join(NAMES[name] for name in needed)}: "
            f"give {' and '.join(needed)}, from the model's publisher"
        )
    target = _target(into, data)
    file = target / ".downloads" / f"{digest}.onnx"
    columns = ("[progress.description]{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(known.name, total=None)
        download(address, digest, file, lambda done, total: progress.update(task, completed=done, total=total))
    _report(add_model(file, _pinned(known, digest), target))
    file.unlink()


def _row(manifest: Manifest) -> tuple[str, ...]:
    rates = ", ".join(f"{row.fmr:g}" for row in manifest.thresholds)
    size = f"{manifest.cost.bytes / 1e6:.2f} MB"
    return manifest.name, manifest.version, manifest.task, size, manifest.licence.id, rates


def _record(folder: ModelFolder) -> dict[str, Any]:
    about = folder.manifest.model_dump(include={"name", "version", "task", "sha256", "licence"}, mode="json")
    rates = [row.fmr for row in folder.manifest.thresholds]
    return about | {"bytes": folder.manifest.cost.bytes, "supported_fmr": rates, "folder": str(folder.path)}


def _missing(spec: ModelSpec) -> str:
    """The options that `pull` needs because the spec does not say."""
    options = {"--url": spec.url, "--sha256": spec.sha256}
    return " and ".join(name for name, value in options.items() if value is None)


def _pinned(spec: ModelSpec, digest: str) -> ModelSpec:
    return spec.model_copy(update={"sha256": digest})


def _registry(data: Path | None) -> Registry:
    return Registry.scan(settings_for(data).model_directories)


def _target(into: Path | None, data: Path | None) -> Path:
    return into or settings_for(data).storage.data / "models"


def _fault(folder: ModelFolder) -> ModelError | None:
    try:
        folder.verify()
    except ModelError as error:
        return error
    typer.echo(f"ok {folder.manifest.identity} {folder.manifest.sha256}")
    return None


def _report(folder: ModelFolder) -> None:
    typer.echo(
        f"Added {folder.manifest.identity} in {folder.path}. "
        f"A running service loads it by POST /v1/models/{folder.manifest.identity}/load, or when it starts again."
    )
