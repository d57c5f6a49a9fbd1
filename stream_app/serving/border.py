"""What every request and response goes through: limits, headers, and errors as JSON that tell nothing."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from stream_app.serving.queries import BadQueryError

MAX_URL: Final = 2_048
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "lynceus",  # aiohttp would tell its version and Python's
}
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_response(value: object, status: int = 200) -> web.Response:
    """Return `value` as JSON, to be asked for again before it is used again."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-cache"},
    )


def error_response(status: int, message: str, **more: object) -> web.Response:
    """Return an error as JSON."""
    return json_response({"error": message, **more}, status)


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to any response, also to streams and files."""
    response.headers.update(HEADERS)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into JSON; what was not foreseen is logged here and not shown."""
    log: Any = structlog.get_logger("lynceus.server")
    try:
        return await handler(request)
    except BadQueryError as error:
        return error_response(400, error.message, near=error.near)
    except web.HTTPRedirection:
        raise
    except web.HTTPException as error:
        response = error_response(error.status, error.reason.lower())
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        log.exception("request failed", path=request.path[:200])
        return error_response(500, "internal error")


def limits(allowed_hosts: frozenset[str] | None) -> Any:
    """Return the middleware that refuses long URLs, bodies, and names that are not ours.

    On a loopback bind only loopback names are answered: otherwise a page from elsewhere whose name was made
    to point here (DNS rebinding) could read everything. None = something in front decides.
    """

    @web.middleware
    async def limited(request: web.Request, handler: Handler) -> web.StreamResponse:
        if len(request.raw_path) > MAX_URL:
            return error_response(414, f"the URL is longer than {MAX_URL:,} bytes")
        if request.body_exists:
            response = error_response(413, "no request here takes a body")
            response.force_close()
            return response
        if allowed_hosts is not None and _name(request.host) not in allowed_hosts:
            return error_response(421, "this server answers to loopback names only")
        return await handler(request)

    return limited


def _name(host: str) -> str:
    """Return a Host header without its port."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0].lower()
