"""Settings of tracing."""

from __future__ import annotations

from importlib.util import find_spec

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from service.settings.group import Group


class Tracing(Group):
    """Tracing: requests as OpenTelemetry spans ([traces](#traces))."""

    model_config = SettingsConfigDict(env_prefix="FACET_TRACING_")

    endpoint: str | None = Field(
        None,
        description="Collector that speaks OTLP over HTTP, as `http://collector:4318`; needs the extra `tracing`. "
        "Unset: nothing is traced.",
    )
    service: str = Field("facet", min_length=1, description="Name of the service in traces.")
    share: float = Field(
        1.0, ge=0, le=1, description="Share of requests traced whose `traceparent` does not say whether they are."
    )

    @field_validator("endpoint")
    @classmethod
    def _endpoint_can_be_told(cls, value: str | None) -> str | None:
        if value is None:
            return value
        if not value.startswith(("http://", "https://")):
            raise ValueError("must be an address as http://collector:4318")
        if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
            raise ValueError("needs the extra `tracing`: pip install '.[tracing]'")
        return value
