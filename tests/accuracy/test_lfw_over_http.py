"""The LFW development view through `/v1/verify` of a real server: what is measured is what is served."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.bench.server import free_port
from service.face.model_import import add_model, read_spec
from service.measures.thresholds import accuracy, best_threshold
from tests.accuracy.lfw import Pair, read_pairs, unpack
from tests.conftest import ROOT, SHARED, STARTER
from tests.waiting import PATIENCE, await_that

pytestmark = [pytest.mark.data, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def lfw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("lfw"))


@pytest.fixture(scope="module")
def borrowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The research networks as model folders, made by the same step a user would take."""
    directory = tmp_path_factory.mktemp("borrowed")
    add_model(SHARED / "models" / "yunet_n_dynamic.onnx", read_spec("yunet"), directory)
    add_model(SHARED / "models" / "omz_face_reid_retail_0095.onnx", read_spec("omz-0095"), directory)
    return directory


@contextlib.contextmanager
def serving(model_dirs: Path, detector: str | None, data: Path) -> Iterator[httpx.Client]:
    """A real `facet serve` on a free port, and a client that holds its first key."""
    port = free_port()
    environment = os.environ | {"FACET_MODEL_DIRS": str(model_dirs), "FACET_RATE": "off"}
    if detector is not None:
        environment["FACET_DETECTOR"] = detector
    log = data / "log"
    with log.open("w") as out, subprocess.Popen(
        [sys.executable, "-m", "service.cli", "serve", "--port", str(port), "--data", str(data / "store")],
        cwd=ROOT, env=environment, stdout=out, stderr=out,
    ) as process:  # fmt: skip
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:

                def is_ready() -> bool:
                    assert process.poll() is None, log.read_text()
                    with contextlib.suppress(httpx.TransportError):
                        return client.get("/readyz").is_success
                    return False

                await_that(is_ready)
                key = re.search(r"facet_[0-9a-f]+_[0-9a-f]+", log.read_text())
                assert key is not None, log.read_text()
                client.headers["Authorization"] = f"Bearer {key[0]}"
                yield client
        finally:
            process.terminate()


def score(client: httpx.Client, pairs: list[Pair], model: str) -> np.ndarray:
    """Comparison scores of pairs; a failure to acquire scores -1, as a non-match."""

    def verify(pair: Pair) -> float:
        files = {"probe": pair.first.read_bytes(), "reference": pair.second.read_bytes()}
        answer = client.post("/v1/verify", data={"model": model, "threshold": "0.3"}, files=files)
        if answer.status_code == 422 and answer.json()["code"] == "no_face":
            return -1.0
        assert answer.status_code == 200, answer.text
        return float(answer.json()["score"])

    with ThreadPoolExecutor(3) as pool:
        return np.array(list(pool.map(verify, pairs)))


def measure(client: httpx.Client, lfw: Path, model: str, failures: float = 0.0) -> float:
    """Accuracy on the pairs of both parts, each at the threshold chosen on the other.

    One part alone has 1,000 pairs, of which chance moves five to and fro. A pair that fails to acquire is wrong where
    it is genuine.
    """
    parts = [read_pairs(lfw, f"pairsDev{part}.txt") for part in ("Train", "Test")]
    scores = [score(client, pairs, model) for pairs in parts]
    genuine = [np.array([pair.genuine for pair in pairs]) for pairs in parts]
    thresholds = [best_threshold(*part) for part in zip(scores, genuine, strict=True)]
    shares = [accuracy(scores[at], genuine[at], thresholds[1 - at]).value for at in (0, 1)]
    failed = float((np.concatenate(scores) == -1.0).mean())
    share = float(np.average(shares, weights=[len(pairs) for pairs in parts]))
    print(
        f"{model}: devTest accuracy {100 * shares[1]:.2f} % at devTrain's threshold {thresholds[0]:.3f}, of both parts "
        f"{100 * share:.2f} %, failure to acquire in {100 * failed:.2f} % of the pairs"
    )
    assert failed <= failures
    return share


def test_the_borrowed_teacher_over_http(lfw: Path, borrowed: Path, tmp_path: Path) -> None:
    with serving(borrowed, "yunet", tmp_path) as client:
        assert measure(client, lfw, "omz-0095") >= 0.993


def test_the_bundled_models_over_http(lfw: Path, tmp_path: Path) -> None:
    """Our own detector and both students, whole chain.

    Normalised scores hold one rate for every kind of face, and give up some accuracy at LFW's most accurate threshold.
    """
    with serving(STARTER, None, tmp_path) as client:
        assert measure(client, lfw, "facet-s", failures=0.005) >= 0.986
        assert measure(client, lfw, "facet-m", failures=0.005) >= 0.991
