"""Kills a gallery with SIGKILL, again and again, under load, and checks what its clients know after each restart.

The gallery runs in a process of its own. The clients live here, each with subjects of its own and at most one request
under way, and write down what was acknowledged. After a kill a client's subjects must be as acknowledged; the request
under way must have happened wholly or not at all, and sent again under its idempotency key it must happen once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from service.database.encryption import Keyring
from service.database.schema import new_id
from service.gallery.embedded import open_embedded
from service.gallery.errors import GalleryError
from service.gallery.gallery import Gallery
from service.gallery.records import Idempotency, NewFace
from service.index.base import Vector
from service.index.embedded.tiered import Tiers

COLLECTION = "torture"
DIGEST = "70" * 32
DIM = 32
TIERS = Tiers(exact=60, fresh=12, segment=200)
MOST_ANSWERS = 40
"""Between two kills; a third of them in the mean."""
State = dict[str, frozenset[str]]
"""Face ids by subject name."""


@dataclass(slots=True)
class Cost:
    """What the run amounted to; `problems` is empty when every acknowledged operation was kept."""

    kills: int = 0
    kills_at_start: int = 0
    acknowledged: int = 0
    under_way: int = 0
    happened: int = 0
    repeated: int = 0
    restarts_seconds: float = 0.0
    from_files: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Client:
    """The journal of one client: what was acknowledged, and what was asked and not answered."""

    name: str
    state: State = field(default_factory=dict)
    request: tuple[str, tuple[Any, ...]] | None = None
    after: State | None = None
    acknowledged: int = 0

    def think(self, dice: random.Random) -> None:
        """Choose the next request, and note what the state will be if it happens."""
        names = list(self.state)
        kind = dice.choice(["enroll"] * 5 + ["delete_subject", "delete_face", "rename"]) if names else "enroll"
        after = dict(self.state)
        if kind == "enroll":
            name = dice.choice(names) if names and dice.random() < 0.5 else f"{self.name}-{new_id()}"
            ids = tuple(new_id() for _ in range(dice.randint(1, 3)))
            self.request = ("enroll", (name, ids, new_id()))
            after[name] = after.get(name, frozenset()) | frozenset(ids)
        else:
            name = dice.choice(names)
            if kind == "rename":
                new = f"{self.name}-{new_id()}"
                self.request = (kind, (name, new))
                after[new] = after.pop(name)
            elif kind == "delete_face" and after[name]:
                face = dice.choice(sorted(after[name]))
                self.request = (kind, (face,))
                after[name] -= {face}
            else:
                self.request = ("delete_subject", (name,))
                del after[name]
        self.after = after

    def acknowledge(self) -> None:
        """Note that the request was answered."""
        assert self.after is not None  # noqa: S101
        self.state, self.request, self.after = self.after, None, None
        self.acknowledged += 1

    def compare(self, seen: State, cost: Cost) -> None:
        """Judge what the restarted gallery holds, and take it for the truth from here on."""
        if self.after is not None:
            cost.under_way += 1
            if seen == self.after:
                cost.happened += 1
        if seen not in (self.state, self.after):
            lost = {
                n: sorted(f - seen.get(n, frozenset())) for n, f in self.state.items() if f - seen.get(n, frozenset())
            }
            extra = {n: sorted(f - self.state.get(n, frozenset())) for n, f in seen.items() if f != self.state.get(n)}
            cost.problems.append(f"{self.name}: lost {lost}, unexpected {extra}, under way {self.request}")
        self.state = seen
        if self.request is None or self.request[0] != "enroll":
            self.request = self.after = None


def torture(
    directory: Path,
    kills: int,
    *,
    clients: int = 6,
    seed: int = 0,
    keys: str = "",
    progress: Callable[[Cost], None] | None = None,
) -> Cost:
    """Kill the gallery in `directory` so many times.

    Args:
        directory: Empty, or left by an earlier run.
        kills: SIGKILLs; about one in ten comes during the start.
        clients: Requests under way at once.
        seed: Of the operations and the instants.
        keys: That seal the gallery, as in FACET_TEMPLATE_KEYS; empty leaves it in the clear.
        progress: Called after each restart.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    dice = random.Random(seed)  # noqa: S311
    journals = [Client(f"client{number}") for number in range(clients)]
    cost = Cost()
    while True:
        pipes = [context.Pipe() for _ in range(clients + 1)]
        process = context.Process(target=serve, args=(directory, [far for _, far in pipes], keys), daemon=True)
        process.start()
        for _, far in pipes:
            far.close()
        started = time.perf_counter()
        if cost.kills < kills and dice.random() < 0.1:
            time.sleep(dice.random() * 0.2)
            _kill(process)
            cost.kills += 1
            cost.kills_at_start += 1
            continue
        control = pipes[-1][0]
        seen, problems, loaded = control.recv()
        cost.from_files += loaded.from_files
        cost.refused += len(loaded.refused)
        cost.restarts_seconds += time.perf_counter() - started
        cost.problems += problems
        for journal in journals:
            own = {name: faces for name, faces in seen.items() if name.startswith(f"{journal.name}-")}
            journal.compare(own, cost)
        if progress is not None:
            progress(cost)
        if cost.kills >= kills or cost.problems:
            control.send("close")
            process.join()
            cost.acknowledged = sum(journal.acknowledged for journal in journals)
            return cost
        stop = threading.Event()
        threads = [
            threading.Thread(target=_load, args=(journal, near, random.Random(dice.random()), stop, cost))  # noqa: S311
            for journal, (near, _) in zip(journals, pipes, strict=False)
        ]
        for thread in threads:
            thread.start()
        # After so many more answers, however long they take, and at any instant of the work on those that follow.
        enough = sum(journal.acknowledged for journal in journals) + dice.random() ** 2 * MOST_ANSWERS
        while sum(journal.acknowledged for journal in journals) < enough and process.is_alive() and not cost.problems:
            time.sleep(0.002)
        time.sleep(dice.random() * 0.05)
        _kill(process)
        cost.kills += 1
        stop.set()
        for thread in threads:
            thread.join()


