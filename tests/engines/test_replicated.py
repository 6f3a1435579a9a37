"""Calls of a replica when its connections are few."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from service.database.errors import StorageBusy
from service.gallery.replicated import open_replicated
from tests.engines.postgres import Postgres
from tests.waiting import PATIENCE, await_that

pytestmark = pytest.mark.engines


def test_calls_wait_for_a_connection_are_counted_and_bounded(postgres: Postgres) -> None:
    database = replace(postgres.database(), connections=2, queue=1, wait_seconds=PATIENCE)
    release = threading.Event()
    with closing(open_replicated(database)) as gallery, ThreadPoolExecutor(3) as pool:
        assert gallery.database.waiting == 0
        held = [pool.submit(gallery.database.read, lambda _: release.wait(PATIENCE)) for _ in range(3)]
        await_that(lambda: gallery.database.waiting == 1)
        with pytest.raises(StorageBusy) as refused:
            gallery.collections()
        assert refused.value.retry_after > 0
        release.set()
        assert all(call.result() for call in held)
        assert gallery.database.waiting == 0
        assert gallery.collections().items == ()
