"""Enrols, verifies and identifies by a Python client of openapi-generator: `PROGRAM ADDRESS KEY FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from openapi_client import ApiClient, Configuration, DecisionsApi
from openapi_client.exceptions import UnauthorizedException, UnprocessableEntityException

address, key, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
decisions = DecisionsApi(ApiClient(Configuration(host=address, access_token=key)))


def photo(name: str) -> tuple[str, bytes]:
    return name, (folder / name).read_bytes()


same = decisions.verify(photo("astronaut.jpg"), reference=photo("astronaut.jpg"), fmr="0.001")
other = decisions.verify(photo("astronaut.jpg"), reference=photo("admiral.jpg"))
enrolled = decisions.enroll("person-1", [photo("astronaut.jpg")])
again = decisions.enroll("person-2", [photo("admiral.jpg")])
known = decisions.identify(photo("astronaut.jpg"))
try:
    decisions.verify(photo("cat.jpg"), reference=photo("astronaut.jpg"))
except UnprocessableEntityException as error:
    faceless = error
try:
    DecisionsApi(ApiClient(Configuration(host=address, access_token="nobody"))).identify(photo("cat.jpg"))
except UnauthorizedException as error:
    refused = error
print(
    json.dumps(
        {
            "same": same.decision,
            "other": other.decision,
            "enrolled": [enrolled.subject.name, again.subject.name],
            "known": [known.faces[0].decision, known.faces[0].candidates[0].subject],
            "landmarks": len(known.faces[0].face.landmarks),
            "faceless": [faceless.status, faceless.data.code, faceless.data.additional_properties["image"]],
            "refused": [refused.status, refused.data.code],
        }
    )
)