def _kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def _load(journal: Client, connection: Connection, dice: random.Random, stop: threading.Event, cost: Cost) -> None:
    """One client: ask, wait, write down; until the gallery dies."""
    with contextlib.suppress(EOFError, OSError):
        if (
            journal.request is not None
        ):  # an enrolment whose answer was lost: it must happen once, however often it is sent
            cost.repeated += 1
            connection.send(journal.request)
            _expect(journal, connection.recv(), cost)
        while not stop.is_set():
            journal.think(dice)
            connection.send(journal.request)
            _expect(journal, connection.recv(), cost)


def _expect(journal: Client, answer: str, cost: Cost) -> None:
    if answer == "ok":
        journal.acknowledge()
    else:
        cost.problems.append(f"{journal.name}: {journal.request} was answered by {answer}")
        raise EOFError


def serve(directory: Path, pipes: list[Connection], keys: str = "") -> None:
    """Run the process that gets killed: a gallery with a thread for each client, and one pipe for control."""
    gallery = open_embedded(directory, keyring=Keyring.parse(keys), tiers=TIERS, erase_within=0.3)
    if not gallery.collections().items:
        gallery.create_collection(COLLECTION)
        for number in range(20):  # something that stays, so that there are segments from the first run on
            ids = [new_id() for _ in range(5)]
            gallery.enroll(COLLECTION, f"resident-{number}", [NewFace(face, {DIGEST: vector_of(face)}) for face in ids])
        gallery.compact()
    seen: State = {}
    cursor = None
    while True:
        page = gallery.subjects(COLLECTION, cursor, 500)
        for subject in page.items:
            seen[subject.name] = frozenset(
                face.id for face in gallery.faces(COLLECTION, subject.name, limit=1000).items
            )
        cursor = page.next_cursor
        if cursor is None:
            break
    pipes[-1].send((seen, list(gallery.verify().problems), gallery.index.loaded))
    for pipe in pipes[:-1]:
        threading.Thread(target=_answer, args=(gallery, pipe), daemon=True).start()
    with contextlib.suppress(EOFError):
        pipes[-1].recv()
    gallery.close()


def _answer(gallery: Gallery, pipe: Connection) -> None:
    while True:
        try:
            kind, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(_perform(gallery, kind, arguments))
        except Exception as error:  # whatever it is, it is not an acknowledgement
            pipe.send(f"{type(error).__name__}: {error}")


def _perform(gallery: Gallery, kind: str, arguments: tuple[Any, ...]) -> str:
    if kind == "enroll":
        name, ids, key = arguments
        faces = [NewFace(face, {DIGEST: vector_of(face)}) for face in ids]
        gallery.enroll(COLLECTION, name, faces, idempotency=Idempotency("torture", key, key))
        hits = gallery.search(COLLECTION, DIGEST, vector_of(ids[0])[None], 1)[0]
        if not hits or hits[0].face_id != ids[0]:
            return f"enrolled {ids[0]} and found {hits}"
    elif kind == "rename":
        gallery.update_subject(COLLECTION, arguments[0], new_name=arguments[1])
    elif kind == "delete_face":
        gallery.delete_face(COLLECTION, arguments[0])
        with contextlib.suppress(GalleryError):
            if arguments[0] in {
                hit.face_id for hit in gallery.search(COLLECTION, DIGEST, vector_of(arguments[0])[None], 5)[0]
            }:
                return "a deleted face was found"
    else:
        gallery.delete_subject(COLLECTION, arguments[0])
    return "ok"


def vector_of(face_id: str) -> Vector:
    """Return a unit vector that belongs to a face id, the same in every process."""
    values = np.random.default_rng(int(face_id.replace("-", ""), 16)).standard_normal(DIM).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values), np.float32)
