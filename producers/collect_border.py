"""Who may send, and how the collector answers: origins, keys, rates, and errors as JSON that tell nothing.

A page that is allowed may send, and read the answer; nobody can read anything else here. A browser names the page
in `Origin` and a page cannot change that, so the list of origins keeps other people's pages out. A program can
write any `Origin` it likes: what keeps programs out is a key.
"""

import base64
import math
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from aiohttp import web

from producers.collect_keys import is_known
from producers.collect_rates import Rates, client_of
from stream_app.settings import CollectorSettings

MAX_URL: Final = 2_048
RETRY_AFTER_S: Final = 2
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "lynceus",  # aiohttp would tell its version and Python's
}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "authorization, content-type, lynceus-sent-at",
    "Access-Control-Max-Age": "86400",
}

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Denied(NamedTuple):
    """Why a request is not served: a status and one line; with it, after how many seconds it may be."""

    status: int
    message: str
    retry_after_s: float | None = None


class Border:
    """Decides who is let in. Mutable state: the buckets of `Rates`."""

    def __init__(self, settings: CollectorSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._origins = settings.allowed_origins
        self._keys, self._browser_keys = settings.key_digests, settings.browser_key_digests
        self._rates = Rates(settings.requests_per_s)
        self._is_behind_proxy = settings.behind_proxy
        self._clock = clock

    def admit(self, request: web.Request) -> Denied | None:
        """Judge what is known before the body is read: the origin and how often this client comes."""
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() not in self._origins:
            return Denied(403, f"pages of {origin[:100]} may not send here: LYNCEUS_COLLECTOR__ORIGINS lists who may")
        wait_s = self._rates.wait_s(client_of(self._address(request)), self._clock())
        if wait_s:
            return Denied(429, "too many requests from this client", wait_s)
        return None

    def authenticate(self, request: web.Request, key_in_body: str | None) -> Denied | None:
        """Judge the key, wherever it was put.

        A key for servers counts in the Authorization header only: an address is written to logs on the way. A key
        for browsers is shown by the page anyway, so it may stand in the address or in the body, which is all that
        `sendBeacon` leaves; but it counts only together with an allowed origin.
        """
        if not self._keys and not self._browser_keys:
            return None
        in_header = _key_of(request.headers.get("Authorization", ""))
        if in_header and is_known(in_header, self._keys):
            return None
        shown = in_header or request.query.get("key") or key_in_body or ""
        if shown and is_known(shown, self._browser_keys):
            if "Origin" in request.headers:
                return None
            return Denied(403, "this key is for pages, and this request comes from none")
        return Denied(401, "a key is needed: Authorization: Bearer <key>" if not shown else "this key is not known")

    def allow(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add what a browser asks for before it lets a page read the answer."""
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() in self._origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Retry-After"

    async def preflight(self, request: web.Request) -> web.Response:
        """Answer a browser that asks whether a page may send."""
        origin = request.headers.get("Origin", "")
        if origin.lower() not in self._origins:
            return error(Denied(403, "this origin may not send here"))
        return web.Response(status=204, headers=_PREFLIGHT)

    def _address(self, request: web.Request) -> str:
        # What the nearest proxy wrote is the last entry; what stands before it, anybody may have written.
        forwarded = request.headers.get("X-Forwarded-For", "") if self._is_behind_proxy else ""
        return forwarded.rpartition(",")[2].strip() or request.remote or "unknown"


def _key_of(authorization: str) -> str:
    """Return the key of a header: `Bearer <key>`, or `Basic` with the key as user name, as Segment's clients send."""
    scheme, _, credentials = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
        except ValueError:
            return ""
    return ""


def answer(status: int, value: object, retry_after_s: float | None = None) -> web.Response:
    """Return `value` as JSON that nobody keeps."""
    response = web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    return response


def error(denied: Denied, **more: object) -> web.Response:
    """Return an error as JSON."""
    response = answer(denied.status, {"error": denied.message, **more}, denied.retry_after_s)
    if denied.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to any response."""
    response.headers.update(HEADERS)


@web.middleware
async def errors_as_json(request: web.Request, handler: Answering) -> web.StreamResponse:
    """Turn whatever is raised into JSON; what was not foreseen is logged here and not shown."""
    log: Any = structlog.get_logger("lynceus.collector")
    if len(request.raw_path) > MAX_URL:
        return error(Denied(414, f"the URL is longer than {MAX_URL:,} bytes"))
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        response = error(Denied(refusal.status, refusal.reason.lower()))
        if "Allow" in refusal.headers:
            response.headers["Allow"] = refusal.headers["Allow"]
        return response
    except Exception:
        log.exception("request failed", path=request.path[:200])
        return error(Denied(500, "internal error"))
