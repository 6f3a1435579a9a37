"""A small CompreFace: its API as a server, and its database as a dump."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

KEY = "00000000-0000-0000-0000-000000000002"
Face = tuple[str, str, bytes | None]
"""Id, subject, picture."""


@contextmanager
def compreface(subjects: list[str], faces: list[Face]) -> Iterator[str]:
    """An instance that answers what an importer asks, in CompreFace's shapes; gives its address."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            if self.headers.get("x-api-key") != KEY:
                self._json(404, {"message": "RECOGNITION service with API Key x not found", "code": 10})
            elif address.path == "/api/v1/recognition/subjects":
                self._json(200, {"subjects": subjects})
            elif address.path == "/api/v1/recognition/faces":
                number, size = int(query.get("page", 0)), int(query.get("size", 20))
                page = faces[number * size : (number + 1) * size]
                listed = [{"image_id": face, "subject": subject} for face, subject, _ in page]
                pages = {"page_number": number, "page_size": size, "total_pages": -(-len(faces) // size)}
                self._json(200, {"faces": listed, **pages, "total_elements": len(faces)})
            else:
                image_id = address.path.removesuffix("/img").rpartition("/")[2]
                picture = next((picture for face, _, picture in faces if face == image_id), None)
                self._send(200, "application/octet-stream", picture or b"")

        def _json(self, status: int, body: object) -> None:
            self._send(status, "application/json", json.dumps(body).encode())

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_dump(path: Path, services: dict[str, tuple[str, list[str], list[Face]]]) -> Path:
    """A plain dump of the tables that CompreFace 1.2 keeps people in: services by name, each with key and people.

    The tables and columns are those of its published change logs 0.1.7 to 0.2.7; pg_dump writes them in this order.
    """
    models, people, embeddings, pictures = [], [], [], []
    for number, (name, (key, subjects, faces)) in enumerate(services.items(), 1):
        models.append([str(number), name, str(uuid.uuid4()), "1", key, "RECOGNITION", "2023-11-14 10:00:00"])
        ids = {subject: str(uuid.uuid4()) for subject in subjects}
        people += [[ids[subject], key, _escaped(subject)] for subject in subjects]
        for face, subject, picture in faces:
            img = NULL if picture is None else str(uuid.uuid4())
            embeddings.append([face, ids[subject], "{0.1,-0.2}", "facenet.Calculator@20180402", img])
            if picture is not None:
                pictures.append([img, "\\\\x" + picture.hex()])
    tables = [
        ("embedding", "id, subject_id, embedding, calculator, img_id", embeddings),
        ("img", "id, content", pictures),
        ("model", "id, name, guid, app_id, api_key, type, created_date", models),
        ("subject", "id, api_key, subject_name", people),
    ]
    lines = ["--", "-- PostgreSQL database dump", "--", "SET client_encoding = 'UTF8';", ""]
    for table, columns, rows in tables:
        lines += [f"CREATE TABLE public.{table} (", "    id uuid NOT NULL", ");", ""]
        lines += [f"COPY public.{table} ({columns}) FROM stdin;", *("\t".join(row) for row in rows), "\\.", "", ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


NULL = "\\N"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
