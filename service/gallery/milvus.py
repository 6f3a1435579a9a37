"""Search in Milvus: a copy of the record's vectors, spread over as many machines as it takes.

Milvus follows the record a moment later, and shows what it took a moment after that. So candidates are looked up in the
record before they are given back, which drops whatever was erased; and what Milvus may not show yet is searched in the
record's outbox beside it. Changes are carried over by one process at a time, in order, and may be carried over twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from service.gallery import candidates, outbox, queries, vectors
from service.gallery.counts import Counts
from service.gallery.database import serialise, storage_errors
from service.gallery.effects import Effect
from service.gallery.errors import GalleryBusy, StorageError, StorageUnavailable
from service.gallery.index import Found, Matrix, Rows
from service.gallery.outbox import Entry, Kind
from service.gallery.queries import Place
from service.gallery.records import Backlog, Loaded
from service.gallery.schema import models, templates
from service.gallery.sealing import Keyring
from service.gallery.store import Store
from service.gallery.unhurried import unhurried

if TYPE_CHECKING:
    from pymilvus import MilvusClient

log = logging.getLogger(__name__)
CARRY_EVERY = 0.25
SHOWN_AFTER = 20.0
"""Seconds after which Milvus is asked whether it shows what it took: four times those by which `Bounded` may lag, so
that what one of its replicas shows, all do."""
MOST_WAITING = 20_000
"""Changes under way; with more, searches would spend their time on the outbox."""
MOST_CANDIDATES = 16_384
PAGE = 8_192
CARRYING = 0x6361727279
"""The lock of the process that carries."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where Milvus is, who asks, and the longest wait for one answer in seconds."""

    address: str
    user: str = ""
    password: str = field(default="", repr=False)
    sslrootcert: Path | None = None
    seconds: float = 10.0


