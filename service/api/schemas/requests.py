"""What callers may send: one model per request, read from a multipart form or from JSON alike."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import from_json

from service.api.http import body
from service.api.http.body import KIB, Image, bound_json
from service.api.http.moment import Moment
from service.decision import OperatingPoint
from service.gallery.names import LONGEST, canonical_name, is_name
from service.gallery.records import DuplicatePolicy, Keep

MAX_IMAGES = 20
MAX_TOP_K = 100
MAX_FACE = 2**31 - 1
MAX_FACTS = 50
METADATA_BYTES = 512 * KIB  # fifty facts of the longest, every character of them escaped
DEFAULT_COLLECTION = "default"
GATE = "How enrolments into it treat unfit faces where they do not say: `enforce` or `report`. Null: `enforce`."


def _addressable(value: str) -> str:
    """Names stand in addresses, in one spelling, which may have more characters than the one that was sent."""
    name = canonical_name(value)
    if len(name) > LONGEST:
        raise ValueError(f"must have at most {LONGEST} characters in Unicode's composed form")
    if not is_name(name):
        raise ValueError("must be printable, without slashes, not dots alone, and without space at either end")
    return name


def _json_in_form(value: object, info: ValidationInfo) -> object:
    """A form's field is text: metadata is read from it as JSON."""
    if isinstance(value, str) and (info.context or {}).get("form"):
        bound_json(value.encode())
        value = from_json(value, allow_inf_nan=False)
    if isinstance(value, dict) and len(value) > MAX_FACTS:  # said once, and not of each
        raise ValueError(f"must have at most {MAX_FACTS} entries")
    return value


Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
NameText = Annotated[str, Field(min_length=1, max_length=LONGEST, pattern=r"^[^/\\]+$")]
Name = Annotated[NameText, AfterValidator(_addressable)]
QueryName = Annotated[str, AfterValidator(canonical_name)]
"""A name, or the beginning of one, that is looked for; one that nothing bears finds nothing."""


