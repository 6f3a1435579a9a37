"""What a model is: its digest, input, output, space, licence, origin, cost, results and thresholds.

A field that is missing, misspelt or of another type refuses to load and says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from service.face.errors import ModelInvalid

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Version = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
Rate = Annotated[float, Field(gt=0, lt=1)]
Task = Literal["detector", "embedder", "aligner", "quality", "pad"]
Three = tuple[float, float, float]
Parsed = TypeVar("Parsed", bound=BaseModel)

COSINE = "cosine"
LOWEST, HIGHEST = -2.0, 2.0  # of a score: a cosine, shifted by both templates' offsets where it is normalised
MINIMUM_FALSE_MATCHES = 30  # expected count below which a threshold is not offered


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class InputSpec(_Part):
    """How pixels become the network's input: `(value - mean) * scale`, values 0..255, channels as `colour` says.

    `region` is the rectangle (x0, y0, x1, y1) of the 112x112 template crop that the network sees, stretched to
    width x height; it may reach 8 pixels beyond (-8..120). Detectors take whole photographs: region and
    template are null, and width and height too where the graph's size is free.
    """

    width: int | None = Field(gt=0)
    height: int | None = Field(gt=0)
    colour: Literal["RGB", "BGR"]
    mean: Three
    scale: Three
    layout: Literal["NCHW"]
    template: Literal["arcface-112"] | None
    region: tuple[int, int, int, int] | None
    resample: Literal["linear", "area"]

    @model_validator(mode="after")
    def _region_fits(self) -> Self:
        if (self.template is None) != (self.region is None):
            raise ValueError("template and region belong together: give both or neither")
        if self.region is not None:
            x0, y0, x1, y1 = self.region
            if not (-8 <= x0 < x1 <= 120 and -8 <= y0 < y1 <= 120):
                raise ValueError("region must satisfy -8 <= x0 < x1 <= 120 and likewise for y")
            if self.width is None or self.height is None:
                raise ValueError("an aligned input needs a width and a height")
        return self


class OutputSpec(_Part):
    """The embedding's length, and whether the graph itself normalises it.

    `confidence` names the further output that tells how recognisable the face is (float32 (N,) or (N, 1), 0..1; see
    `recognisability`), if there is one.
    """

    dim: int = Field(gt=0, le=4096)
    normalised: bool
    confidence: str | None = None


class Licence(_Part):
    """The terms of the weights: an SPDX id or 'unknown', an address, and what they mean in plain words."""

    id: str = Field(min_length=1)
    url: str | None
    commercial_use: bool | None
    note: str


class Provenance(_Part):
    """Where the weights come from: digests of the teachers, the recipe, the data, and who made them."""

    teachers: tuple[Sha256, ...]
    recipe: str | None
    data: tuple[str, ...]
    made_by: str


class Cost(_Part):
    """Parameters, multiply-adds for one input (either null where not known), and file size in bytes."""

    parameters: int | None = Field(ge=0)
    multiply_adds: int | None = Field(ge=0)
    bytes: int = Field(gt=0)


class Result(_Part):
    """One measured number under a named protocol, its 95 % interval and the number of trials behind it."""

    protocol: str = Field(min_length=1)
    metric: str = Field(min_length=1)
    value: float
    ci95: tuple[float, float] | None
    trials: int = Field(gt=0)


class CalibratedThreshold(_Part):
    """Scores at or above `threshold` matched `fmr` of `impostor_trials` impostor comparisons."""

    fmr: Rate
    threshold: float = Field(ge=LOWEST, le=HIGHEST)
    impostor_trials: int = Field(gt=0)
    ci95: tuple[float, float]

    @model_validator(mode="after")
    def _supported(self) -> Self:
        expected = self.fmr * self.impostor_trials
        if expected < MINIMUM_FALSE_MATCHES * (1 - 1e-9):
            raise ValueError(
                f"FMR {self.fmr:g} over {self.impostor_trials} trials expects {expected:.1f} false matches; "
                f"at least {MINIMUM_FALSE_MATCHES} are needed"
            )
        return self


class TailThreshold(_Part):
    """A threshold beyond what was counted, from a tail fitted to the highest impostor scores.

    The interval is of the FMR at this score.
    """

    fmr: Rate
    threshold: float = Field(ge=LOWEST, le=HIGHEST)
    ci95: tuple[float, float]


def require_order(thresholds: Sequence[CalibratedThreshold], tail: Sequence[TailThreshold]) -> None:
    """Check that rates fall and scores rise from row to row, on into the tail: between two rows is interpolated.

    Raises: ValueError.
    """
    if tail and not thresholds:
        raise ValueError("a tail goes on from thresholds, and there are none")
    rates = [row.fmr for row in thresholds] + [row.fmr for row in tail]
    scores = [row.threshold for row in thresholds] + [row.threshold for row in tail]
    if rates != sorted(set(rates), reverse=True) or scores != sorted(scores):
        raise ValueError(
            "thresholds, and the tail after them, must go from the highest FMR to the lowest, with rising scores"
        )


class NormalisationSpec(_Part):
    """The digest of `normalisation.onnx`, and how it was made.

    The `nearest` faces of a cohort of `cohort` faces, from prepared sets (`data`), are taken off a score with
    `strength` (see `normalisation`).
    """

    sha256: Sha256
    nearest: int = Field(gt=0)
    strength: float = Field(gt=0)
    cohort: int = Field(gt=0)
    data: tuple[str, ...]

    @property
    def score(self) -> str:
        """What a score of this normalisation is called: thresholds are of one score only."""
        return f"as-norm:{self.sha256[:16]}"


class RecognisabilitySpec(_Part):
    """Faces below `cut` are unrecognisable.

    `sha256` is that of `recognisability.onnx`; null where the model's own graph has the output `confidence`.
    """

    sha256: Sha256 | None
    cut: float = Field(gt=0, lt=1)


class LandmarksSpec(_Part):
    """The digest of `landmarks.onnx`, and the detector (`name@version`) that it was published as.

    It is a second graph of a detector's layout: it gives box and landmarks of each face seen from close by.
    """

    sha256: Sha256
    source: str


class Manifest(_Part):
    """One model. `space` is the digest of the model whose embedding space it shares: a teacher's, or its own.

    `score` says of which score the thresholds are: the plain cosine, or that of the `normalisation`. `tail` goes on
    where `thresholds` end. These, `recognisability` and a detector's `landmarks` may be left out: a model without
    them is served as it is.
    """

    schema_: Literal[1] = Field(alias="schema")
    name: Name
    version: Version
    task: Task
    sha256: Sha256
    space: Sha256 | None
    input: InputSpec
    output: OutputSpec | None
    licence: Licence
    provenance: Provenance
    cost: Cost
    results: tuple[Result, ...]
    thresholds: tuple[CalibratedThreshold, ...]
    score: str = COSINE
    tail: tuple[TailThreshold, ...] = ()
    normalisation: NormalisationSpec | None = None
    recognisability: RecognisabilitySpec | None = None
    landmarks: LandmarksSpec | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.task == "embedder":
            if self.output is None or self.space is None or self.input.region is None:
                raise ValueError("an embedder needs output, space and an aligned input")
        elif self.space is not None or self.thresholds or self.normalisation or self.recognisability:
            raise ValueError("only an embedder has a space, thresholds, a normalisation and a recognisability")
        if self.recognisability is not None and self.recognisability.sha256 is None and not self._tells_confidence:
            raise ValueError(
                "the cut of a recognisability cuts nothing: give the sha256 of recognisability.onnx, or name the "
                "output that tells the confidence"
            )
        if self.landmarks is not None and self.task != "detector":
            raise ValueError("only a detector has landmarks")
        if self.thresholds and self.score != self.computed_score:
            raise ValueError(
                f"the thresholds are of the score {self.score!r}, the model computes {self.computed_score!r}: "
                "calibrate it again"
            )
        require_order(self.thresholds, self.tail)
        return self

    @property
    def _tells_confidence(self) -> bool:
        return self.output is not None and self.output.confidence is not None

    @property
    def computed_score(self) -> str:
        """What the model's scores are: the cosine, or the normalised score of its normalisation."""
        return self.normalisation.score if self.normalisation is not None else COSINE

    @property
    def identity(self) -> str:
        """`name@version`, as written in requests and logs."""
        return f"{self.name}@{self.version}"


