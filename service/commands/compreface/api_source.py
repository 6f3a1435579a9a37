"""A running instance of CompreFace, asked by its REST API."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from service.commands.compreface.source import Example, SourceInvalid

PAGE = 100
SECONDS = 60.0


class _Staying(urllib.request.HTTPRedirectHandler):
    """Follows nowhere: urllib would show the key to whatever address an answer names."""

    def redirect_request(self, *_: object) -> None:
        """Make no other request; the answer stands as it is."""


class ApiSource:
    """The recognition service that a key of CompreFace belongs to."""

    def __init__(self, address: str, key: str, page: int = PAGE) -> None:
        """Take the address of the instance, as `http://host:8000`, and the service's key."""
        self._root = address.rstrip("/") + "/api/v1/recognition"
        self._key, self._page = key, page
        self._opener = urllib.request.build_opener(_Staying)

    def subjects(self) -> list[str]:
        """The names of all subjects. Raises: SourceInvalid."""
        return [str(name) for name in self._members("/subjects", "subjects")[0]]

    def examples(self) -> Iterator[Example]:
        """All enrolled faces, page by page.

        CompreFace's pages have no order that holds from one to the next, so that a face may be on two, or on none.

        Raises:
            SourceInvalid: It cannot be read, or a face was on no page.
        """
        number, pages, total = 0, 1, 0
        seen: set[str] = set()
        while number < pages:
            path = f"/faces?page={number}&size={self._page}"
            pages, total, listed = self._members(path, "total_pages", "total_elements", "faces")
            for face in listed:
                image_id = str(face["image_id"])
                if image_id in seen:
                    continue
                seen.add(image_id)
                picture = self._get(f"/faces/{urllib.parse.quote(image_id, safe='')}/img")
                yield Example(image_id, str(face["subject"]), picture or None)
            number += 1
        if len(seen) < total:
            raise SourceInvalid(
                f"{self._root}/faces has {total} faces and listed {len(seen)} of them, which were read: run it again, "
                "or import from a dump"
            )

    def _members(self, path: str, *names: str) -> list[Any]:
        """Ask for some members of an answer."""
        answer = self._get(path)
        try:
            members = json.loads(answer)
            return [members[name] for name in names]
        except (ValueError, LookupError, TypeError):
            raise SourceInvalid(f"{self._root}{path} did not answer as CompreFace does; is it one?") from None

    def _get(self, path: str) -> bytes:
        address = self._root + path
        try:
            request = urllib.request.Request(address, headers={"x-api-key": self._key})  # noqa: S310 - checked below
            if request.type not in ("http", "https"):
                raise SourceInvalid(f"{address}: the address of an instance begins with http:// or https://")
            with self._opener.open(request, timeout=SECONDS) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if (elsewhere := error.headers.get("Location")) is not None:
                raise SourceInvalid(f"{address} refers to {elsewhere}: give the address that answers itself") from None
            raise SourceInvalid(f"{address} answered {error.code}: {_message(error.read())}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:  # the last of an address that is none
            raise SourceInvalid(f"{address} cannot be reached: {error}") from None


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return "no message"
