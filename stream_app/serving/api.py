"""The HTTP face: read API, stream, metrics, health, the wall's files. Every answer renders one View."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import ETag, web

from stream_app.metrics.catalogue import FAMILIES, MEASURES, METRICS, WINDOWS
from stream_app.metrics.description import described
from stream_app.serving import border
from stream_app.serving.border import error_response, json_response
from stream_app.serving.context import context
from stream_app.serving.exporter import Exporter
from stream_app.serving.queries import no_parameters, once, query, query_series
from stream_app.serving.stream import Stream
from stream_app.serving.views import Meaning, View
from stream_app.serving.vigil import GUARD_EXPIRES_MS
from stream_app.serving.watch_view import Guard, guard_of, recorded

STATIC: Final = Path(__file__).parent / "static"
FRESH_MS: Final = 5_000
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")

CATALOGUE: Final = {
    "families": [{"name": f.name, "title": f.title, "help": f.help} for f in FAMILIES],
    "metrics": [described(metric) for metric in METRICS],
    "measures": [{"name": m.name, "help": m.help, "unit": m.unit} for m in MEASURES],
    "windows": [{"name": w.name, "length_ms": w.length_ms} for w in WINDOWS],
}


class Api:
    """The handlers. Holds no state of its own: what it answers is the current view."""

    def __init__(
        self,
        current: Callable[[], View | None],
        meaning: Meaning,
        stream: Stream,
        exporter: Exporter,
        clock: Callable[[], int],
        fresh_ms: int = FRESH_MS,
        history: Callable[[], tuple[bytes, ...]] = tuple,
    ) -> None:
        self._history = history
        self._current = current
        self._meaning = meaning
        self._stream = stream
        self._exporter = exporter
        self._clock = clock
        self._fresh_ms = fresh_ms

    def application(self, allowed_hosts: frozenset[str] | None) -> web.Application:
        """Return the application; `allowed_hosts` as in `border.limits`."""
        app = web.Application(middlewares=[border.errors_as_json, border.limits(allowed_hosts)])
        app.on_response_prepare.append(border.add_headers)
        for path, handler in (
            ("/v1/view", self.view),
            ("/v1/catalogue", self.catalogue),
            ("/v1/query", self.query),
            ("/v1/context", self.context),
            ("/v1/series", self.series),
            ("/v1/verdicts", self.verdicts),
            ("/v1/guard/{surface}", self.guard),
            ("/v1/stream", self._stream.serve),
            ("/metrics", self.metrics),
            ("/livez", self.livez),
            ("/readyz", self.readyz),
            ("/", self.root),
            ("/wall", self.wall),
            ("/static/{name}", self.static),
        ):
            # A HEAD of a stream would never end.
            app.router.add_get(path, handler, allow_head=path != "/v1/stream")
        return app

    async def view(self, request: web.Request) -> web.StreamResponse:
        """Answer the whole view. Its ETag is weak: it stays while only the time of looking differs."""
        no_parameters(request.query.items())
        view = self._required()
        etag = ETag(view.tag, is_weak=True)
        if any(known.value in ("*", view.tag) for known in request.if_none_match or ()):
            response = web.Response(status=304)
        else:
            response = web.Response(body=view.json, content_type="application/json")
            response.enable_compression()
        response.etag = etag
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def catalogue(self, request: web.Request) -> web.StreamResponse:
        """Answer what there is to ask for."""
        no_parameters(request.query.items())
        return json_response(CATALOGUE)

    async def query(self, request: web.Request) -> web.StreamResponse:
        """Answer one metric of one window over some slices."""
        return json_response(query(self._required(), self._meaning, request.query.items()))

    async def context(self, request: web.Request) -> web.StreamResponse:
        """Answer what context is good for: waterfalls between arms, and the index of contextual relevance."""
        return json_response(context(self._required(), self._meaning, request.query.items()))

    async def series(self, request: web.Request) -> web.StreamResponse:
        """Answer the last hour by minute."""
        return json_response(query_series(self._required(), self._meaning, request.query.items()))

    async def verdicts(self, request: web.Request) -> web.StreamResponse:
        """Answer what is said of personalization: the watch, verdicts that are open, and those there were."""
        asked = once(request.query.items(), ("surface",))
        watch = self._required().snapshot.watch
        return json_response(recorded(watch, self._history(), asked.get("surface")))

    async def guard(self, request: web.Request) -> web.StreamResponse:
        """Answer whether personalization may be relied on at a surface."""
        no_parameters(request.query.items())
        view, surface, now_ms = self._current(), request.match_info["surface"], self._clock()
        is_old = view is None or view.is_stale or now_ms - view.snapshot.at_ms > max(self._fresh_ms, GUARD_EXPIRES_MS)
        if view is None or is_old:
            return json_response(Guard("unknown", "the store cannot be read", "not_enough", None, now_ms))
        watched = next((each for each in view.snapshot.watch.surfaces if each.surface == surface), None)
        return json_response(guard_of(watched, view.snapshot.at_ms))

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Answer the Prometheus page, made in a thread: streams must keep beating."""
        accept = ",".join(request.headers.getall("Accept", []))
        page, content_type = await asyncio.to_thread(self._exporter.render, accept)
        return web.Response(body=page, headers={"Content-Type": content_type})

    async def livez(self, _: web.Request) -> web.StreamResponse:
        """Say that the process answers."""
        return json_response({"status": "live"})

    async def readyz(self, _: web.Request) -> web.StreamResponse:
        """Say whether the view is fresh: only then should traffic come here."""
        view = self._current()
        if view is None:
            return error_response(503, "no view has been computed yet")
        if view.is_stale:
            return error_response(503, view.snapshot.incomplete_because[0])
        age_ms = self._clock() - view.snapshot.at_ms
        if age_ms > self._fresh_ms:
            return error_response(503, f"the view is {age_ms / 1000:.1f} s old")
        return json_response({"status": "ready"})

    async def root(self, _: web.Request) -> web.StreamResponse:
        """Lead to the wall."""
        raise web.HTTPFound("/wall")

    async def wall(self, _: web.Request) -> web.StreamResponse:
        """Answer the wall's page."""
        return _file("wall.html")

    async def static(self, request: web.Request) -> web.StreamResponse:
        """Answer one of the wall's files; there are no folders."""
        return _file(request.match_info["name"])

    def _required(self) -> View:
        view = self._current()
        if view is None:
            raise web.HTTPServiceUnavailable(reason="no view has been computed yet")
        return view


def _file(name: str) -> web.StreamResponse:
    path = STATIC / name
    if not _FILE_NAME.fullmatch(name) or not path.is_file():
        raise web.HTTPNotFound
    response: Any = web.FileResponse(path)
    response.headers["Cache-Control"] = "no-cache"
    return response  # type: ignore[no-any-return]