class MilvusIndexes:
    """`Indexes` in a Milvus beside the record."""

    def __init__(self, store: Store, server: Server, observe: Callable[[str, float], None]) -> None:
        """Connect; make collections that are missing and have them filled.

        Raises:
            StorageUnavailable: Milvus or its client is not there.
        """
        self.keyring = Keyring.empty()
        self.models: dict[str, tuple[int, int]] = {}
        self._store, self._server = store, server
        self._counts = Counts()
        self._known: set[int] = set()
        self._observe = observe
        self._waiting = 0
        self._oldest: int | None = None
        self._oldest_since = 0.0
        self._closing = threading.Event()
        started = time.perf_counter()
        self._client = _connect(server)
        self._id = store.read(queries.store_id).replace("-", "")[:12]
        store.change(lambda turn: self._complete(turn.connection))
        total = store.read(queries.count_templates)
        self.loaded = Loaded(total, 0, self._waiting, (), time.perf_counter() - started)
        self._thread = threading.Thread(target=self._run, name="gallery-outbox", daemon=True)
        self._thread.start()

    # ---- use

    def stage(self, connection: sa.Connection, effects: Sequence[Effect]) -> None:
        """Note what Milvus has to follow. Raises: GalleryBusy when it is too far behind."""
        if self._waiting > MOST_WAITING:
            raise GalleryBusy(5.0)
        outbox.write(connection, effects)

    def search(self, connection: sa.Connection, place: Place, probes: Matrix, k: int) -> list[Found]:
        """What Milvus shows and the record still has, and what is too fresh for it to show."""
        if self._waiting > MOST_WAITING:
            raise StorageUnavailable(f"Milvus has {self._waiting} changes to follow: searches go on when it has.")
        has = self._has(place[1])
        fresh = outbox.fresh(connection, place)  # first: what leaves the outbox after this, Milvus shows already
        if not has:
            if outbox.has_left(connection, place):
                raise StorageUnavailable("Milvus has not loaded the collection: searches go on when it has.")
            return [candidates.best(fresh, probe, k) for probe in probes]
        found = [Found.nothing()] * len(probes)
        waiting = list(range(len(probes)))
        reach = 8 * k + 16
        while waiting:
            near = self._nearest(place, probes[waiting], reach)
            there = candidates.read(connection, sorted({row for rows in near for row in rows}))
            deeper = []
            for number, rows in zip(waiting, near, strict=True):
                living = {row: there[row] for row in rows if row in there} | {entry.row: entry for entry in fresh}
                found[number] = candidates.best(list(living.values()), probes[number], k)
                if len(found[number].rows) < k and len(rows) == reach < MOST_CANDIDATES:
                    deeper.append(number)
            waiting = deeper
            reach = min(4 * reach, MOST_CANDIDATES)
        return found

    def count(self, connection: sa.Connection, place: Place) -> int:
        """Templates of a collection and model."""
        return self._counts.of(connection, place)

    def sizes(self, connection: sa.Connection) -> dict[Place, tuple[int, int]]:
        """Templates, and the bytes that their vectors take in Milvus."""
        return {place: (total, total * (4 * dim + 24)) for place, _, _, dim, total in queries.places(connection)}

    def places(self, connection: sa.Connection) -> list[Place]:
        """Where Milvus holds anything."""
        self._catch_up()
        return sorted(
            {
                (int(entry["collection_row"]), int(model))
                for model in connection.scalars(sa.select(models.c.row))
                if self._has(model)
                for entry in self._all(model, "row > 0", ["collection_row"])
            }
        )

    def entries(self, _: sa.Connection, place: Place) -> Iterator[tuple[Rows, Rows, Matrix]]:
        """All that Milvus holds of a collection and model, after it has followed."""
        self._catch_up()
        if not self._has(place[1]):
            return
        fields = ["row", "subject_row", "vector"]
        found = list(self._all(place[1], f"collection_row == {place[0]}", fields))
        if found:
            rows = np.array([entry["row"] for entry in found], np.int64)
            groups = np.array([entry["subject_row"] for entry in found], np.int64)
            yield rows, groups, np.array([entry["vector"] for entry in found], np.float32)

    def check(self) -> None:
        """Whether Milvus answers and is not too far behind."""
        with _milvus_errors():
            self._client.list_collections(timeout=self._server.seconds)
        if self._waiting > MOST_WAITING:
            raise StorageUnavailable(f"Milvus has {self._waiting} changes to follow.")

    def settle(self, *, thorough: bool = False) -> None:
        """Let Milvus follow everything now; thoroughly, also until searches rely on it alone."""
        self._catch_up()
        while thorough and self._store.read(outbox.holds):
            time.sleep(CARRY_EVERY)
            self.carry()

    def reseal(self) -> None:
        """Nothing is sealed."""

    def close(self) -> None:
        """Stop carrying; another process, or the next start, goes on."""
        self._closing.set()
        self._thread.join()
        self._client.close()

    @property
    def backlog(self) -> Backlog:
        """As last counted; the age of the oldest change is since this process saw it first."""
        return Backlog(self._waiting, 0.0 if self._oldest is None else time.monotonic() - self._oldest_since)

    # ---- carrying

    def carry(self) -> bool:
        """Let Milvus follow some changes; False when there are none, or another process is at it.

        Raises:
            StorageError: Milvus or the record does not answer; nothing is forgotten.
        """
        with storage_errors(), self._store.engine.connect() as connection, connection.begin():
            self._look(connection)
            if not connection.scalar(sa.text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": CARRYING}):
                return False
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            started = time.perf_counter()
            ripe = outbox.ripe(connection, SHOWN_AFTER)
            if ripe:
                self._let_go(connection, ripe)
            entries = outbox.take(connection)
            for (kind, model), run in groupby(entries, lambda entry: (entry.kind, entry.model)):
                self._follow(connection, kind, model, list(run))
            outbox.settle(connection, entries)
            if ripe or entries:
                self._observe("carry", time.perf_counter() - started)
            return bool(ripe or entries)

    def _look(self, connection: sa.Connection) -> None:
        self._waiting, oldest = outbox.waiting(connection)
        if oldest != self._oldest:
            self._oldest, self._oldest_since = oldest, time.monotonic()

    def _let_go(self, connection: sa.Connection, ripe: Sequence[Entry]) -> None:
        """Rely on Milvus for what it was seen to show; carry again what it took and does not show."""
        living = candidates.living(connection, [entry.template for entry in ripe])
        lost: set[int] = set()
        for model in {entry.model for entry in ripe if entry.model is not None}:
            rows = living.intersection(entry.template for entry in ripe if entry.model == model)
            lost |= rows - self._shown(model, rows)
        outbox.forget(connection, [entry for entry in ripe if entry.template not in lost])
        if lost:
            log.warning("Milvus does not show %d templates that it took: they are carried again", len(lost))
            outbox.repeat(connection, [entry for entry in ripe if entry.template in lost])

    def _follow(self, connection: sa.Connection, kind: Kind, model: int | None, run: list[Entry]) -> None:
        with _milvus_errors():
            if kind is Kind.DROP or model is None:
                for entry in run:
                    self._drop(connection, entry.collection)
            elif kind is Kind.ADD:
                self._add(connection, model, [entry.template for entry in run if entry.template is not None])
            elif self._exists(model):
                rows = [entry.template for entry in run if entry.template is not None]
                self._client.delete(self._name(model), ids=rows, timeout=self._server.seconds)

    def _add(self, connection: sa.Connection, model: int, rows: list[int]) -> None:
        """Upsert what the record still has: carried over twice, it is there once."""
        asked = sa.select(
            templates.c.row, templates.c.collection_row, templates.c.subject_row, templates.c.vector
        ).where(templates.c.row.in_(rows))
        found = connection.execute(asked).all()
        if not found:
            return
        dim = len(found[0].vector) // 2
        self._provide(model, dim)
        matrix = vectors.unpack([entry.vector for entry in found], dim).astype(np.float32)
        data = [
            {
                "row": entry.row,
                "collection_row": entry.collection_row,
                "subject_row": entry.subject_row,
                "vector": vector,
            }
            for entry, vector in zip(found, matrix, strict=True)
        ]
        self._client.upsert(self._name(model), data, timeout=self._server.seconds)

    def _drop(self, connection: sa.Connection, collection: int) -> None:
        for model in connection.scalars(sa.select(models.c.row)):
            if self._exists(model):
                rows = [entry["row"] for entry in self._all(model, f"collection_row == {collection}", ["row"])]
                for start in range(0, len(rows), outbox.SOME):
                    some = rows[start : start + outbox.SOME]
                    self._client.delete(self._name(model), ids=some, timeout=self._server.seconds)

    def _catch_up(self) -> None:
        self.carry()
        while self._store.read(outbox.waiting)[0]:
            self.carry()
            time.sleep(CARRY_EVERY / 5)  # another one may be at it

    def _run(self) -> None:
        pause = CARRY_EVERY
        while not self._closing.wait(pause):
            try:
                while self.carry() and not self._closing.is_set():
                    pass
                pause = CARRY_EVERY
            except StorageError as error:
                log.warning("changes wait for Milvus: %s", error)
                pause = min(10.0, 2 * pause)
            except Exception:  # the thread must not end: changes would gather unnoticed
                log.exception("carrying changes to Milvus failed")
                pause = 10.0

    # ---- Milvus

    def _nearest(self, place: Place, probes: Matrix, reach: int) -> list[list[int]]:
        """Rows closest to each probe, closest first."""
        with _milvus_errors():
            answer = self._client.search(
                self._name(place[1]),
                data=list(probes),
                limit=reach,
                filter=f"collection_row == {place[0]}",
                search_params={"metric_type": "IP"},
                consistency_level="Bounded",
                timeout=self._server.seconds,
            )
        return [[int(hit["id"]) for hit in hits] for hits in answer]

    def _shown(self, model: int, rows: set[int]) -> set[int]:
        """Those of `rows` that searches of a model find now."""
        if not rows:
            return set()
        with _milvus_errors():
            found = self._client.query(
                self._name(model),
                filter=f"row in {sorted(rows)}",
                output_fields=["row"],
                consistency_level="Bounded",
                timeout=self._server.seconds,
            )
        return {int(entry["row"]) for entry in found}

    def _all(self, model: int, condition: str, fields: list[str]) -> Iterator[dict[str, Any]]:
        """Everything under a condition, by ranges of rows: the client's own iterator overlooks the newest."""
        last = self._store.read(lambda c: int(c.scalar(sa.text("SELECT last_value FROM templates_row_seq")) or 0))
        for start in range(0, last + 1, PAGE):
            with _milvus_errors():
                yield from self._client.query(
                    self._name(model),
                    filter=f"{condition} and row >= {start} and row < {start + PAGE}",
                    output_fields=fields,
                    consistency_level="Strong",
                    timeout=60.0,
                )

    def _complete(self, connection: sa.Connection) -> None:
        """Have every model's collection filled that Milvus does not know."""
        with _milvus_errors(), unhurried(connection):
            serialise(connection, "milvus")
            for model in {place[1] for place, *_ in queries.places(connection)}:
                if not self._exists(model):
                    outbox.write_all(connection, model)
        self._look(connection)

    def _has(self, model: int) -> bool:
        """Whether a model's collection is there and can be searched."""
        if model not in self._known:
            with _milvus_errors():
                if self._exists(model):
                    state = self._client.get_load_state(self._name(model), timeout=self._server.seconds)["state"]
                    if state.name == "Loaded":
                        self._known.add(model)
        return model in self._known

    def _exists(self, model: int) -> bool:
        return bool(self._client.has_collection(self._name(model), timeout=self._server.seconds))

    def _provide(self, model: int, dim: int) -> None:
        """Make a model's collection, if it is not there."""
        if self._has(model):
            return
        if self._exists(model):
            self._client.load_collection(self._name(model), timeout=60.0)
            return
        from pymilvus import DataType  # noqa: PLC0415 - an extra

        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        for name in ("row", "collection_row", "subject_row"):
            schema.add_field(name, DataType.INT64, is_primary=name == "row")
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        self._client.create_collection(
            self._name(model), schema=schema, index_params=index, consistency_level="Bounded", timeout=60.0
        )

    def _name(self, model: int) -> str:
        return f"facet_{self._id}_{model}"


def _connect(server: Server) -> MilvusClient:
    try:
        from pymilvus import MilvusClient  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise StorageUnavailable("Milvus needs its client: pip install 'facet[milvus]'.") from error
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it prints what it raises
    secure: dict[str, Any] = {"secure": True} if server.address.startswith("https:") else {}
    if server.sslrootcert is not None:
        secure["server_pem_path"] = str(server.sslrootcert)
    with _milvus_errors():
        return MilvusClient(
            server.address, user=server.user, password=server.password, timeout=server.seconds, **secure
        )


@contextmanager
def _milvus_errors() -> Iterator[None]:
    """Give failures of Milvus their typed name; its own words may name hosts."""
    import grpc  # noqa: PLC0415 - comes with the client
    from pymilvus import MilvusException  # noqa: PLC0415

    try:
        yield
    except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
        log.debug("Milvus failed", exc_info=True)
        code = getattr(error, "code", None)
        told = code() if callable(code) else code
        raise StorageUnavailable(
            f"Milvus cannot be used ({told}): the service goes on by itself when it can."
        ) from error
