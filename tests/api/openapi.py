"""Writes docs/openapi.json: `python -m tests.api.openapi`."""

from __future__ import annotations

import json
from pathlib import Path

from service.app import create_app
from service.settings import read_settings

SNAPSHOT = Path(__file__).parents[2] / "docs" / "openapi.json"


def current() -> str:
    """The OpenAPI document of the application as it is now, indented JSON."""
    app = create_app(read_settings(env_file=None))
    return json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(current(), encoding="utf-8")
