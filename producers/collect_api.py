"""The way of a request: admitted, read, taken apart, delivered, answered with what became of each event.

200  every event is in Kafka            207  so is each that is not `rejected`
400  the body cannot be taken apart     503  nothing is promised for what is `unavailable`: send it again
"""

import asyncio
import hashlib
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from aiohttp import web
from prometheus_client import exposition

from producers.collect_border import RETRY_AFTER_S, Border, Denied, add_headers, answer, error, errors_as_json
from producers.collect_delivery import Delivery, Keyed
from producers.collect_metrics import CollectorMetrics
from producers.collect_reading import (
    Adapter,
    Body,
    Outcome,
    Ready,
    Refused,
    Unreadable,
    accept,
    adapt,
    correction_ms,
    is_sent_at,
    placed,
    ready,
    split,
)
from stream_app.settings import CollectorSettings

MAX_REQUESTS: Final = 256
"""Requests that may be read or waited for at once: with the size of a body, the bound of what bodies occupy."""
READ_S: Final = 10.0


class Limits(NamedTuple):
    """What a request may be. Bytes and milliseconds."""

    max_body_bytes: int
    skew_ms: int
    future_ms: int


class Api:
    """Answers requests with events. Mutable state: how many are being answered, and whether no more are taken."""

    def __init__(
        self,
        settings: CollectorSettings,
        future_ms: int,
        delivery: Delivery,
        beacon: bytes,
        adapters: Mapping[str, Adapter] = MappingProxyType({}),
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`beacon` is the script for browsers; an event later than now by more than `future_ms` is refused.

        Each of `adapters` takes the records of another system at `/v1/<its name>`.
        """
        self._border = Border(settings)
        self._limits = Limits(settings.max_body_bytes, int(settings.skew_s * 1000), future_ms)
        self._delivery = delivery
        self._adapters = adapters
        self._beacon = beacon
        self._beacon_tag = f'"{hashlib.sha256(beacon).hexdigest()[:16]}"'
        self._clock_ms = clock_ms
        self._answering = 0
        self.metrics = CollectorMetrics(delivery)
        self.is_draining = False

    def application(self) -> web.Application:
        """Return what is open to senders."""
        app = web.Application(middlewares=[errors_as_json], client_max_size=self._limits.max_body_bytes)
        for name, adapter in {"events": None, **self._adapters}.items():
            app.router.add_post(f"/v1/{name}", partial(self.events, adapter))
            app.router.add_route("OPTIONS", f"/v1/{name}", self._border.preflight)
        app.router.add_get("/beacon.js", self.beacon)
        app.router.add_get("/livez", self.livez)
        app.router.add_get("/readyz", self.readyz)
        app.on_response_prepare.append(add_headers)
        app.on_response_prepare.append(self._allow)
        return app

    def inner_application(self) -> web.Application:
        """Return what only those who run it should see."""
        app = web.Application(middlewares=[errors_as_json])
        app.router.add_get("/metrics", self.exposed)
        app.router.add_get("/livez", self.livez)
        app.router.add_get("/readyz", self.readyz)
        app.on_response_prepare.append(add_headers)
        return app

    async def events(self, adapter: Adapter | None, request: web.Request) -> web.Response:
        """POST /v1/events: canonical events; or those that `adapter` makes of foreign records."""
        began, status = time.perf_counter(), 500
        self._answering += 1
        try:
            response = await self._answered(adapter, request)
            status = response.status
        except web.HTTPException as refusal:
            status = refusal.status
            raise
        finally:
            self._answering -= 1
            self.metrics.answered(status, time.perf_counter() - began)
        return response

    async def beacon(self, request: web.Request) -> web.Response:
        """GET /beacon.js: the script for pages, to be asked for again after an hour."""
        headers = {
            "Cache-Control": "public, max-age=3600",
            "ETag": self._beacon_tag,
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        if request.headers.get("If-None-Match") == self._beacon_tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=self._beacon, content_type="text/javascript", charset="utf-8", headers=headers)

    async def livez(self, _: web.Request) -> web.Response:
        """GET /livez: this process answers."""
        return answer(200, {"status": "alive"})

    async def readyz(self, _: web.Request) -> web.Response:
        """GET /readyz: events would be taken."""
        if self.is_draining:
            return answer(503, {"status": "draining"})
        if not self._delivery.is_up:
            return answer(503, {"status": "Kafka does not acknowledge"})
        return answer(200, {"status": "ready"})

    async def exposed(self, request: web.Request) -> web.Response:
        """GET /metrics: for Prometheus."""
        encode, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
        body = encode(self.metrics.registry)
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    async def _allow(self, request: web.Request, response: web.StreamResponse) -> None:
        self._border.allow(request, response)

    async def _answered(self, adapter: Adapter | None, request: web.Request) -> web.Response:
        if self.is_draining or self._answering > MAX_REQUESTS:
            return error(Denied(503, "no more requests are taken here now", RETRY_AFTER_S))
        if denied := self._border.admit(request):
            return error(denied)
        # Before the body: a slow upload must not look like a slow clock.
        now_ms = self._clock_ms()
        sent_at_ms = _sent_at(request)
        if isinstance(sent_at_ms, Denied):
            return error(sent_at_ms)
        body = await _read(request, self._limits.max_body_bytes)
        if isinstance(body, Denied):
            return error(body)
        parts = split(body, request.content_type.lower(), is_foreign=adapter is not None)
        if denied := self._border.authenticate(request, parts.key if isinstance(parts, Body) else None):
            return error(denied)
        if isinstance(parts, Unreadable):
            return error(Denied(413 if parts.reason == "limits" else 400, parts.detail), reason=parts.reason)
        by_ms = correction_ms(sent_at_ms or parts.sent_at_ms, now_ms, self._limits.skew_ms)
        latest_ms = now_ms + self._limits.future_ms
        outcomes = accept(parts.raws) if adapter is None else adapt(parts.raws, adapter)
        return await self._delivered([placed(event, by_ms, latest_ms) for event in outcomes], by_ms)

    async def _delivered(self, outcomes: Sequence[Outcome], by_ms: int) -> web.Response:
        """Send what was accepted, and answer for each event."""
        ready_ones = [ready(outcome) for outcome in outcomes]
        sendable = [one for one in ready_ones if isinstance(one, Ready)]
        acknowledged = await self._send([Keyed(one.event.user.encode(), one.raw) for one in sendable])
        flags = iter(acknowledged)
        results: list[dict[str, Any]] = []
        for one in ready_ones:
            if isinstance(one, Refused):
                results.append({"status": "rejected", **one._asdict()})
                self.metrics.rejected(one.reason)
            elif next(flags):
                results.append({"status": "accepted", "id": one.event.id})
                self.metrics.accepted(type(one.event))
            else:
                results.append({"status": "unavailable", "id": one.event.id})
        promised = sum(acknowledged)
        unavailable, rejected = len(sendable) - promised, len(results) - len(sendable)
        self.metrics.unpromised(unavailable)
        self.metrics.corrected(promised if by_ms else 0)
        said = {"accepted": promised, "rejected": rejected, "unavailable": unavailable, "corrected_ms": by_ms}
        status = 503 if unavailable else 207 if rejected else 200
        return answer(status, said | {"events": results}, RETRY_AFTER_S if unavailable else None)

    async def _send(self, records: Sequence[Keyed]) -> list[bool]:
        return [bool(flag) for flag in await self._delivery.deliver(records) or [False] * len(records)]


def _sent_at(request: web.Request) -> int | Denied | None:
    """Return when the sender says it sent: by the header, or in the address."""
    text = request.headers.get("Lynceus-Sent-At") or request.query.get("sent_at")
    if text is None:
        return None
    sent_at_ms = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
    if not is_sent_at(sent_at_ms):
        return Denied(400, "sent_at is an integer of milliseconds since the epoch")
    return sent_at_ms


async def _read(request: web.Request, max_bytes: int) -> bytes | Denied:
    """Return the body, unpacked. aiohttp does not unpack here: it would log a body that is no gzip as a fault."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        return Denied(415, "Content-Encoding is gzip or nothing")
    try:
        async with asyncio.timeout(READ_S):
            body = await request.read()
    except TimeoutError:
        return Denied(408, f"the body did not come within {READ_S:g} s")
    except (web.RequestPayloadError, web.PayloadAccessError, ConnectionError) as fault:
        return Denied(400, f"the body cannot be read: {type(fault).__name__}")
    if encoding == "identity":
        return body
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacking.decompress(body, max_bytes)
    except zlib.error as fault:
        return Denied(400, f"the body is no gzip: {fault}")
    if unpacking.unconsumed_tail:
        return Denied(413, f"the body unpacks to more than {max_bytes} bytes")
    return unpacked if unpacking.eof else Denied(400, "the body is no gzip: it ends too early")
