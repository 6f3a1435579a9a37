"""The settings together: nested by what they set, each under one variable's name, checked against each other."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

from dotenv import dotenv_values
from pydantic import BaseModel, ValidationError, model_validator

from service.errors import FacetError
from service.settings.decisions import Decisions, Inference, Rollout
from service.settings.group import DOTENV, PREFIX, Group, secret_names, text_of
from service.settings.limits import Limits
from service.settings.serving import Access, CompreFace, Logs, Server
from service.settings.storage import Database, Index, Milvus, Storage
from service.settings.tracing import Tracing
from service.settings.webhooks import Webhooks

BUNDLED = Path(__file__).parents[1] / "starter"
OTHER_PROGRAMS = frozenset({"FACET_PUBLISH", "FACET_MEMORY", "FACET_VERSION", "FACET_WEBHOOK_SECRET"})
"""Variables that docker-compose.yml reads, whose `.env` may be ours, and the bridge to MQTT."""
COMMANDS = frozenset({"FACET_SERVER", "FACET_KEY"})
"""Variables that commands read which ask a running service; they are no settings of that service."""
TRAINING = "FACET_TRAIN_"


class SettingsInvalid(FacetError):
    """A setting cannot be used; the message names its variable."""

    code = "settings_invalid"


class Variable(NamedTuple):
    """An environment variable's place among the settings."""

    group: str
    field: str


class Settings(BaseModel, frozen=True, hide_input_in_errors=True):
    """All settings of one service."""

    server: Server
    storage: Storage
    database: Database
    milvus: Milvus
    inference: Inference
    decisions: Decisions
    limits: Limits
    access: Access
    rollout: Rollout
    compreface: CompreFace
    webhooks: Webhooks
    tracing: Tracing
    logs: Logs

    @classmethod
    def groups(cls) -> dict[str, type[Group]]:
        """The groups by the names of their fields."""
        return {
            name: field.annotation for name, field in cls.model_fields.items() if isinstance(field.annotation, type)
        }

    @classmethod
    def variables(cls) -> dict[str, Variable]:
        """Every variable that is read, with its place."""
        return {
            variable: Variable(name, field)
            for name, group in cls.groups().items()
            for variable, field in group.variables().items()
        }

    @model_validator(mode="after")
    def _engines_agree(self) -> Self:
        if (self.index == "embedded") != (self.database.url is None):
            raise ValueError(
                "FACET_INDEX=pgvector or milvus needs FACET_DATABASE, and a database needs one of them as its index"
            )
        if (self.index == "milvus") != (self.milvus.url is not None):
            raise ValueError("FACET_INDEX=milvus needs FACET_MILVUS, its address; another index needs none")
        if self.index != "embedded" and self.storage.template_keys.get_secret_value():
            raise ValueError(
                "FACET_TEMPLATE_KEYS works with the embedded index only: pgvector and Milvus compare templates in the "
                "clear, so encrypt their disks instead"
            )
        return self

    @property
    def index(self) -> Index:
        """The index in force."""
        return self.storage.index or ("embedded" if self.database.url is None else "pgvector")

    @property
    def model_directories(self) -> list[Path]:
        """Folders that are searched for models, in this order: those set, the data folder's, the bundled ones."""
        own = [directory for directory in (self.storage.data / "models", BUNDLED) if directory.is_dir()]
        return [*self.inference.model_dirs, *own]

    def text_of(self, variable: str) -> str:
        """A setting as the text that its variable would hold. Secrets are masked."""
        place = self.variables()[variable]
        return text_of(getattr(getattr(self, place.group), place.field))

    @classmethod
    def description_of(cls, variable: str) -> str:
        """What a setting does, as its field describes it."""
        place = cls.variables()[variable]
        return cls.groups()[place.group].model_fields[place.field].description or ""


def read_settings(env_file: Path | None = DOTENV, **options: Any) -> Settings:
    """Read the settings from the environment.

    Args:
        env_file: A file of variables that the environment's own come before; None reads none.
        options: Settings that come before both, by their variables' names in small letters without `facet_`.

    Raises:
        SettingsInvalid: A variable or a secret is unknown, or a value cannot be used.
    """
    variables = Settings.variables()
    _refuse_unknown(variables, env_file)
    groups: dict[str, dict[str, Any]] = {name: {"_env_file": env_file} for name in Settings.model_fields}
    for name, value in options.items():
        place = variables[f"{PREFIX}{name.upper()}"]
        groups[place.group][place.field] = value
    try:
        return Settings.model_validate(groups)
    except ValidationError as error:
        names = {place: variable for variable, place in variables.items()}
        faults = "; ".join(
            _described(tuple(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, "), names)
            for fault in error.errors(include_url=False, include_context=False)
        )
        raise SettingsInvalid(faults) from error


def _described(place: tuple[str, ...], message: str, names: dict[Variable, str]) -> str:
    """A fault with its variable's name; one between variables names them itself."""
    if len(place) < 2:
        return message
    variable = place[1] if place[1].startswith(PREFIX) else names[Variable(place[0], place[1])]
    return f"{variable}: {message}"


def _refuse_unknown(known: Iterable[str], env_file: Path | None) -> None:
    """A misspelt variable, or a secret misnamed, would be a setting that is silently not in force."""
    known = list(known)
    lines = dotenv_values(env_file) if env_file is not None else {}
    present = {name.upper() for name in (*os.environ, *lines, *secret_names()) if name.upper().startswith(PREFIX)}
    faults = [
        f"{name} is no setting of Facet{_nearest(name, known)}"
        for name in sorted(present - set(known) - OTHER_PROGRAMS - COMMANDS)
        if not name.startswith(TRAINING)
    ]
    if faults:
        raise SettingsInvalid("; ".join(faults) + "; `facet config` prints them all")


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
