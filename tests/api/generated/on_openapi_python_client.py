"""Enrols, verifies and identifies by a client of openapi-python-client: `PROGRAM ADDRESS KEY FOLDER`."""

from __future__ import annotations

import base64
import json
import sys
from io import BytesIO
from pathlib import Path

from facet_api.api.decisions import enroll, identify, verify
from facet_api.client import AuthenticatedClient
from facet_api.models.enroll_form import EnrollForm
from facet_api.models.enroll_request import EnrollRequest
from facet_api.models.identify_form import IdentifyForm
from facet_api.models.problem import Problem
from facet_api.models.verify_form import VerifyForm
from facet_api.models.verify_request import VerifyRequest
from facet_api.types import File

address, key, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
client = AuthenticatedClient(base_url=address, token=key, timeout=60)


def photo(name: str) -> File:
    return File(BytesIO((folder / name).read_bytes()), name, "image/jpeg")


def text(name: str) -> str:
    return base64.b64encode((folder / name).read_bytes()).decode()


same = verify.sync(client=client, body=VerifyForm(photo("astronaut.jpg"), reference=photo("astronaut.jpg")))
other = verify.sync(client=client, body=VerifyRequest(text("astronaut.jpg"), reference=text("admiral.jpg")))
enrolled = enroll.sync(client=client, body=EnrollForm("person-1", [photo("astronaut.jpg")]))
again = enroll.sync(client=client, body=EnrollRequest("person-2", [text("admiral.jpg")]))
known = identify.sync(client=client, body=IdentifyForm(photo("astronaut.jpg")))
faceless = verify.sync_detailed(client=client, body=VerifyForm(photo("cat.jpg"), reference=photo("astronaut.jpg")))
stranger = AuthenticatedClient(base_url=address, token="nobody", timeout=60)
refused = verify.sync(client=stranger, body=VerifyForm(photo("cat.jpg"), reference=photo("astronaut.jpg")))
assert isinstance(faceless.parsed, Problem)
assert isinstance(refused, Problem)
print(
    json.dumps(
        {
            "same": same.decision.value,
            "other": other.decision.value,
            "enrolled": [enrolled.subject.name, again.subject.name],
            "known": [known.faces[0].decision.value, known.faces[0].candidates[0].subject],
            "landmarks": len(known.faces[0].face.landmarks),
            "faceless": [faceless.status_code.value, faceless.parsed.code, faceless.parsed["image"]],
            "refused": [refused.status, refused.code],
        }
    )
)
