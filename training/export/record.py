"""`export.json`: what was measured of a run's exported graphs, which differs between an embedder and a detector."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from training.atomic_folder import write_json
from training.errors import PublishRefused

FILE = "export.json"
Form = Literal["fp32", "fp16", "int8"]
FORMS: tuple[Form, ...] = ("fp32", "fp16", "int8")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Graph(_Record):
    """One exported file of a run.

    Attributes:
        form: Its arithmetic.
        file: Its name in the run's folder `export`.
        sha256: Its digest.
        bytes: Its size.
        milliseconds: Median time on one thread of the machine that exported it: of one face for an embedder, of one
            640x480 photograph for a detector.
    """

    form: Form
    file: str
    sha256: str
    bytes: int
    milliseconds: float


class EmbedderGraph(Graph):
    """`cosine_mean` and `cosine_min` with torch over the probe crops, and how many times faster than fp32 it ran."""

    cosine_mean: float
    cosine_min: float
    speedup: float
    verdict: str = ""

    @property
    def cost(self) -> str:
        """How fast it was and how near to the trained network it is, in words."""
        return (
            f"{self.milliseconds:.2f} ms on one thread of the machine that\n  exported it ({self.verdict}); "
            f"mean cosine with the trained network {self.cosine_mean:.4f}"
        )


class DetectorGraph(Graph):
    """`teacher_ratio` is its time over the teacher's, taken in turns."""

    teacher_ratio: float

    @property
    def cost(self) -> str:
        """How fast it was, in words."""
        return (
            f"{self.milliseconds:.2f} ms for a 640x480 photograph on one\n"
            f"  thread of the machine that exported it, {self.teacher_ratio:.2f} times the teacher's"
        )


class EmbedderExport(_Record):
    """The forms of an embedder; `dim` values an embedding, compared with torch on `probes` crops.

    `confidence` names the graphs' second output, where they have one.
    """

    kind: Literal["embedder"] = "embedder"
    dim: int
    confidence: str | None = None
    parameters: int
    multiply_adds: int
    probes: int = Field(default=0, ge=0)
    forms: tuple[EmbedderGraph, ...]


class DetectorExport(_Record):
    """The graph of a detector, whose multiply-adds depend on the picture's size."""

    kind: Literal["detector"] = "detector"
    parameters: int
    forms: tuple[DetectorGraph, ...]


Export = EmbedderExport | DetectorExport


def write_export(folder: Path, export: Export) -> None:
    """Write a run's `export.json` into its folder `export`."""
    write_json(folder / FILE, export.model_dump())


def read_export(folder: Path) -> Export:
    """Read a run's `export.json` from its folder `export`.

    Raises:
        PublishRefused: There is none, or it does not say what was measured.
    """
    kind: TypeAdapter[Export] = TypeAdapter(Export)
    try:
        return kind.validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise PublishRefused(f"{folder} has no readable {FILE}: run `facet-train export` first") from error
