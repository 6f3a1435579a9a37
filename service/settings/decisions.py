"""Settings of the models, of their decisions, and of the way from one model to the next."""

from __future__ import annotations

import os

from pydantic import Field, field_validator

from service.settings.group import Group, Names, Paths

PROVIDER_NAMES = ("cpu", "cuda", "tensorrt", "openvino", "coreml", "dml")


class Inference(Group):
    """Inference: which models are loaded, and on how many threads they run."""

    model_dirs: Paths = Field(
        (),
        description="Further folders of models, separated by the system's path separator (`:`). They come before "
        "`<data>/models` and the bundled models, so a model of the same name and version replaces the bundled one.",
    )
    detector: str | None = Field(
        None, description="Name of the face detector. Unset: the first detector found, by folder and then by name."
    )
    models: Names = Field(
        (),
        description="Names of the embedders to load, separated by commas. Unset: every embedder found. Each enrolled "
        "face gets a template of each of them, so every model costs time and space.",
    )
    default_model: str | None = Field(
        None, description="Embedder that answers when a request names none. Unset: the first loaded one."
    )
    providers: Names = Field(
        ("cpu",),
        description="What models run on, as ONNX Runtime has it: `cpu`, `cuda`, `tensorrt`, `openvino`, `coreml` or "
        "`dml`. `cuda, facet-detector=cpu` runs one model on something else. What cannot be had refuses to start; "
        "nothing falls back to the CPU.",
    )
    workers: int = Field(
        0,
        ge=0,
        description="Threads that decode and run models; 0 is one per core. More than cores only adds waiting.",
    )

    @field_validator("providers")
    @classmethod
    def _providers_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            provider = entry.rpartition("=")[2].strip()
            if provider not in PROVIDER_NAMES:
                raise ValueError(f"{provider!r} is no execution provider; there are {', '.join(PROVIDER_NAMES)}")
        if len([entry for entry in value if "=" not in entry]) > 1:
            raise ValueError("name one execution provider for all models, and others as `model=provider`")
        return value

    @property
    def provider_names(self) -> tuple[str, dict[str, str]]:
        """The provider of all models, and those of models that have their own, by the model's name."""
        pairs = [tuple(part.strip() for part in entry.rpartition("=")[::2]) for entry in self.providers]
        default = next((provider for model, provider in pairs if not model), "cpu")
        return default, {model: provider for model, provider in pairs if model}

    @property
    def worker_count(self) -> int:
        """Worker threads: as set, or one for each core this process may use."""
        return self.workers or len(os.sched_getaffinity(0))


class Decisions(Group):
    """Decisions: what holds where a request does not say."""

    default_fmr: float = Field(
        1e-3,
        gt=0,
        lt=1,
        description="False match rate of a decision when a request gives neither `fmr` nor `threshold`. A rate that "
        "no loaded model supports refuses to start.",
    )
    ambiguous_margin: float = Field(
        0.05,
        ge=0,
        le=1,
        description="An identification is ambiguous when ranks 1 and 2 both pass and lie closer than this.",
    )


class Rollout(Group):
    """Rollout: trying a second model on live requests, and making its templates ([comparing](comparing-models.md))."""

    shadow_queue: int = Field(
        64, ge=1, description="Sampled decisions that may wait for the challenger; the next is not compared."
    )
    shadow_cpu: float = Field(
        0.25, gt=0, le=1, description="Share of one core that comparing with the challenger may take."
    )
    comparison_rows: int = Field(100_000, ge=1, description="Most sampled decisions kept.")
    comparison_days: float = Field(30.0, gt=0, description="Days for which sampled decisions are kept.")
    reembed_rate: float = Field(
        20.0,
        gt=0,
        description="Faces a second for which templates are made from kept crops, where a job does not say.",
    )
    renew_fmr: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Make templates of loaded models that a person lacks from a photograph that matches the person at "
        "this false match rate or a stricter one. Unset: never.",
    )
