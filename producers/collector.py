"""`lynceus collect`: puts the collector together, from HTTP to Kafka, and takes it apart again in order."""

import asyncio
import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp import web

from producers.adapters import ADAPTERS
from producers.collect_api import Api
from producers.collect_delivery import Delivery
from producers.foreign import Adapter, Pseudonym, as_given
from producers.pseudonyms import Pseudonyms
from stream_app.errors import LynceusError
from stream_app.settings import CollectorSettings, Settings, is_loopback

BEACON: Final = Path(__file__).parent / "static" / "beacon.js"
DRAIN_S: Final = 2.0
OVER_HTTP: Final = ("segment", "cloudevents")
"""The sources that send what they have by themselves."""


async def collect(settings: Settings, stop: asyncio.Event, on_ready: Callable[[str], None] | None = None) -> None:
    """Collect until `stop`; call `on_ready` with the URL once events are taken.

    Raises LynceusError when it may not or cannot listen, when no broker can be reached at the start, or when the
    topic does not exist. Later outages of Kafka are survived: senders are told to come again.
    """
    _require_cautious(settings.collector)
    log: Any = structlog.get_logger("lynceus.collector")
    collector = settings.collector
    pseudonym = _pseudonym(collector)
    delivery = await asyncio.to_thread(Delivery, settings.kafka, collector.in_flight_bytes, collector.patience_s)
    api = Api(collector, settings.counting.future_s * 1000, delivery, BEACON.read_bytes(), foreign(pseudonym))
    options: dict[str, Any] = {"access_log": None, "handle_signals": False, "auto_decompress": False}
    outer = web.AppRunner(api.application(), shutdown_timeout=DRAIN_S, **options)
    inner = web.AppRunner(api.inner_application(), shutdown_timeout=0.1, **options)
    try:
        url = await _listen(outer, collector.host, collector.port, "PORT")
        metrics_url = await _listen(inner, collector.metrics_host, collector.metrics_port, "METRICS_PORT")
        log.info("collecting", url=url, metrics=f"{metrics_url}/metrics")
        if on_ready:
            on_ready(url)
        await stop.wait()
    finally:
        # Draining: no new request is taken, those that wait for Kafka have a little longer, then they are told
        # that nothing is promised.
        api.is_draining = True
        for site in list(outer.sites):
            await site.stop()
        await delivery.close(DRAIN_S)
        await outer.cleanup()
        await inner.cleanup()


def _require_cautious(collector: CollectorSettings) -> None:
    """Raise LynceusError for a bind that anybody could write to."""
    has_keys = bool(collector.key_digests or collector.browser_key_digests)
    if not is_loopback(collector.host) and not collector.behind_proxy and not has_keys:
        raise LynceusError(
            f"LYNCEUS_COLLECTOR__HOST={collector.host} is open to other machines, and no key is asked for",
            "`lynceus collect --new-key` makes one for LYNCEUS_COLLECTOR__KEY_HASHES; or put something in front that "
            "authenticates and set LYNCEUS_COLLECTOR__BEHIND_PROXY=true, or use 127.0.0.1",
        )


async def _listen(runner: web.AppRunner, host: str, port: int, setting: str) -> str:
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise LynceusError(
                f"port {port} on {host} is in use",
                f"Stop what listens there, or set LYNCEUS_COLLECTOR__{setting} to another port (0 = any free one)",
            ) from None
        name = setting.replace("PORT", "HOST")
        raise LynceusError(
            f"cannot listen on {host}:{port}: {error.strerror}", f"Set LYNCEUS_COLLECTOR__{name}"
        ) from None
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def foreign(pseudonym: Pseudonym) -> dict[str, Adapter]:
    """Return the adapters of the sources that send over HTTP, by the last step of their address."""
    return {name: partial(ADAPTERS[name], pseudonym=pseudonym) for name in OVER_HTTP}


def _pseudonym(settings: CollectorSettings) -> Pseudonym:
    if settings.pseudonym_key is None:
        return as_given
    key = settings.pseudonym_key.get_secret_value().encode()
    return Pseudonyms({settings.pseudonym_key_id: key}, settings.pseudonym_key_id).of