def _one_fault(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """Say once what a fact may be, and not once for each type that it is not."""
    try:
        return validate(value)
    except ValidationError:
        raise ValueError("must be a text of at most 1,000 characters, a number, true, false or null") from None


Scalar = Annotated[Annotated[Text, Field(max_length=1000)] | bool | int | float | None, WrapValidator(_one_fault)]
Metadata = Annotated[
    dict[Annotated[Text, Field(min_length=1, max_length=100)], Scalar],
    Field(max_length=MAX_FACTS),
    BeforeValidator(_json_in_form),
]
ModelText = Annotated[str, Field(min_length=1, max_length=80)]
ModelName = Annotated[
    ModelText,
    Field(
        description="Model that embeds the faces, as `name` or `name@version`. Unset: the service's default.",
    ),
]
FaceChoice = Literal["prominent", "single"]
QualityChoice = Literal["enforce", "report"]
Faces = Annotated[
    FaceChoice,
    Field(
        description="`prominent` takes the largest, most central face; `single` refuses images with several.",
    ),
]
QualityGate = Annotated[
    QualityChoice,
    Field(description="`enforce` refuses unfit faces; `report` only names the reasons."),
]
Rate = Annotated[float, Field(gt=0, lt=1)]
Score = Annotated[float, Field(ge=-1, le=1)]


class Request(body.Request):
    """What all requests share: unknown fields and non-finite numbers are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Decidable(Request):
    max_text = 64 * KIB

    model: ModelName | None = None
    fmr: Rate | None = Field(
        None,
        description="False match rate to decide at; the model's calibrated table gives the threshold. For a search it "
        "is the rate at which a stranger matches anybody. Not together with threshold.",
        examples=[0.001],
    )
    threshold: Score | None = Field(
        None, description="Score to decide at, instead of a rate. Not together with fmr.", examples=[0.4]
    )

    @model_validator(mode="after")
    def _one_of_rate_and_score(self) -> Self:
        if self.fmr is not None and self.threshold is not None:
            raise ValueError("give fmr or threshold, not both")
        return self

    @property
    def point(self) -> OperatingPoint:
        """Where to decide: at the rate, or at the score."""
        return OperatingPoint(self.fmr, self.threshold)


class VerifyRequest(_Decidable):
    """A probe, and what it is compared with: a reference image, or a stored subject."""

    max_images = 2

    probe: Image = Field(description="Image of the person to verify.")
    reference: Image | None = Field(None, description="Image to compare with.")
    subject: Name | None = Field(None, description="Name of a stored subject to compare with, instead of an image.")
    collection: Name | None = Field(None, description="Collection of the subject. Unset: `default`.")
    faces: Faces = "prominent"
    quality: QualityGate = "report"
    reference_faces: FaceChoice | None = Field(
        None, description="`faces` for the reference image, an identity card beside a selfie say. Unset: as `faces`."
    )
    reference_quality: QualityChoice | None = Field(
        None, description="`quality` for the reference image. Unset: as `quality`."
    )

    @model_validator(mode="after")
    def _one_reference(self) -> Self:
        if (self.reference is None) == (self.subject is None):
            raise ValueError("give a reference image or a subject, exactly one of them")
        if self.collection is not None and self.subject is None:
            raise ValueError("collection belongs to subject; with a reference image leave it out")
        if self.reference is None and (self.reference_faces or self.reference_quality):
            raise ValueError("reference_faces and reference_quality belong to a reference image; leave them out")
        return self


class IdentifyRequest(_Decidable):
    """An image to search a collection with."""

    max_images = 1

    image: Image = Field(description="Image of the person to identify.")
    collection: Name = Field(DEFAULT_COLLECTION, description="Collection to search.")
    top_k: int = Field(5, ge=1, le=MAX_TOP_K, description="Most candidates to return, each subject once.")
    faces: Literal["prominent", "single", "all"] = Field(
        "prominent",
        description="`prominent` takes the largest, most central face; `single` refuses images with several; `all` "
        "identifies every face.",
    )
    quality: QualityGate = "report"

    @model_validator(mode="after")
    def _one_face_to_enforce(self) -> Self:
        if self.faces == "all" and self.quality == "enforce":
            raise ValueError("quality=enforce refuses one face; with faces=all the reasons of each are reported")
        return self


class EnrollRequest(_Decidable):
    """A person to enrol, from one image or several. Fit images are kept, the others are reported."""

    max_text = METADATA_BYTES
    max_images = MAX_IMAGES

    subject: Name = Field(description="Name of the person; made when new.", examples=["person-1"])
    images: tuple[Image, ...] = Field(min_length=1, max_length=MAX_IMAGES, description="Images of the person.")
    collection: Name = Field(DEFAULT_COLLECTION, description="Collection to enrol in.")
    metadata: Metadata | None = Field(
        None, description="Facts to keep with the subject; in a form, a JSON object as text. Replaces earlier ones."
    )
    expires_at: Moment | None = Field(
        None,
        description="When the person is erased by itself, with a receipt, within ten minutes. Unset: as before, and "
        "never for somebody new.",
    )
    duplicate: DuplicatePolicy = Field(
        DuplicatePolicy.ALLOW,
        description="What to do when a face already belongs to another subject: `allow` does not look, `warn` enrols "
        "and names them, `reject` refuses. `model`, `fmr` and `threshold` say how it is looked for.",
    )
    faces: Faces = "single"
    quality: QualityChoice | None = Field(
        None,
        description="`enforce` refuses unfit faces; `report` only names the reasons. Unset: as the collection says, or "
        "`enforce`.",
    )

    def fingerprint(self) -> str:
        """A digest that tells this request from others: SHA-256 over its fields and the digests of its images.

        A field that came later stands in it only where it is given: a request has one fingerprint in all versions.
        """
        fields = self.model_dump() | {"quality": self.quality or "enforce"}
        if self.expires_at is None:
            del fields["expires_at"]
        return hashlib.sha256(json.dumps(fields, default=_digest, sort_keys=True).encode()).hexdigest()


class DetectRequest(Request):
    """An image to look for faces in."""

    max_text = 64 * KIB
    max_images = 1

    image: Image = Field(description="Image to look at.")


class EmbedRequest(Request):
    """An image whose faces become templates."""

    max_text = 64 * KIB
    max_images = 1

    image: Image = Field(description="Image to look at.")
    model: ModelName | None = None


class CollectionRequest(Request):
    """A new collection."""

    max_text = METADATA_BYTES

    name: Name = Field(description="Name of the collection.")
    keep_crops: bool = Field(
        False, description="Keep the aligned face crops, so that new models can be applied to people already enrolled."
    )
    quality: QualityChoice | None = Field(None, description=GATE)
    metadata: Metadata = Field({}, description="Facts to keep with the collection.")


class CollectionChanges(Request):
    """Changes of a collection; what is not given stays."""

    max_text = METADATA_BYTES

    keep_crops: bool | None = Field(
        None, description="Whether crops of further enrolments are kept. Those that are kept already stay."
    )
    quality: QualityChoice | None = Field(None, description=GATE)
    metadata: Metadata | None = Field(None, description="New metadata; replaces the old.")

    @model_validator(mode="after")
    def _something_to_change(self) -> Self:
        if not self.values:
            raise ValueError("give keep_crops, quality or metadata")
        return self

    @property
    def values(self) -> dict[str, Any]:
        """What is to be changed; `quality` may be null and is given all the same."""
        fields = self.model_dump(include=self.model_fields_set)
        return {name: value for name, value in fields.items() if value is not None or name == "quality"}


class FaceRequest(Request):
    """Whose a face is."""

    subject: Name = Field(description="Name of the person whose face it is; made when new.")


class MergeRequest(Request):
    """Who else is the same person."""

    other: Name = Field(description="Name of the person whose faces change hands, and whose record is no more.")


class SubjectRequest(Request):
    """Changes of a subject."""

    max_text = METADATA_BYTES

    name: Name | None = Field(None, description="New name of the subject.")
    metadata: Metadata | None = Field(None, description="New metadata; replaces the old.")
    expires_at: Moment | None = Field(
        None, description="When the person is erased by itself, with a receipt, within ten minutes; null: never."
    )

    @model_validator(mode="after")
    def _something_to_change(self) -> Self:
        if self.name is None and self.metadata is None and "expires_at" not in self.model_fields_set:
            raise ValueError("give a new name, new metadata or a date of expiry")
        return self

    @property
    def expiry(self) -> datetime | Keep | None:
        """The new date, None to lift it, or what says that it stays."""
        return self.expires_at if "expires_at" in self.model_fields_set else Keep.KEEP


class RolesRequest(Request):
    """Which model answers, and which is tried beside it."""

    champion: ModelText = Field(description="Loaded model that answers where a request names none.")
    challenger: ModelText | None = Field(None, description="Loaded model that is tried on live requests; null: none.")
    sample: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the champion's decisions kept and compared with the challenger's.",
    )


class ReembeddingRequest(Request):
    """A model whose templates are to be made from kept crops."""

    model: ModelText = Field(description="Loaded model, as `name` or `name@version`.")
    collection: Name | None = Field(None, description="Collection to do it in; null: all that keep crops.")
    rate: float | None = Field(None, gt=0, le=10_000, description="Most faces a second. Unset: the service's default.")


class OutcomeRequest(Request):
    """What was true of a past decision."""

    outcome: Literal["genuine", "impostor"] = Field(
        description="`genuine`: it was the person in question, the reference, the subject or rank 1. `impostor`: it "
        "was not."
    )
    face: int = Field(
        0, ge=0, le=MAX_FACE, description="Which face of an identification, from 0 in the order of the answer."
    )


def _digest(value: Any) -> str:
    return str(value.isoformat()) if isinstance(value, datetime) else hashlib.sha256(value).hexdigest()
