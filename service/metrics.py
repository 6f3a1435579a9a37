"""What series are made of: bounds, labels that stay few, gauges that are read when somebody asks.

Each part of the service registers its own series on a registry that is passed in and belongs to one service. Names and
labels are documented in docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from prometheus_client import CollectorRegistry, Gauge, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.core import Sample as SeriesSample
from prometheus_client.registry import Collector

from service.errors import FacetError

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Bounds for whole requests."""
STAGE_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Bounds for parts of them."""
OTHER = "(other)"
"""Stands for all collections beyond those that have series of their own."""

Sample = tuple[Sequence[str], float]
"""The values of the labels, and the value."""


class CollectionLabels:
    """Labels of collections: the first to come have their own, so that the series stay bounded."""

    def __init__(self, most: int = 20) -> None:
        """Take how many collections get series of their own: each costs hundreds."""
        self._most = most
        self._known: dict[str, str] = {"": ""}

    def label(self, collection: str) -> str:
        """Give a collection's label; '' stands for none."""
        if collection not in self._known and len(self._known) > self._most:
            return OTHER
        return self._known.setdefault(collection, collection)


class LabelledGauge(Collector):
    """A gauge whose samples are read whenever somebody asks.

    Where reading fails it has none: the other series must not be lost with the database.
    """

    def __init__(self, name: str, about: str, labels: Sequence[str], read: Callable[[], Iterable[Sample]]) -> None:
        self._name, self._about, self._labels, self._read = name, about, labels, read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the samples."""
        family = GaugeMetricFamily(self._name, self._about, labels=self._labels)
        with suppress(FacetError):
            for labels, value in self._read():
                family.add_metric(labels, value)
        yield family


def register_gauge(registry: CollectorRegistry, name: str, about: str, read: Callable[[], float]) -> None:
    """Register a gauge that is read whenever somebody asks."""
    Gauge(name, about, registry=registry).set_function(read)


def register_process(registry: CollectorRegistry) -> None:
    """Register the series of the process and of its interpreter."""
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)


class ReachableSeries:
    """A registry as somebody may read it who may know of some collections only.

    Series of other collections are left out, or summed under `(other)` for a reader who may know of none: then the
    totals are right, and no name is told.
    """

    def __init__(self, registry: CollectorRegistry, reachable: frozenset[str], *, summed: bool) -> None:
        """Read from `registry`; `reachable` collections keep their names."""
        self._registry, self._reachable, self._summed = registry, reachable | {"", OTHER}, summed

    def collect(self) -> Iterator[Metric]:
        """Read all families."""
        for family in self._registry.collect():
            if any("collection" in sample.labels for sample in family.samples):
                family.samples = list(self._within_reach(family))
            yield family

    def _within_reach(self, family: Metric) -> Iterator[SeriesSample]:
        hidden: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        shown: list[SeriesSample] = []
        for sample in family.samples:
            collection = sample.labels.get("collection", "")
            key = sample.name, tuple({**sample.labels, "collection": OTHER}.items())
            if collection in self._reachable and collection != OTHER:
                shown.append(sample)
            elif (self._summed or collection == OTHER) and not sample.name.endswith("_created"):
                hidden[key] = hidden.get(key, 0.0) + sample.value
        yield from shown
        if self._summed:
            yield from (SeriesSample(name, dict(labels), value) for (name, labels), value in hidden.items())
