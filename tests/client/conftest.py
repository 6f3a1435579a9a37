"""Clients of a real service, and the photographs that they send."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import numpy as np
import pytest
from facet_client import Facet
from numpy.typing import NDArray

from tests.api.server import Server
from tests.client.flaky import Flaky, flaky
from tests.conftest import encode


@pytest.fixture(scope="session")
def ann(astronaut: NDArray[np.uint8]) -> bytes:
    return encode(astronaut)


@pytest.fixture(scope="session")
def ann_later(astronaut: NDArray[np.uint8]) -> bytes:
    return encode((astronaut[10:, 6:] * 0.8).astype(np.uint8))


@pytest.fixture(scope="session")
def gwen(admiral: NDArray[np.uint8]) -> bytes:
    return encode(admiral)


@pytest.fixture(scope="session")
def both(astronaut: NDArray[np.uint8], admiral: NDArray[np.uint8]) -> bytes:
    return encode(np.hstack([astronaut, admiral[: astronaut.shape[0]]]))


@pytest.fixture(scope="module")
def facet(shared_server: Server) -> Iterator[Facet]:
    with Facet(shared_server.address, shared_server.key, timeout=120) as client:
        yield client


@pytest.fixture
def people(facet: Facet) -> str:
    """An empty collection of a test's own."""
    return facet.create_collection(uuid.uuid4().hex).name


@pytest.fixture
def unsteady(shared_server: Server) -> Iterator[Flaky]:
    with flaky(shared_server.address) as proxy:
        yield proxy
