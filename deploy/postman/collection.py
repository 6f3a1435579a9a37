"""Writes a Postman collection from the OpenAPI document.

`make docs` calls it:

    python deploy/postman/collection.py docs/openapi.json deploy/postman/facet.json

Postman, Bruno, Insomnia and Hoppscotch import it. The format is published at
https://schema.postman.com/collection/json/v2.1.0/draft-07/docs/index.html.

What is optional is there and switched off, but for what the document's own example of the same request gives. The same
document makes the same file.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
FORM, JSON = "multipart/form-data", "application/json"
METHODS = ("get", "post", "put", "patch", "delete")
OWN = {"base_url": "http://127.0.0.1:8000", "key": ""}
"""Variables that every request reads; a collection holds no key."""
KNOWN = {"collection": "default", "subject": "person-1", "name": "facet-m"}
"""Parts of paths that have a value of use to begin with."""


class Document:
    """An OpenAPI document, its references followed."""

    def __init__(self, content: Json) -> None:
        self.content = content

    def resolve(self, schema: Json) -> Json:
        """The schema that this one refers to, keys beside the reference kept."""
        if "$ref" not in schema:
            return schema
        node: Any = self.content
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part]
        return {**self.resolve(node), **{key: value for key, value in schema.items() if key != "$ref"}}

    def operations(self) -> Iterator[tuple[str, str, Json]]:
        """Method, path and operation, in the document's order."""
        for path, methods in self.content["paths"].items():
            for method in METHODS:
                if method in methods:
                    yield method, path, methods[method]


def make_collection(content: Json) -> Json:
    """The collection of a document: a folder for each tag, a request for each operation."""
    document = Document(content)
    folders: dict[str, Json] = {
        tag["name"]: {"name": tag["name"], "description": tag.get("description", ""), "item": []}
        for tag in content["tags"]
    }
    variables = dict(OWN)
    for method, path, operation in document.operations():
        folders[operation["tags"][0]]["item"].append(_item(document, method, path, operation))
        for parameter in _parameters(document, operation, "path"):
            variables.setdefault(parameter["name"], KNOWN.get(parameter["name"], ""))
    return {
        "info": {
            "_postman_id": str(uuid.uuid5(uuid.NAMESPACE_URL, content["info"]["title"])),
            "name": content["info"]["title"],
            "description": content["info"]["description"],
            "version": content["info"]["version"],
            "schema": SCHEMA,
        },
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{key}}", "type": "string"}]},
        "variable": [{"key": name, "value": value, "type": "string"} for name, value in variables.items()],
        "item": list(folders.values()),
    }


def _item(document: Document, method: str, path: str, operation: Json) -> Json:
    request: Json = {
        "method": method.upper(),
        "description": operation.get("description", ""),
        "header": [_entry(document, each) for each in _parameters(document, operation, "header")],
        "url": _url(document, path, operation),
    }
    if not operation.get("security"):
        request["auth"] = {"type": "noauth"}
    bodies = operation.get("requestBody", {}).get("content", {})
    example = bodies.get(JSON, {}).get("example", {})
    if FORM in bodies:
        request["body"] = {"mode": "formdata", "formdata": list(_fields(document, bodies[FORM]["schema"], example))}
    elif JSON in bodies:
        text = json.dumps(example, indent=2, ensure_ascii=False)
        request["body"] = {"mode": "raw", "raw": text, "options": {"raw": {"language": "json"}}}
        request["header"].append({"key": "Content-Type", "value": JSON})
    return {"name": operation["summary"], "request": request, "response": []}


def _parameters(document: Document, operation: Json, place: str) -> list[Json]:
    parameters = [document.resolve(parameter) for parameter in operation.get("parameters", [])]
    return [parameter for parameter in parameters if parameter["in"] == place]


def _url(document: Document, path: str, operation: Json) -> Json:
    parts = [f":{part[1:-1]}" if part.startswith("{") else part for part in path.strip("/").split("/")]
    query = [_entry(document, each) for each in _parameters(document, operation, "query")]
    query_text = "&".join(f"{each['key']}={each['value']}" for each in query if not each.get("disabled"))
    url: Json = {
        "raw": "/".join(["{{base_url}}", *parts]) + (f"?{query_text}" if query_text else ""),
        "host": ["{{base_url}}"],
        "path": parts,
    }
    if query:
        url["query"] = query
    if variables := _parameters(document, operation, "path"):
        url["variable"] = [
            {"key": each["name"], "value": f"{{{{{each['name']}}}}}", "description": each.get("description", "")}
            for each in variables
        ]
    return url


def _entry(document: Document, parameter: Json) -> Json:
    """A parameter of the query or a header."""
    value = _example(document, parameter["schema"])
    entry = {"key": parameter["name"], "value": value, "description": parameter.get("description", "")}
    return entry if parameter.get("required") else {**entry, "disabled": True}


def _fields(document: Document, schema: Json, example: Json) -> Iterator[Json]:
    """The parts of a form; images are files, whatever comes several times is there once."""
    form = document.resolve(schema)
    for name, property_ in form["properties"].items():
        kind = document.resolve(property_)
        single = document.resolve(kind["items"]) if kind.get("type") == "array" else kind
        field: Json = {"key": name, "description": kind.get("description", "")}
        if single.get("format") == "binary":
            field |= {"type": "file", "src": []}
        else:
            field |= {"type": "text", "value": _text(example[name]) if name in example else _example(document, single)}
        yield field if name in form.get("required", []) or name in example else {**field, "disabled": True}


def _example(document: Document, schema: Json) -> str:
    """A value that the schema itself names, or nothing."""
    kind = document.resolve(schema)
    named = [*kind.get("examples", []), *(kind[key] for key in ("default", "const") if key in kind)]
    for value in (*named, *kind.get("enum", [])):
        if value is not None:
            return _text(value)
    return ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def main(source: str, target: str) -> None:
    """Read the document from one file and write the collection to the other."""
    collection = make_collection(json.loads(Path(source).read_text(encoding="utf-8")))
    Path(target).write_text(json.dumps(collection, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
