"""Long work of commands: its progress on standard error, and how it is gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def counting_bar() -> Progress:
    """A bar that counts things done and says how long the others may take; it is gone when they are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def resumable(kept: Path) -> Iterator[None]:
    """Say, when the work within is interrupted or fails, that it can be gone on with; `kept` has what was done."""
    try:
        yield
    except BaseException:
        typer.echo(f"what was done is in {kept}: the same command goes on after it", err=True)
        raise
