"""The OpenAPI document: FastAPI's, completed with what routes read by themselves."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.http import body
from service.api.http.body import FORM, IMAGE_SCHEMA
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
    requests.CollectionChanges,
    requests.SubjectRequest,
    requests.MergeRequest,
    requests.FaceRequest,
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
    {"name": "detection", "description": "What an image shows."},
    {"name": "gallery", "description": "Collections, subjects and their faces."},
    {"name": "models", "description": "The models that decide."},
    {"name": "comparison", "description": "Models compared on live requests, and changed."},
    {"name": "keys", "description": "What the calling key may do."},
    {"name": "audit", "description": "Who asked what of whom."},
    {"name": "health", "description": "For orchestrators and Prometheus."},
]


class Bodies(StrEnum):
    """Which bodies the document describes for routes that take a form and JSON alike.

    Some generators, openapi-generator for one, know one body an operation: their clients would send an empty JSON.
    """

    ALL = "all"
    FORMS = "forms"


def document(app: FastAPI, bodies: Bodies = Bodies.ALL) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `app`, in what code generators understand of it."""
    description = get_openapi(
        title="Facet",
        version=VERSION,
        description=DESCRIPTION,
        tags=TAGS,
        servers=app.servers or None,
        routes=app.routes,
    )
    _, definitions = models_json_schema([(model, "validation") for model in (*FORMS, *OTHERS)], ref_template=REF)
    schemas = description["components"]["schemas"]
    schemas.update(definitions["$defs"])
    for model in FORMS:
        schemas[form_name(model)] = as_form(definitions["$defs"][model.__name__])
    names = {name: schema["title"] if "_" in name else name for name, schema in schemas.items()}
    description["components"]["schemas"] = {names[name]: schema for name, schema in sorted(schemas.items())}
    if bodies is Bodies.FORMS:
        _leave_forms(description)
    new_names = {REF.format(model=old): REF.format(model=new) for old, new in names.items()}
    plain: dict[str, Any] = _plainly(description, new_names)
    return plain


class DocumentText:
    """The document of an application as JSON: made when it is first asked for, and kept. Safe to call from threads.

    Making it takes a second, which whoever asks without a key must not be able to ask for again and again.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._making = threading.Lock()
        self._texts: dict[Bodies, bytes] = {}

    def read(self, bodies: Bodies = Bodies.ALL) -> bytes:
        """Give the text; call it on another thread than the event loop's."""
        with self._making:
            if bodies not in self._texts:
                text = document(self._app, bodies)
                self._texts[bodies] = json.dumps(text, ensure_ascii=False, separators=(",", ":")).encode()
            return self._texts[bodies]


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


def _leave_forms(description: dict[str, Any]) -> None:
    """Of a body that comes as a form or as JSON, leave the form; its fractions are text, as a form's fields are.

    The Python clients of openapi-generator cannot write a float into a form.
    """
    for methods in description["paths"].values():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {})
            if FORM in content:
                operation["requestBody"]["content"] = {FORM: content[FORM]}
    for model in FORMS:
        del description["components"]["schemas"][model.__name__]
        fields = description["components"]["schemas"][form_name(model)]["properties"]
        fields.update({name: _as_text(field) for name, field in fields.items() if field.get("type") == "number"})


def _as_text(field: dict[str, Any]) -> dict[str, Any]:
    examples = {"examples": [str(example) for example in field["examples"]]} if "examples" in field else {}
    kept = {name: field[name] for name in ("title", "description")}
    return {"type": "string", "pattern": r"^[-+.0-9eE]+$", **kept, **examples}


def _plainly(node: Any, references: Mapping[str, str]) -> Any:
    """The same in words that generators understand, with references to the names that components have now.

    An array of n equal items is said by `items`: of `prefixItems` they make a list of anything. A default of null goes
    without saying: openapi-typescript would ask for the field.
    """
    if isinstance(node, list):
        return [_plainly(value, references) for value in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _plainly(value, references) for key, value in node.items() if (key, value) != ("default", None)}
    if isinstance(plain.get("$ref"), str):
        plain["$ref"] = references[plain["$ref"]]
    first, *others = plain.get("prefixItems", [None])
    if first is not None and all(other == first for other in others):
        plain["items"] = plain.pop("prefixItems")[0]
    return plain