def parse_manifest(text: str | bytes, source: str) -> Manifest:
    """Parse a manifest's JSON; `source` names it in errors. Raises: ModelInvalid, listing every wrong field."""
    return parse_json(Manifest, text, source, "manifest")


def parse_json(kind: type[Parsed], text: str | bytes, source: str, whole: str) -> Parsed:
    """Parse JSON to a model; `whole` is what the document is called where no field is at fault.

    Raises: ModelInvalid, listing every wrong field.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise ModelInvalid(f"{source}: {describe_faults(error, whole)}") from error


def describe_faults(error: ValidationError, whole: str) -> str:
    """List every wrong field; `whole` is what the document is called where no field is at fault."""
    faults = error.errors()
    return "; ".join(f"{'.'.join(str(part) for part in fault['loc']) or whole}: {fault['msg']}" for fault in faults)


def load_manifest(path: Path) -> Manifest:
    """Read `manifest.json`. Raises: ModelInvalid when it is missing, unreadable or not a manifest."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ModelInvalid(f"{path}: {error.strerror or 'cannot be read'}") from error
    return parse_manifest(text, str(path))


def dump_manifest(manifest: Manifest) -> str:
    """The manifest as indented JSON, ready to be written beside its model. What may be left out, and is, stays out."""
    return manifest.model_dump_json(by_alias=True, indent=2, exclude_defaults=True) + "\n"
