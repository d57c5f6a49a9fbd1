"""How often a client may come: one token bucket each, for a bounded number of clients."""

import ipaddress
from collections import OrderedDict
from typing import Final

MAX_CLIENTS: Final = 20_000
BURST_S: Final = 2.0
"""Seconds' worth of requests that may come at once after a silence."""


class Rates:
    """Token buckets by client. Mutable state: the buckets, least recently used first, at most `max_clients`.

    Whoever is forgotten begins with a full bucket: with more addresses than that, a flood is bounded by the room
    for what is in flight, not by this.
    """

    def __init__(self, per_s: float, max_clients: int = MAX_CLIENTS) -> None:
        self._per_s = per_s
        self._burst = max(1.0, per_s * BURST_S)
        self._max_clients = max_clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> tokens, when

    def __len__(self) -> int:
        """Return how many clients are remembered."""
        return len(self._buckets)

    def wait_s(self, client: str, now_s: float) -> float:
        """Take one request of `client` at `now_s`; return 0, or the seconds after which one would be let in."""
        tokens, at_s = self._buckets.pop(client, (self._burst, now_s))
        tokens = min(self._burst, tokens + max(0.0, now_s - at_s) * self._per_s)
        is_admitted = tokens >= 1.0
        self._buckets[client] = (tokens - is_admitted, now_s)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return 0.0 if is_admitted else (1.0 - tokens) / self._per_s


def client_of(address: str) -> str:
    """Return whom an address stands for: itself, or the /64 network of an IPv6 address, which one client may own."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return address
    if mapped := parsed.ipv4_mapped:
        return str(mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)).network_address)
