"""Puts the reading room together: Redis -> reader -> windows -> view -> exporter, API, stream, wall."""

import asyncio
import errno
import socket
from collections.abc import Callable
from importlib.metadata import version
from secrets import token_hex
from typing import Any, Final

import structlog
from aiohttp import web

from stream_app.errors import LynceusError
from stream_app.metrics.catalogue import HISTOGRAMS, INDEX, METRICS, PLAN, WINDOWS
from stream_app.serving.api import FRESH_MS, Api
from stream_app.serving.border import LOOPBACK_NAMES
from stream_app.serving.courier import Courier
from stream_app.serving.exporter import Exporter, ViewCollector
from stream_app.serving.publishing import Publisher
from stream_app.serving.reader import Reader, check_store, connect
from stream_app.serving.refresher import Refresher, clock_ms
from stream_app.serving.stream import Stream
from stream_app.serving.views import Meaning, Origin, View
from stream_app.serving.vigil import Vigil
from stream_app.serving.watch_store import WatchStore
from stream_app.settings import ServerSettings, Settings, VerdictsSettings, is_loopback
from stream_app.statistics.verdicts import KPIS
from stream_app.statistics.watch import Policy

SHUTDOWN_S: Final = 2.0


async def serve(settings: Settings, stop: asyncio.Event, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until `stop`; call `on_ready` with the URL once the first view can be read.

    Raises LynceusError when it may not or cannot listen, and when Redis is unreachable or evicts at the
    start. Later outages of Redis are survived: the last view is served, said to be stale, and `/readyz`
    fails.
    """
    allowed_hosts = _allowed_hosts(settings.server)
    log: Any = structlog.get_logger("lynceus.server")
    async with connect(settings.redis) as redis:
        warning = await check_store(redis, settings.redis)
        if warning:
            log.warning(warning)
        refresher, stream, app, courier, publisher = _compose(settings, redis, allowed_hosts)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        try:
            url = await _listen(runner, settings.server)
            await refresher.refresh()
            log.info("serving", url=url)
            if on_ready:
                on_ready(url)
            published = publisher.run(stop, settings.server.refresh_interval_s)  # ends at once where none is wanted
            beside = [asyncio.create_task(published), asyncio.create_task(courier.run())]
            try:
                await refresher.run(stop)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.wait(beside, timeout=SHUTDOWN_S)
        finally:
            stream.close()
            await runner.cleanup()


def meaning_of(settings: Settings) -> Meaning:
    """Return what the numbers mean: the catalogue, and how events are counted."""
    counting = settings.counting
    return Meaning(
        METRICS,
        WINDOWS,
        INDEX,
        counting.out_of_orderness_s * 1000,
        counting.lateness_s * 1000,
        counting.click_window_s * 1000,
        max(counting.click_conversion_window_s, counting.view_conversion_window_s) * 1000,
        counting.session_gap_s * 1000,
        HISTOGRAMS,
        counting.currency,
    )


def reader_of(settings: Settings, redis: Any) -> Reader:
    """Return a reader of the partitions of the settings' app and topic, which knows nothing yet."""
    return Reader(
        redis,
        settings.redis,
        settings.app,
        settings.kafka.events_topic,
        settings.kafka.partitions,
        PLAN.meanings,
    )


def policy_of(settings: VerdictsSettings) -> Policy:
    """Return what is asked of the watch. Its budget is for as many surfaces as there may be: none changes it."""
    return Policy(
        budget_a_year=settings.budget_a_year,
        series=settings.surfaces * len(KPIS),
        notices_a_year=settings.notices_a_year,
        margin=settings.margin,
        shares=settings.promised,
        srm_alpha=settings.srm_alpha,
        settle_ms=settings.settle_s * 1000,
    )


def watch_store_of(settings: Settings, redis: Any) -> WatchStore:
    """Return what all servers of the settings' app share of the watch."""
    return WatchStore(redis, settings.redis, settings.app, settings.verdicts.surfaces, settings.verdicts.history)


def _compose(
    settings: Settings, redis: Any, allowed_hosts: frozenset[str] | None
) -> tuple[Refresher, Stream, web.Application, Courier, Publisher]:
    build, meaning, server = version("lynceus"), meaning_of(settings), settings.server
    reader = reader_of(settings, redis)

    def current() -> View | None:
        return refresher.view

    stream = Stream(build, current, clock_ms)
    shared = watch_store_of(settings, redis)
    courier = Courier(shared, settings.kafka, f"{socket.gethostname()}-{token_hex(8)}")
    vigil = Vigil(shared, policy_of(settings.verdicts), meaning, settings.verdicts.surfaces, courier)
    refresher = Refresher(reader, Origin(build, server.title), meaning, stream, server.refresh_interval_s, vigil=vigil)
    collector = ViewCollector(current, meaning, settings.counting.currency, build, clock_ms)
    fresh_ms = max(FRESH_MS, int(2_000 * server.refresh_interval_s))
    api = Api(current, meaning, stream, Exporter(collector), clock_ms, fresh_ms, lambda: vigil.history)
    publisher = Publisher(redis, settings.app, meaning, settings.decisions, current, clock_ms)
    return refresher, stream, api.application(allowed_hosts), courier, publisher


def _allowed_hosts(server: ServerSettings) -> frozenset[str] | None:
    """Return the names that are answered to; raise LynceusError for a bind open to everybody."""
    if server.behind_proxy:
        return None
    if not is_loopback(server.host):
        raise LynceusError(
            f"LYNCEUS_SERVER__HOST={server.host} is open to other machines, and nothing here authenticates",
            "Put something in front that does and set LYNCEUS_SERVER__BEHIND_PROXY=true, or use 127.0.0.1",
        )
    return frozenset((*LOOPBACK_NAMES, f"[{server.host}]" if ":" in server.host else server.host))


async def _listen(runner: web.AppRunner, server: ServerSettings) -> str:
    site = web.TCPSite(runner, server.host, server.port)
    try:
        await site.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise LynceusError(
                f"port {server.port} on {server.host} is in use",
                "Stop what listens there, or set LYNCEUS_SERVER__PORT to another port (0 = any free one)",
            ) from None
        raise LynceusError(
            f"cannot listen on {server.host}:{server.port}: {error.strerror}", "Set LYNCEUS_SERVER__HOST"
        ) from None
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
