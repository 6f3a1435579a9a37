"""Requests as Double Take and Viseron send them are answered with what they read."""

from __future__ import annotations

import pytest

from tests.compreface.conftest import House


def as_double_take(image: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of Double Take: Node's form-data by axios, whose stream has no length."""
    boundary = "--------------------------735323031399963166993862"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="1621-42.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    headers = {
        "Accept": "application/json, text/plain, */*",
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "User-Agent": "axios/0.21.4",
    }
    return headers, head.encode() + image + f"\r\n--{boundary}--\r\n".encode()


def as_viseron(image: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of Viseron: the SDK's encoder, given the bytes of a picture."""
    boundary = "9d2b1f9c2f7d4d6c8a3e5b7f0c1d2e3f"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="image.jpg"\r\n\r\n'
    headers = {
        "User-Agent": "python-requests/2.31.0",
        "Accept-Encoding": "gzip, deflate",
        "Accept": "*/*",
        "Connection": "keep-alive",
        "Content-Type": f"multipart/form-data; boundary={boundary}",
    }
    return headers, head.encode() + image + f"\r\n--{boundary}--\r\n".encode()


def test_double_take_trains_recognises_and_removes(house: House, astronaut_jpeg: bytes, cat_png: bytes) -> None:
    door = house.door("double-take")

    def post(path: str, image: bytes) -> dict[str, object]:
        headers, body = as_double_take(image)
        sent = {**headers, "x-api-key": door.key}
        answer: dict[str, object] = house.client.post(f"/api/v1{path}", headers=sent, content=iter([body])).json()
        return answer

    assert post("/recognition/faces?subject=edna", astronaut_jpeg)["subject"] == "edna"
    result = post("/recognition/recognize?det_prob_threshold=0.8", astronaut_jpeg)["result"]
    assert isinstance(result, list)
    (face,) = result
    assert round(face["subjects"][0]["similarity"] * 100, 2) >= 95
    assert face["box"]["x_max"] - face["box"]["x_min"] > 0 < face["box"]["y_max"] - face["box"]["y_min"]
    assert post("/recognition/recognize?det_prob_threshold=0.8", cat_png)["code"] == 28, "it takes 28 for an empty room"
    assert door.ask("DELETE", "/recognition/faces?subject=edna").json() == {"deleted": 1}


@pytest.mark.parametrize("options", ["&limit=0&det_prob_threshold=0.8&prediction_count=1&status=False"])
def test_viseron_trains_and_recognises(house: House, astronaut_jpeg: bytes, admiral_jpeg: bytes, options: str) -> None:
    door = house.door("viseron")

    def post(path: str, image: bytes) -> dict[str, object]:
        headers, body = as_viseron(image)
        sent = {**headers, "x-api-key": door.key}
        answer: dict[str, object] = house.client.post(f"/api/v1{path}", headers=sent, content=body).json()
        return answer

    assert door.ask("DELETE", "/recognition/faces?subject=Edna").json() == {"deleted": 0}
    assert "message" not in post("/recognition/faces?subject=Edna", astronaut_jpeg)
    for image, known in ((astronaut_jpeg, True), (admiral_jpeg, False)):
        result = post(f"/recognition/recognize?{options}", image)["result"]
        assert isinstance(result, list)
        subject = result[0]["subjects"][0]  # it reads the first of them without looking whether there is one
        assert subject["subject"] == "Edna"
        assert (subject["similarity"] >= 0.9) == known
