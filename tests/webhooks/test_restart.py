"""A message that was answered for survives the death of its service."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.api.server import serving
from tests.conftest import encode
from tests.waiting import await_that
from tests.webhooks.receiver import TAKEN, receiving

FAILED = re.compile(r'facet_webhook_tries_total\{outcome="failed",receiver="desk"\} [1-9]')


def test_a_killed_service_delivers_after_its_restart(
    tmp_path: Path, model_dirs: tuple[Path, ...], astronaut: NDArray[np.uint8]
) -> None:
    with receiving() as receiver:
        receiver.answer = lambda: (503, {"Retry-After": "2"})  # so that it is killed between two tries, mostly
        given = {
            "anonymous": "true",
            "webhooks": json.dumps([receiver.endpoint(events=["enrolment.*"])]),
            "webhook_retry_seconds": "0.01",
            "webhook_tries": "1000000",
        }
        with serving(tmp_path / "data", model_dirs, **given) as server, server.client("none") as client:
            client.headers.pop("Authorization")
            photo = {"images": ("i", encode(astronaut))}
            assert client.post("/v1/enroll", data={"subject": "ann"}, files=photo).status_code == 201
            await_that(lambda: FAILED.search(client.get("/metrics").text))
            server.stop(signal.SIGKILL)
        receiver.answer = lambda: TAKEN
        with serving(tmp_path / "data", model_dirs, **given):
            (told,) = receiver.await_taken(1)
        assert told["data"]["subjects"][0]["name"] == "ann"
        assert {message for message, _ in receiver.requests} == {receiver.taken[0][0]}
