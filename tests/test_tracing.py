"""Requests as spans: the stages below the request, in the caller's trace, at a collector and in the log."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service.app import create_app
from service.settings import SettingsInvalid, read_settings
from service.tracing import RequestTracing
from tests.api.conftest import settings_for
from tests.api.server import serving
from tests.conftest import ROOT, encode
from tests.waiting import PATIENCE, await_that

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = ({"traceparent": f"00-{TRACE}-{PARENT}-{flags}"} for flags in ("01", "00"))


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def service(
    model_dirs: tuple[Path, ...], exporter: InMemorySpanExporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    settings = settings_for(tmp_path_factory.mktemp("traced") / "data", model_dirs, anonymous=True)
    tracing = RequestTracing(SimpleSpanProcessor(exporter), "facet", 1.0)
    with TestClient(create_app(settings, tracing=tracing)) as client:
        yield client


@pytest.fixture
def client(service: TestClient, exporter: InMemorySpanExporter) -> TestClient:
    exporter.clear()
    return service


def spans_of(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """The spans of one request by name, when the request's own has ended."""
    await_that(lambda: any(span.kind is SpanKind.SERVER for span in exporter.get_finished_spans()))
    return {span.name: span for span in exporter.get_finished_spans()}


def parent(spans: dict[str, ReadableSpan], name: str) -> str:
    above = spans[name].parent
    assert above is not None
    return next((other for other, span in spans.items() if span.context.span_id == above.span_id), f"{above.span_id:x}")


def test_the_stages_lie_below_the_request_in_the_callers_trace(
    client: TestClient, exporter: InMemorySpanExporter, astronaut: NDArray[np.uint8]
) -> None:
    photo = encode(astronaut)
    answer = client.post("/v1/enroll", data={"subject": "Ann"}, files={"images": ("i", photo)}, headers=SAMPLED)
    assert answer.status_code == 201
    enrolment = spans_of(exporter)
    exporter.clear()
    answer = client.post("/v1/identify", data={"threshold": "0.5"}, files={"image": ("i", photo)}, headers=SAMPLED)
    assert answer.status_code == 200
    search = spans_of(exporter)
    for spans, route, last in ((enrolment, "POST /v1/enroll", "commit"), (search, "POST /v1/identify", "search")):
        stages = {"decode", "detect", "align", "embed", last}
        assert set(spans) == {route, "wait", "decide", "publish"} | stages
        assert {parent(spans, name) for name in ("wait", "decide", "publish")} == {route}
        assert {parent(spans, name) for name in stages} == {"decide"}
        assert parent(spans, route) == PARENT
        assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    attributes = search["POST /v1/identify"].attributes or {}
    assert attributes["http.response.status_code"] == 200
    assert attributes["facet.collection"] == "default"
    assert attributes["facet.request_id"] == answer.headers["X-Request-ID"]
    assert attributes["facet.model"] == f"{answer.json()['model']['name']}@{answer.json()['model']['version']}"
    assert "Ann" not in "".join(span.to_json() for span in (*enrolment.values(), *search.values()))


def test_a_stage_that_fails_says_so_and_names_nobody(
    client: TestClient, exporter: InMemorySpanExporter, astronaut: NDArray[np.uint8]
) -> None:
    fields, photo = {"subject": "Nobody Known", "threshold": "0.5"}, {"probe": ("p", encode(astronaut))}
    assert client.post("/v1/verify", data=fields, files=photo).status_code == 404
    spans = spans_of(exporter)
    request = spans["POST /v1/verify"]
    assert request.parent is None
    assert (request.attributes or {})["facet.problem"] == "subject_not_found"
    assert request.status.status_code is StatusCode.UNSET  # the caller is to blame
    assert spans["decide"].status.status_code is StatusCode.ERROR
    assert spans["decide"].status.description == "subject_not_found"
    assert "Nobody Known" not in "".join(span.to_json() for span in spans.values())


def test_what_the_caller_does_not_trace_and_what_is_no_use_is_not_traced(
    client: TestClient, exporter: InMemorySpanExporter
) -> None:
    assert client.get("/v1/models", headers=UNSAMPLED).status_code == 200
    assert client.get("/readyz", headers=SAMPLED).status_code == 200
    assert client.get("/metrics", headers=SAMPLED).status_code == 200
    assert client.get("/v1/models", headers=SAMPLED).status_code == 200
    assert set(spans_of(exporter)) == {"GET /v1/models"}


def test_a_collector_and_the_log_have_the_same_trace(
    tmp_path: Path, model_dirs: tuple[Path, ...], astronaut: NDArray[np.uint8]
) -> None:
    exported: list[tuple[str, ExportTraceServiceRequest]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            exported.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    try:
        given = {
            "tracing_endpoint": f"http://127.0.0.1:{collector.server_port}",
            "tracing_service": "doors",
            "anonymous": "true",
            "log_format": "json",
        }
        with serving(tmp_path / "data", model_dirs, **given) as server, server.client("none") as client:
            client.headers.pop("Authorization")
            photo = {"image": ("i", encode(astronaut))}
            assert client.post("/v1/detect", files=photo, headers=SAMPLED).status_code == 200
            server.stop()  # sends what it has
            lines = [json.loads(line) for line in server.printed.splitlines() if line.startswith("{")]
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()
    assert {path for path, _ in exported} == {"/v1/traces"}
    resources = [resource for _, request in exported for resource in request.resource_spans]
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert {"POST /v1/detect", "decode", "detect"} <= {span.name for span in spans}
    names = {each.key: each.value.string_value for resource in resources for each in resource.resource.attributes}
    assert names["service.name"] == "doors"
    (line,) = [line for line in lines if line.get("route") == "/v1/detect"]
    assert line["trace_id"] == TRACE


def test_untraced_nothing_of_it_is_imported() -> None:
    program = "import service.app, sys; print({'service.tracing', 'opentelemetry.sdk'} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert run.stdout == "set()\n"


@pytest.mark.parametrize(("name", "value"), [("endpoint", "collector:4318"), ("share", 1.5)])
def test_a_wrong_setting_is_named(name: str, value: object) -> None:
    with pytest.raises(SettingsInvalid, match=f"FACET_TRACING_{name.upper()}"):
        read_settings(None, **{f"tracing_{name}": value})


def test_a_collector_without_the_packages_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.settings.tracing.find_spec", lambda _: None)
    with pytest.raises(SettingsInvalid, match=r"FACET_TRACING_ENDPOINT: needs the extra `tracing`"):
        read_settings(None, tracing_endpoint="http://collector:4318")
