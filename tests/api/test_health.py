"""Health, metrics and logs."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import logs
from service.face.errors import InferenceFailed
from service.settings import Settings
from tests.api.conftest import Running, settings_for


def samples(running: Running) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = running.client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(found: dict[tuple[str, frozenset[tuple[str, str]]], float], series: str, /, **labels: str) -> float:
    return found.get((series, frozenset(labels.items())), 0.0)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/", "/docs"])
def test_probes_may_ask_for_the_head_alone(running: Running, path: str) -> None:
    assert running.client.head(path).status_code == 200


def test_alive_and_ready(running: Running) -> None:
    assert running.client.get("/livez").json()["status"] == "alive"
    assert running.client.get("/readyz").json()["status"] == "ready"


def test_not_ready_when_a_model_does_not_answer(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    readiness = running.services.readiness

    def broken() -> None:
        raise InferenceFailed("the inside")

    monkeypatch.setattr(readiness, "_thorough", broken)
    monkeypatch.setattr(readiness, "_fresh_until", float("-inf"))
    answer = running.client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert "the inside" not in answer.text
    assert answer.headers["Retry-After"]
    assert value(samples(running), "facet_ready") == 0
    assert running.client.get("/livez").status_code == 200
    monkeypatch.undo()
    monkeypatch.setattr(readiness, "_fresh_until", float("-inf"))
    assert running.client.get("/readyz").status_code == 200
    assert value(samples(running), "facet_ready") == 1


def test_requests_are_counted_by_route_status_and_model(running: Running, astronaut_jpeg: bytes) -> None:
    model = running.services.engine.models.default.manifest.identity
    before = samples(running)
    image = ("i", astronaut_jpeg)
    assert running.post("/verify", {"probe": image, "reference": image}, threshold="0.3").status_code == 200
    assert running.post("/verify", {"probe": image}, threshold="0.3").status_code == 422
    running.client.get("/v1/collections/nonesuch/subjects/nobody")
    after = samples(running)

    def grown(series: str, /, **labels: str) -> float:
        return value(after, series, **labels) - value(before, series, **labels)

    good = {"route": "/v1/verify", "method": "POST", "status": "200", "model": model}
    assert grown("facet_request_seconds_count", **good) == 1
    decided = {"route": "verify", "model": model, "collection": "", "decision": "match"}
    assert grown("facet_decisions_total", **decided) == 1
    assert grown("facet_score_count", **decided) == 1
    for stage in ("wait", "decode", "detect", "align", "embed"):
        assert grown("facet_stage_seconds_count", stage=stage, model=model) == 1
    assert grown("facet_rejections_total", reason="request_invalid", route="/v1/verify") == 1
    template = "/v1/collections/{collection}/subjects/{subject}"
    assert grown("facet_rejections_total", reason="collection_not_found", route=template) == 1
    assert "nonesuch" not in running.client.get("/metrics").text


def test_faces_are_measured_and_failures_counted_by_model_and_collection(
    running: Running, astronaut_jpeg: bytes, cat_png: bytes
) -> None:
    name = running.collection("measured")
    model = running.services.engine.models.default.manifest.identity
    enrolled = running.post("/enroll", {"images": ("i", astronaut_jpeg)}, subject="x", collection=name)
    assert enrolled.status_code == 201
    for photo, status in ((astronaut_jpeg, 200), (astronaut_jpeg, 200), (cat_png, 422)):
        answer = running.post("/identify", {"image": ("i", photo)}, collection=name, threshold="0.3")
        assert answer.status_code == status
    running.post("/enroll", {"images": ("i", cat_png)}, subject="y", collection=name)
    running.post("/enroll", {"images": ("i", cat_png)}, subject="y", collection="nowhere")
    found, labels = samples(running), {"model": model, "collection": name}
    assert value(found, "facet_acquisitions_total", outcome="acquired", **labels) == 3
    assert value(found, "facet_acquisitions_total", outcome="no_face", **labels) == 1
    assert value(found, "facet_acquisitions_total", outcome="enrolment_refused", **labels) == 1
    seen = enrolled.json()["images"][0]["face"]["quality"]
    for measure, series in (("sharpness", "sharpness"), ("brightness", "brightness"), ("contrast", "contrast")):
        assert value(found, f"facet_face_{series}_count", **labels) == 3
        assert value(found, f"facet_face_{series}_sum", **labels) == pytest.approx(3 * seen[measure], rel=0.05)
    assert value(found, "facet_face_eye_pixels_sum", **labels) == pytest.approx(3 * seen["eye_distance"], rel=0.05)
    assert "nowhere" not in running.client.get("/metrics").text


def test_the_gallery_the_models_and_the_process_are_told(running: Running, astronaut_jpeg: bytes) -> None:
    name = running.collection("counted")
    running.post("/enroll", {"images": ("i", astronaut_jpeg)}, subject="x", collection=name)
    found = samples(running)
    for embedder in running.services.engine.models.embedders:
        assert value(found, "facet_gallery_templates", collection=name, model=embedder.digest) == 1
        manifest = embedder.manifest
        labels = {
            "name": manifest.name,
            "version": manifest.version,
            "task": "embedder",
            "digest": manifest.sha256,
            "licence": manifest.licence.id,
        }
        assert value(found, "facet_model_info", **labels) == 1
    assert value(found, "process_resident_memory_bytes") > 1e6
    assert value(found, "facet_workers") == running.services.settings.inference.worker_count
    assert value(found, "facet_startup_seconds") > 0
    assert value(found, "facet_disk_size_bytes") >= value(found, "facet_disk_free_bytes") > 0


def test_scrapers_may_ask_for_openmetrics(running: Running) -> None:
    answer = running.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.fixture
def written(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What is logged, in the format asked for."""
    with written_as(settings_for(tmp_path, (), log_format=request.param)) as text:
        yield text


