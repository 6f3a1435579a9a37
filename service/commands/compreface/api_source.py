"""A running instance of CompreFace, asked by its REST API."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from service.commands.compreface.source import Example, SourceInvalid

PAGE = 100
SECONDS = 60.0


class ApiSource:
    """The recognition service that a key of CompreFace belongs to."""

    def __init__(self, address: str, key: str, page: int = PAGE) -> None:
        """Take the address of the instance, as `http://host:8000`, and the service's key."""
        self._root = address.rstrip("/") + "/api/v1/recognition"
        self._key, self._page = key, page

    def subjects(self) -> list[str]:
        """The names of all subjects. Raises: SourceInvalid."""
        return [str(name) for name in self._json("/subjects")["subjects"]]

    def examples(self) -> Iterator[Example]:
        """All enrolled faces, page by page. Raises: SourceInvalid."""
        number, pages = 0, 1
        while number < pages:
            listed = self._json(f"/faces?page={number}&size={self._page}")
            pages = int(listed["total_pages"])
            for face in listed["faces"]:
                image_id = str(face["image_id"])
                picture = self._get(f"/faces/{urllib.parse.quote(image_id, safe='')}/img")
                yield Example(image_id, str(face["subject"]), picture or None)
            number += 1

    def _json(self, path: str) -> Any:
        try:
            return json.loads(self._get(path))
        except ValueError:
            raise SourceInvalid(f"{self._root}{path} did not answer with JSON; is it CompreFace?") from None

    def _get(self, path: str) -> bytes:
        address = self._root + path
        request = urllib.request.Request(address, headers={"x-api-key": self._key})  # noqa: S310 - checked below
        if request.type not in ("http", "https"):
            raise SourceInvalid(f"{address}: the address of an instance begins with http:// or https://")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise SourceInvalid(f"{address} answered {error.code}: {_message(error.read())}") from None
        except (urllib.error.URLError, OSError) as error:
            raise SourceInvalid(f"{address} cannot be reached: {error}") from None


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return "no message"
