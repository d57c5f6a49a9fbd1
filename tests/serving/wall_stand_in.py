"""A server under a test's control that speaks the wall's contract: its stream says what it is told.

The snapshots it sends are worked out from counts, to be compared with what is shown.
"""

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp_sse import sse_response

STATIC = Path(__file__).parents[2] / "stream_app" / "serving" / "static"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'"
)
MINUTE_MS = 60_000
WINDOWS = {
    "1m": 60_000,
    "5m": 300_000,
    "15m": 900_000,
    "1h": 3_600_000,
    "24h": 86_400_000,
    "7d": 604_800_000,
    "28d": 2_419_200_000,
    "all": 9_000_000_000,
}
HELP = {
    "ctr": "Share of impressions that were clicked.",
    "conversion": "Share of exposed sessions that converted.",
    "relevance": "Mean relevance in context of the impressions that state one.",
}
TITLES = {"ctr": "Click-through rate", "conversion": "Conversion rate", "relevance": "Contextual relevance"}

Json = dict[str, Any]


def proportion(successes: int, trials: int) -> Json | None:
    """Return Wilson's interval, or None without trials (Wilson 1927)."""
    if not trials:
        return None
    z, p = 1.959964, successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    return {"value": p, "low": max(0.0, centre - half), "high": min(1.0, centre + half), "n": trials}


def ratio(one: tuple[int, int], other: tuple[int, int]) -> Json | None:
    """Return the ratio of two rates with Katz's log interval, or None without successes (Katz 1978)."""
    (a, m), (b, n) = one, other
    if not a or not b:
        return None
    value = (a / m) / (b / n)
    half = 1.959964 * math.sqrt(1 / a - 1 / m + 1 / b - 1 / n)
    return {"value": value, "low": value * math.exp(-half), "high": value * math.exp(half), "n": m + n}