@contextmanager
def written_as(settings: Settings) -> Iterator[io.StringIO]:
    """What is logged with these settings."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    logs.configure(settings)
    text = io.StringIO()
    handler = root.handlers[-1]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(text)
    yield text
    root.handlers[:], root.level = kept


@pytest.mark.parametrize("written", ["json"], indirect=True)
def test_log_lines_are_json_with_the_request_id(running: Running, written: io.StringIO) -> None:
    running.client.get("/v1/models?x=1", headers={"X-Request-ID": "log-me-1"})
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    (line,) = [line for line in lines if line["logger"] == "facet.access"]
    assert line["request_id"] == "log-me-1"
    assert (line["route"], line["status"], line["code"]) == ("/v1/models", 422, "request_invalid")
    assert line["principal"].startswith("key:")
    assert line["milliseconds"] > 0


@pytest.mark.parametrize("written", ["json"], indirect=True)
def test_times_are_iso_with_a_zone_and_names_do_not_mislead(written: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\x1b[36mStarted"})
    (line,) = [json.loads(line) for line in written.getvalue().splitlines()]
    assert datetime.fromisoformat(line["time"]).tzinfo is not None
    assert line["logger"] == "uvicorn"
    assert "color_message" not in line


@pytest.mark.parametrize("written", ["text"], indirect=True)
def test_a_text_line_says_why_how_long_and_by_which_key(running: Running, written: io.StringIO) -> None:
    key_id = running.key.split("_")[1]
    running.client.get("/v1/models?x=1")
    running.client.get("/v1/models", headers={"Authorization": f"Bearer facet_{key_id}_{'0' * 48}"})
    running.client.get("/v1/models", headers={"Authorization": "Bearer facet_0123456789_" + "0" * 48})
    first, wrong, unknown = [line for line in written.getvalue().splitlines() if "facet.access" in line]
    assert re.search(rf"GET /v1/models 422 request_invalid \d+\.\d ms key {key_id}$", first)
    assert re.search(rf"GET /v1/models 401 key_invalid \d+\.\d ms key {key_id}$", wrong), "whose secret is guessed"
    assert re.search(r"GET /v1/models 401 key_invalid \d+\.\d ms key 0123456789$", unknown)
    assert datetime.fromisoformat(first.split()[0]).tzinfo is not None


@pytest.mark.parametrize("clients", [True, False])
@pytest.mark.parametrize("kind", ["text", "json"])
def test_addresses_of_clients_are_logged_where_they_are_asked_for(tmp_path: Path, kind: str, clients: bool) -> None:
    with written_as(settings_for(tmp_path, (), log_format=kind, log_clients=clients)) as text:
        extra = {"milliseconds": 1.0, "client": "192.0.2.7", "principal": "address:192.0.2.7", "key": "", "code": ""}
        logging.getLogger("facet.access").info("GET /v1/models 200", extra=extra)
    assert ("192.0.2.7" in text.getvalue()) == clients


@pytest.mark.parametrize("written", ["text", "json"], indirect=True)
def test_no_secret_and_no_name_is_logged(running: Running, written: io.StringIO) -> None:
    running.client.get("/v1/collections/default/subjects/a-private-name")
    running.client.get("/v1/models", params={"key": running.key})
    logging.getLogger("somewhere").warning("careless: %s", running.key)
    # The test's own client logs in this process too.
    text = "\n".join(line for line in written.getvalue().splitlines() if "httpx" not in line)
    assert "careless" in text
    assert running.key.rsplit("_", 1)[1] not in text
    assert "a-private-name" not in text
