"""A store's vectors in Milvus: a collection for each model, reached through Milvus' own client."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.database.errors import StorageUnavailable
from service.index.base import Matrix, Place

if TYPE_CHECKING:
    from pymilvus import MilvusClient

log = logging.getLogger(__name__)
PAGE = 8_192
COMPACT_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where Milvus is, who asks, and the longest wait for one answer in seconds."""

    address: str
    user: str = ""
    password: str = field(default="", repr=False)
    sslrootcert: Path | None = None
    seconds: float = 10.0


class MilvusCopy:
    """The copy of one store's vectors. Every method raises StorageUnavailable when Milvus does not answer."""

    def __init__(self, server: Server, store_id: str) -> None:
        """Connect. `store_id` tells the collections of stores apart that share one Milvus."""
        self.client = _connect(server)
        self._seconds = server.seconds
        self._id = store_id.replace("-", "")[:12]
        self._loaded: set[int] = set()

    def close(self) -> None:
        """Give the connection back."""
        self.client.close()

    def check(self) -> None:
        """Check that Milvus answers."""
        with _milvus_errors():
            self.client.list_collections(timeout=self._seconds)

    def exists(self, model: int) -> bool:
        """Return whether a model's collection is there."""
        with _milvus_errors():
            return bool(self.client.has_collection(self.name(model), timeout=self._seconds))

    def answers(self, model: int) -> bool:
        """Return whether a model's collection is there and can be searched."""
        if model not in self._loaded and self.exists(model):
            with _milvus_errors():
                state = self.client.get_load_state(self.name(model), timeout=self._seconds)["state"]
            if state.name == "Loaded":
                self._loaded.add(model)
        return model in self._loaded

    def provide(self, model: int, dim: int) -> None:
        """Make a model's collection, if it is not there."""
        if self.answers(model):
            return
        if self.exists(model):
            with _milvus_errors():
                self.client.load_collection(self.name(model), timeout=60.0)
            return
        from pymilvus import DataType  # noqa: PLC0415 - an extra

        with _milvus_errors():
            schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
            for name in ("row", "collection_row", "subject_row"):
                schema.add_field(name, DataType.INT64, is_primary=name == "row")
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
            index = self.client.prepare_index_params()
            index.add_index("vector", index_type="FLAT", metric_type="IP")
            self.client.create_collection(
                self.name(model), schema=schema, index_params=index, consistency_level="Bounded", timeout=60.0
            )

    def upsert(self, model: int, entries: Sequence[dict[str, Any]]) -> None:
        """Take templates: `row`, `collection_row`, `subject_row`, `vector`. Taken twice, each is there once."""
        with _milvus_errors():
            self.client.upsert(self.name(model), list(entries), timeout=self._seconds)

    def delete(self, model: int, rows: Sequence[int]) -> None:
        """Forget templates; those that are not there are passed over."""
        with _milvus_errors():
            self.client.delete(self.name(model), ids=list(rows), timeout=self._seconds)

    def compact(self, model: int) -> None:
        """Have what a collection took sealed and indexed: until then Milvus scans it in small pieces."""
        name = self.name(model)
        end = time.monotonic() + COMPACT_WITHIN
        with _milvus_errors():
            self.client.flush(name, timeout=COMPACT_WITHIN)
            while self.client.describe_index(name, "vector")["pending_index_rows"] and time.monotonic() < end:
                time.sleep(0.5)

    def nearest(self, place: Place, probes: Matrix, reach: int) -> list[list[int]]:
        """Find the rows closest to each probe, closest first."""
        with _milvus_errors():
            answer = self.client.search(
                self.name(place[1]),
                data=list(probes),
                limit=reach,
                filter=f"collection_row == {place[0]}",
                search_params={"metric_type": "IP"},
                consistency_level="Bounded",
                timeout=self._seconds,
            )
        return [[int(hit["id"]) for hit in hits] for hits in answer]

    def shown(self, model: int, rows: set[int]) -> set[int]:
        """Return those of `rows` that searches of a model find now."""
        if not rows:
            return set()
        with _milvus_errors():
            entries = self.client.query(
                self.name(model),
                filter=f"row in {sorted(rows)}",
                output_fields=["row"],
                consistency_level="Bounded",
                timeout=self._seconds,
            )
        return {int(entry["row"]) for entry in entries}

    def all(self, model: int, last: int, condition: str, fields: list[str]) -> Iterator[dict[str, Any]]:
        """Yield everything under a condition up to the row `last`: the client's iterator overlooks the newest."""
        for start in range(0, last + 1, PAGE):
            with _milvus_errors():
                yield from self.client.query(
                    self.name(model),
                    filter=f"{condition} and row >= {start} and row < {start + PAGE}",
                    output_fields=fields,
                    consistency_level="Strong",
                    timeout=60.0,
                )

    def name(self, model: int) -> str:
        """Return what Milvus calls a model's collection."""
        return f"facet_{self._id}_{model}"


def _connect(server: Server) -> MilvusClient:
    try:
        from pymilvus import MilvusClient  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise StorageUnavailable("Milvus needs its client: pip install pymilvus.") from error
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
        reason = code() if callable(code) else code
        raise StorageUnavailable(
            f"Milvus cannot be used ({reason}): the service goes on by itself when it can."
        ) from error