def row(surface: str, arm: str, impressions: int, clicks: int, relevance: float = 0.7) -> Json:
    """Return one row: a session every five impressions, about every fiftieth of which converts."""
    sessions = impressions // 5
    mean = {"value": relevance, "low": relevance - 0.004, "high": relevance + 0.004, "n": impressions}
    return {
        "surface": surface,
        "arm": arm,
        "measures": {"impressions": impressions, "clicks": clicks, "sessions": sessions},
        "metrics": {
            "ctr": proportion(clicks, impressions),
            "conversion": proportion(min(sessions, sessions // 50 + clicks % 7), sessions),
            "relevance": mean if impressions > 1 else None,
            "revenue_per_session": None,
        },
    }


Counts = Mapping[str, Mapping[str, tuple[int, int]]]
"""surface -> arm -> (impressions, clicks)"""


def window(end_ms: int, length_ms: int, counts: Counts, maturity: float = 1.0) -> Json:
    """Return a window of these counts with every marginal and each surface's contrast."""
    cells: dict[tuple[str, str], list[int]] = {}
    for surface, arms in counts.items():
        for arm, (impressions, clicks) in arms.items():
            for key in ((surface, arm), (surface, "all"), ("all", arm), ("all", "all")):
                cell = cells.setdefault(key, [0, 0])
                cell[0] += impressions
                cell[1] += clicks
    scores = {"personalized": 0.714, "holdout": 0.522, "context_blind": 0.611}
    contrasts = []
    for surface in ("all", *counts):
        one, other = (cells.get((surface, arm), [0, 0]) for arm in ("personalized", "holdout"))
        found = ratio((one[1], one[0]), (other[1], other[0]))
        contrasts.append(
            {"surface": surface, "metric": "ctr", "arm": "personalized", "against": "holdout", "ratio": found}
        )
    return {
        "start_ms": end_ms - length_ms,
        "end_ms": end_ms,
        "length_ms": length_ms,
        "complete": True,
        "maturity": maturity,
        "rows": [row(*key, *cell, scores.get(key[1], 0.69)) for key, cell in cells.items()],
        "contrasts": contrasts,
    }


def point(start_ms: int, arms: Mapping[str, tuple[int, int]]) -> Json:
    """Return one minute of the series."""
    drift = (start_ms // MINUTE_MS) % 60
    rows = {arm: row("all", arm, *counts, 0.7 + 0.02 * math.sin(drift / 8))["metrics"] for arm, counts in arms.items()}
    return {"start_ms": start_ms, "end_ms": start_ms + MINUTE_MS, "arms": rows}


def partitions(states: str, at_ms: int) -> list[Json]:
    """Return one partition per letter: l(ive) i(dle) b(ehind) x (lost) a(bsent)."""
    names = {"l": "live", "i": "idle", "b": "behind", "x": "lost", "a": "absent"}
    return [
        {
            "partition": number,
            "offset": 2500,
            "end_offset": 2500 + (12_000 if letter == "b" else 0),
            "lag_records": 12_000 if letter == "b" else 0,
            "worker": None if letter == "a" else f"host-{number % 2}",
            "alive_ms": at_ms,
            "state": names[letter],
        }
        for number, letter in enumerate(states)
    ]


def meters(ctr: float, is_active: bool = False) -> list[Json]:
    """Return how far the three rates are on the way to an alarm at 17.3."""
    evidence = {"ctr": ctr, "conversion": 0.4, "relevance": 0.0}
    return [
        {"kpi": kpi, "log_evidence": found, "log_threshold": 17.3, "is_active": is_active and kpi == "ctr"}
        for kpi, found in evidence.items()
    ]


def verdict(surface: str, cause: str, since_ms: int, kpi: str = "ctr", lost: float | None = None) -> Json:
    """Return a verdict that is open."""
    size = None if lost is None else {"value": lost, "low": lost - 0.1, "high": lost + 0.1, "n": 900}
    return {
        "surface": surface,
        "kpi": kpi,
        "cause": cause,
        "is_open": True,
        "since_ms": since_ms,
        "opened_ms": since_ms,
        "at_ms": since_ms,
        "size": size,
        "log_evidence": 17.4,
        "log_threshold": 17.3,
        "contributors": [["device=phone", 9.1]],
        "words": "One sentence for people.",
    }


def surface_watch(surface: str, ctr: float = 0.7, paused: str = "", open_: Json | None = None) -> Json:
    """Return one surface that is watched."""
    return {
        "surface": surface,
        "until_ms": 0,
        "paused": paused,
        "cause": open_["cause"] if open_ else "ok",
        "words": open_["words"] if open_ else "",
        "mismatch_p_value": 1.0,
        "meters": meters(ctr, bool(open_) and open_["kpi"] == "ctr" and open_["cause"] == "drop"),  # type: ignore[index]
        "open": [open_] if open_ else [],
    }


def watch(*surfaces: Json, **changes: Any) -> Json:
    """Return the watch over these surfaces."""
    calm: Json = {
        "surfaces": list(surfaces),
        "held_because": "",
        "unwatched": 0,
        "verdicts": 0,
        "waiting": 0,
        "unsent": 0,
        "gone_minutes": 0,
        "is_publishing": True,
    }
    return calm | changes


def snapshot(at_ms: int, counts: Counts | None = None, **changes: Any) -> Json:
    """Return a whole snapshot with `counts` in each window of `lengths`, and `minutes` points of series.

    The series ends with the last whole minute before `at_ms`. Any other keyword replaces a part.
    """
    end_ms = at_ms - at_ms % 10_000
    maturity = changes.pop("maturity", 1.0)
    minutes = changes.pop("minutes", 0)
    states = changes.pop("states", "llll")
    lengths = changes.pop("lengths", WINDOWS)
    first = end_ms - end_ms % MINUTE_MS - minutes * MINUTE_MS
    wave = [round(12 * math.sin(k / 9) + 7 * math.sin(k * 2.3)) for k in range(minutes)]
    points = [
        point(
            first + k * MINUTE_MS,
            {
                "personalized": (4200, 173 + wave[k]),
                "holdout": (1400, 51 + wave[k] // 4),
                "context_blind": (1400, 55 - wave[k] // 5),
            },
        )
        for k in range(minutes)
    ]
    if counts is not None:
        # A series is always an hour; minutes in which nothing was counted have no arms.
        points[:0] = [point(first - k * MINUTE_MS, {}) for k in range(60 - minutes, 0, -1)]
    full: Json = {
        "build": "0.1.0",
        "title": "production",
        "at_ms": at_ms,
        "end_ms": end_ms if counts is not None else None,
        "newest_ms": at_ms if counts is not None else None,
        "watermark_ms": end_ms if counts is not None else None,
        "sealed_ms": end_ms - 5 * MINUTE_MS if counts is not None else None,
        "complete": True,
        "incomplete_because": [],
        "windows": {
            name: window(end_ms, length, (counts or {}) if name in lengths else {}, maturity)
            for name, length in WINDOWS.items()
        },
        "series": {"step_ms": MINUTE_MS, "span_ms": 5 * MINUTE_MS, "surface": "all", "points": points},
        "pipeline": {
            "events_per_second": 812.4 if counts else 0.0,
            "lag_records": 12_000 * states.count("b"),
            "records": 1_204_115 if counts else 0,
            "outcomes": {
                "counted": 1_199_000,
                "duplicate": 4_100,
                "late": 1_012,
                "future": 0,
                "unmatched": 0,
                "rejected": 3,
            }
            if counts
            else {},
            "rejected": {"syntax": 3} if counts else {},
            "redis": {"up": True, "ms": 0.4, "used_memory_bytes": 12_000_000, "max_memory_bytes": 0},
            "workers": ["host-0", "host-1"],
            "partitions": partitions(states, at_ms),
        },
        "watch": watch(*(surface_watch(name) for name in (counts or {}))),
    }
    return full | changes


COUNTS = {
    "home.hero": {"personalized": (9300, 402), "holdout": (3100, 107), "context_blind": (3100, 118)},
    "search.results": {"personalized": (7200, 300), "holdout": (2400, 88), "context_blind": (2400, 95)},
    "product.similar.items": {"personalized": (3200, 61), "holdout": (1066, 24)},
    "email.weekly": {"personalized": (900, 4), "holdout": (300, 0)},
}
LESS = {"home.hero": {"personalized": (9300, 302), "holdout": (3100, 147)}}
SAME = {"home.hero": {"personalized": (9300, 372), "holdout": (3100, 122)}}
TROUBLE = {
    "complete": False,
    "incomplete_because": ["partition 3 is 12,000 records behind"],
    "states": "llabxxllll",
}


def now_ms() -> int:
    """Return the wall clock: the page has one too, and they must agree."""
    return time.time_ns() // 1_000_000


def at_drop() -> Json:
    """Return a watch in which one surface is in alarm, one near it, one paused and one young."""
    now = now_ms()
    dropped = verdict("home.hero", "drop", now - 14 * MINUTE_MS, lost=0.4)
    young = verdict("email.weekly", "not_enough", now - MINUTE_MS, "surface")
    return watch(
        surface_watch("home.hero", 0.0, open_=dropped),
        surface_watch("search.results", 11.2),
        surface_watch("product.similar.items", paused="mismatch"),
        surface_watch("email.weekly", 0.0, open_=young),
        surface_watch("cart.also.bought"),
    )


STATES: dict[str, Callable[[], dict[str, Any]]] = {
    "full": lambda: snapshot(now_ms(), COUNTS, minutes=60, maturity=0.41),
    "drop": lambda: snapshot(now_ms(), COUNTS, minutes=60, watch=at_drop()),
    "trouble": lambda: snapshot(now_ms(), COUNTS, minutes=60, **TROUBLE),
    "first minute": lambda: snapshot(now_ms(), {"home.hero": {"personalized": (12, 1), "holdout": (1, 0)}}, minutes=1),
    "empty": lambda: snapshot(now_ms()),
    "old": lambda: snapshot(now_ms() - 400 * 86_400_000, COUNTS, minutes=60),
    "crowded": lambda: snapshot(
        now_ms(),
        {
            f"a.very.long.name.of.a.surface.{k}": {"personalized": (900_000_000, 9), "holdout": (9, 3)}
            for k in range(40)
        },
        minutes=60,
        states="l" * 60 + "bxai",
        title="a shop with quite a long name, production",
        incomplete_because=[f"partition {k} is 12,345,678 records behind" for k in range(20)],
        complete=False,
        watch=watch(
            *(
                surface_watch(
                    f"a.very.long.name.of.a.surface.{k}",
                    open_=verdict(f"a.very.long.name.of.a.surface.{k}", "mismatch", now_ms(), "surface"),
                )
                for k in range(20)
            ),
            held_because="partition 3 has no owner",
            waiting=1_000,
            unwatched=20,
            is_publishing=False,
        ),
    ),
}


class StandIn:
    """The server. Mutable state: the streams that are open and what a new one hears first."""

    def __init__(self) -> None:
        self.url = ""
        self.build = "0.1.0"
        self.first: Json | None = None
        self._streams: set[asyncio.Queue[tuple[str, Json] | None]] = set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve on a free port of the loopback."""
        app = web.Application()
        app.router.add_get("/wall", self._page)
        app.router.add_static("/static", STATIC)
        app.router.add_get("/v1/stream", self._stream)
        app.router.add_get("/v1/catalogue", self._catalogue)
        app.router.add_get("/v1/series", self._series)
        app.on_response_prepare.append(self._protect)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/wall"

    async def stop(self) -> None:
        """Close every stream and the port."""
        self.drop()
        if self._runner is not None:
            await self._runner.cleanup()

    def push(self, event: str, content: Json) -> None:
        """Send an event to every open stream; a snapshot or update is also what a new stream hears first."""
        if event in ("snapshot", "update"):
            self.first = content
        for queue in self._streams:
            queue.put_nowait((event, content))

    def drop(self) -> None:
        """Close every open stream, as a server does that restarts."""
        for queue in self._streams:
            queue.put_nowait(None)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        queue: asyncio.Queue[tuple[str, Json] | None] = asyncio.Queue()
        async with sse_response(request) as response:
            self._streams.add(queue)
            try:
                await response.send(json.dumps({"build": self.build}), event="hello", retry=200)
                if self.first is not None:
                    await response.send(json.dumps(self.first), event="snapshot")
                while (item := await queue.get()) is not None:
                    await response.send(json.dumps(item[1]), event=item[0])
            except ConnectionResetError:
                pass  # the page has gone, which is how every test ends
            finally:
                self._streams.discard(queue)
        return response

    async def _page(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "wall.html")

    async def _catalogue(self, _: web.Request) -> web.Response:
        metrics = [
            {"name": name, "title": TITLES[name], "help": HELP[name], "unit": "ratio", "is_up_good": True}
            for name in TITLES
        ]
        lengths = [{"name": name, "length_ms": length} for name, length in WINDOWS.items()]
        return web.json_response({"metrics": metrics, "measures": [], "windows": lengths})

    async def _series(self, request: web.Request) -> web.Response:
        series = self.first["series"] if self.first else {"points": []}
        return web.json_response(series | {"surface": request.query["surface"]})

    @staticmethod
    async def _protect(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Security-Policy"] = CSP
