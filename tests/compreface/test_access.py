"""Who may ask what of `/api/v1`, and in which collection."""

from __future__ import annotations

import pytest
from fastapi.openapi.utils import get_openapi

from service.compreface.routes import ROUTERS
from service.keys import Scope
from tests.compreface.conftest import Door, House

ROUTES: list[tuple[str, str, Scope]] = [
    ("POST", "/recognition/subjects", Scope.ENROL),
    ("GET", "/recognition/subjects", Scope.READ),
    ("PUT", "/recognition/subjects/{subject}", Scope.ENROL),
    ("DELETE", "/recognition/subjects/{subject}", Scope.DELETE),
    ("DELETE", "/recognition/subjects", Scope.DELETE),
    ("POST", "/recognition/faces", Scope.ENROL),
    ("GET", "/recognition/faces", Scope.READ),
    ("DELETE", "/recognition/faces", Scope.DELETE),
    ("GET", "/recognition/faces/{image_id}/img", Scope.READ),
    ("DELETE", "/recognition/faces/{image_id}", Scope.DELETE),
    ("POST", "/recognition/faces/delete", Scope.DELETE),
    ("POST", "/recognition/faces/{image_id}/verify", Scope.VERIFY),
    ("POST", "/recognition/recognize", Scope.IDENTIFY),
    ("POST", "/recognition/embeddings/recognize", Scope.IDENTIFY),
    ("POST", "/recognition/embeddings/faces/{image_id}/verify", Scope.VERIFY),
    ("POST", "/verification/verify", Scope.VERIFY),
    ("POST", "/verification/embeddings/verify", Scope.VERIFY),
    ("POST", "/detection/detect", Scope.VERIFY),
]
"""Every route with the scope that it asks for."""


def test_every_route_is_in_the_table() -> None:
    routes = [route for router in ROUTERS for route in router.routes]
    paths = get_openapi(title="CompreFace", version="1.2", routes=routes)["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert served == {(method, f"/api/v1{path}") for method, path, _ in ROUTES}


def test_the_document_of_v1_knows_nothing_of_it(house: House) -> None:
    assert not [path for path in house.app.openapi()["paths"] if path.startswith("/api/")]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_a_route_asks_for_a_key_and_its_scope(house: House, method: str, path: str, scope: Scope) -> None:
    place = path.format(subject="nobody", image_id="none")
    nobody = house.client.request(method, f"/api/v1{place}")
    assert (nobody.status_code, nobody.json()) == (400, {"message": "Missing header: x-api-key", "code": 20})
    wrong = Door(house.client, "facet_0000000000_" + "0" * 48).ask(method, place)
    assert (wrong.status_code, wrong.json()["code"]) == (404, 10)
    assert "0" * 48 not in wrong.text
    others: list[Scope] = [other for other in Scope if other not in (scope, Scope.ADMIN)]
    lacking = Door(house.client, house.key(others)).ask(method, place)
    assert (lacking.status_code, lacking.json()["code"]) == (403, 10)
    assert Door(house.client, house.key([scope])).ask(method, place).status_code != 403


def test_a_key_serves_its_own_collection(house: House, astronaut_jpeg: bytes) -> None:
    one, other = house.door("kitchen"), house.door("garden")
    face = one.add("Edna", astronaut_jpeg)
    assert other.ask("GET", "/recognition/subjects").json() == {"subjects": []}
    assert other.ask("DELETE", f"/recognition/faces/{face}").json()["code"] == 44
    assert other.ask("POST", f"/recognition/faces/{face}/verify", files={"file": astronaut_jpeg}).json()["code"] == 44
    both = Door(house.client, house.key(collections=["kitchen", "garden"]))
    assert both.ask("GET", "/recognition/subjects").status_code == 403
    with_default = Door(house.client, house.key(collections=["kitchen", "default"]))
    assert with_default.ask("GET", "/recognition/subjects").json() == {"subjects": []}
    assert Door(house.client, house.key()).ask("GET", "/recognition/subjects").json() == {"subjects": []}


def test_a_key_in_an_address_is_refused(house: House) -> None:
    key = house.key()
    answer = Door(house.client, key).ask("GET", "/recognition/faces", params={"api_key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, 26)
    assert house.client.get(f"/api/v1/static/{key}/images/none").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/recognition/nonesuch", "route_not_found"), ("PATCH", "/recognition/subjects", "method_not_allowed")],
)
def test_what_is_no_route_is_refused_as_at_v1(house: House, method: str, path: str, code: str) -> None:
    answer = Door(house.client, house.key()).ask(method, path)
    assert (answer.headers["content-type"], answer.json()["code"]) == ("application/problem+json", code)
