"""The OpenAPI document: FastAPI's, completed with what routes read by themselves."""

from __future__ import annotations

import copy
import json
import threading
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.http import body
from service.api.http.body import IMAGE_SCHEMA
from service.api.http.problems import Problem
from service.api.route_declarations import form_name
from service.api.schemas import requests
from service.version import VERSION

FORMS: tuple[type[body.Request], ...] = (
    requests.VerifyRequest,
    requests.IdentifyRequest,
    requests.EnrollRequest,
    requests.DetectRequest,
    requests.EmbedRequest,
)
"""Requests that come as JSON or as a form."""

OTHERS: tuple[type[BaseModel], ...] = (
    requests.CollectionRequest,
    requests.SubjectRequest,
    requests.RolesRequest,
    requests.OutcomeRequest,
    requests.ReembeddingRequest,
    Problem,
)

REF = "#/components/schemas/{model}"

DESCRIPTION = """\
Enrol, verify and identify faces, at a stated false match rate.

Images come as parts of a multipart form or as base64 in JSON; an address or a path is never fetched. Every decision
carries its score, its threshold, the false match rate that the threshold was calibrated at, and the model that made
it. Every error is a problem (RFC 9457) with a stable `code` and the `request_id` under which the log knows it.
"""

TAGS = [
    {"name": "decisions", "description": "Enrol people, verify and identify them."},
    {"name": "sight", "description": "What an image shows."},
    {"name": "gallery", "description": "Collections, subjects and their faces."},
    {"name": "models", "description": "The models that decide."},
    {"name": "comparison", "description": "Models compared on live requests, and changed."},
    {"name": "keys", "description": "What the calling key may do."},
    {"name": "health", "description": "For orchestrators and Prometheus."},
]


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `app`."""
    description = get_openapi(title="Facet", version=VERSION, description=DESCRIPTION, tags=TAGS, routes=app.routes)
    _, definitions = models_json_schema([(model, "validation") for model in (*FORMS, *OTHERS)], ref_template=REF)
    schemas = description["components"]["schemas"]
    schemas.update(definitions["$defs"])
    for model in FORMS:
        schemas[form_name(model)] = as_form(definitions["$defs"][model.__name__])
    description["components"]["schemas"] = dict(sorted(schemas.items()))
    return description


class DocumentText:
    """The document of an application as JSON: made when it is first asked for, and kept. Safe to call from threads.

    Making it takes a second, which whoever asks without a key must not be able to ask for again and again.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._making = threading.Lock()
        self._text = b""

    def read(self) -> bytes:
        """Give the text; call it on another thread than the event loop's."""
        with self._making:
            if not self._text:
                self._text = json.dumps(document(self._app), ensure_ascii=False, separators=(",", ":")).encode()
            return self._text


def as_form(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a request as a multipart form: images are files, metadata is JSON in a text part."""
    form = copy.deepcopy(schema)
    form["title"] = form["title"].removesuffix("Request") + "Form"
    form["properties"] = {name: _as_part(name, field) for name, field in form["properties"].items()}
    return form


def _as_part(name: str, field: Any) -> Any:
    if name == "metadata":
        return {
            "type": "string",
            "contentMediaType": "application/json",
            "title": field["title"],
            "description": field["description"],
        }
    # A part of a form cannot be null: a field that is not given is left out.
    options = [option for option in field.pop("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        field.pop("default", None)
        field = {**options[0], **field}
    return _with_files(field)


def _with_files(node: Any) -> Any:
    if isinstance(node, dict):
        if node.get("contentMediaType") == IMAGE_SCHEMA["contentMediaType"]:
            kept = {key: value for key, value in node.items() if key not in IMAGE_SCHEMA}
            return {"type": "string", "format": "binary", **kept}
        return {key: _with_files(value) for key, value in node.items()}
    return node
