"""A process that enrols Ann, erases Bob, and dies while it brings the one or the other to Milvus.

Its arguments: a pickled database, the address of Milvus, the call during which it dies (`upsert` or `delete`), and
whether Milvus gets to see that call (`after`) or not (`before`).
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from typing import Any, NoReturn

from service.gallery.records import NewFace
from service.gallery.replicated import open_replicated
from service.index.milvus.client import Server
from service.index.milvus.index import MilvusIndex
from tests.gallery.vectors import people

DIGEST = "a" * 64
VECTORS = people(20, 5, 32)
ANN, BOB = VECTORS[0], VECTORS[5]


def main(database: str, address: str, call: str, when: str) -> None:
    """Die."""
    gallery = open_replicated(pickle.loads(bytes.fromhex(database)), Server(address))
    indexes = gallery.index
    assert isinstance(indexes, MilvusIndex)
    reached = getattr(indexes.copy.client, call)

    def deadly(*args: Any, **given: Any) -> NoReturn:
        if when == "after":
            reached(*args, **given)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    setattr(indexes.copy.client, call, deadly)
    if call == "upsert":
        gallery.enroll("main", "Ann", [NewFace("ann", {DIGEST: ANN})])
    else:
        gallery.delete_subject("main", "Bob")
    print("acknowledged", flush=True)
    indexes.relay._thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
