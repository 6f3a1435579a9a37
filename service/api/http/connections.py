"""Who is connected: places for connections, shared by addresses, and which of them only wait."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry

from service.metrics import register_gauge
from service.runtime.shares import Shares

IPV6_PREFIX = 64  # one subscriber has that many addresses to choose from


class Waiting(Protocol):
    """A connection that waits for its next request, and can be given up."""

    address: str

    def give_way(self) -> None:
        """Leave, and close at once."""


class Connections:
    """Places for open connections. Used on the event loop only.

    An address may hold as many places as are still free: half of all when it is alone, and one is left for anybody
    else. When it has its share, its connection that has waited longest for a request gives way to its new one; when
    all places are taken, the one of all that has waited longest. Addresses of trusted proxies stand for many
    clients: only the total bounds them.
    """

    def __init__(self, places: int, proxies: Sequence[str] = ()) -> None:
        self._shares = Shares(places)
        self._proxies = tuple(ipaddress.ip_network(proxy) for proxy in proxies)
        self._waiting: dict[Waiting, None] = {}  # in the order in which their waiting began

    def register(self, registry: CollectorRegistry) -> None:
        """Register the series of connections."""
        about = "Connections of clients that are open."
        register_gauge(registry, "facet_connections", about, lambda: self._shares.taken)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return self._shares.taken

    def enter(self, address: str) -> bool:
        """Take a place for a connection from `address`; False when there is none for it."""
        fair = not self._is_proxy(address)
        while not self._shares.take(address, fair=fair):
            if (oldest := self._oldest(address, fair)) is None:
                return False
            oldest.give_way()
        return True

    def leave(self, connection: Waiting) -> None:
        """Give a place back."""
        self.proceed(connection)
        self._shares.give(connection.address)

    def wait(self, connection: Waiting) -> None:
        """Note that a connection begins to wait for a request."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None

    def proceed(self, connection: Waiting) -> None:
        """Note that a connection waits no more."""
        self._waiting.pop(connection, None)

    def _oldest(self, address: str, fair: bool) -> Waiting | None:
        everybody = not fair or self._shares.taken >= self._shares.total
        return next((each for each in self._waiting if everybody or each.address == address), None)

    def _is_proxy(self, address: str) -> bool:
        try:
            known = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(known in network for network in self._proxies)


def address_of(host: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False).network_address)
    return str(address)
