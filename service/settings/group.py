"""What settings that belong together have in common: where they are read from, and how their values are spelt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.gallery.names import canonical_name

PREFIX = "FACET_"
DOTENV = Path(".env")
SECRETS = Path("/run/secrets")
CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""The variable in which systemd names the folder of a unit's credentials."""


def secret_folders() -> list[Path]:
    """Folders whose files are secrets: those given to a container, and those that systemd loaded for the unit."""
    named = os.environ.get(CREDENTIALS)
    return [folder for folder in (SECRETS, Path(named) if named else None) if folder is not None and folder.is_dir()]


class Group(BaseSettings):
    """Settings that belong together; the class docstring is their heading in the documents.

    A field is read from the variable `env_prefix` + its name in capitals, or from the one that its alias spells out,
    then from the file `.env`, then from a file of that name among the secrets of the container or the unit.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        secrets_dir=secret_folders() or None,  # facet_database_password and the like
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,  # it may be a password
    )

    @field_validator("*", mode="before")
    @classmethod
    def _without_line_end(cls, value: object) -> object:
        """A variable that was filled from a file, as Kubernetes does it with a secret, has the end of its last line."""
        return value.rstrip("\r\n") if isinstance(value, str) else value

    @classmethod
    def variables(cls) -> dict[str, str]:
        """The names of the environment variables, each with the name of its field."""
        prefix = cls.model_config["env_prefix"]
        return {
            field.validation_alias if isinstance(field.validation_alias, str) else f"{prefix}{name.upper()}": name
            for name, field in cls.model_fields.items()
        }


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _split_names(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _split_paths(value: object) -> object:
    return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value


AnyCase = BeforeValidator(_lower)
"""For a word of a fixed choice: INFO is info."""

CollectionName = Annotated[str, AfterValidator(canonical_name)]
"""The name of a collection, in the spelling that collections are kept under."""

Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_names)]
"""Names, separated by commas in a variable."""

Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split_paths)]
"""Paths, separated by the system's path separator in a variable."""


def secret_names() -> list[str]:
    """Names of the files in the folders of secrets that are named like variables."""
    files = [file for folder in secret_folders() for file in folder.iterdir() if file.is_file()]
    return [file.name for file in files if file.name.upper().startswith(PREFIX)]


def text_of(value: object) -> str:
    """A setting's value as its variable would hold it; a secret is masked."""
    if isinstance(value, tuple):
        return (os.pathsep if any(isinstance(part, Path) for part in value) else ",").join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, SecretStr):
        return str(value)
    return "" if value is None else str(value)
