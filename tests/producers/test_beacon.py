"""The beacon in a real Chromium, through the collector into a real Kafka, counted by the worker's own processor."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page

from producers.topics import ensure_topics
from stream_app.core import codec
from stream_app.core.events import Click, Engagement, Impression, PageView
from stream_app.core.processor import Span
from stream_app.ports import free_port
from stream_app.settings import KafkaSettings
from tests.collecting import Collector, collecting, keys, now_ms
from tests.recount import read
from tests.timelines import outcomes, partition, total

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

EXAMPLE = Path(__file__).parents[2] / "examples" / "page.html"
SIZE = {"width": 800, "height": 600}
PATIENCE_S = 20.0


class Shop:
    """A web server with the example page, and the collector that the page sends to."""

    def __init__(self, origin: str, key: str, running: Collector, kafka: KafkaSettings, browser: Browser) -> None:
        self.collector = running
        self._origin = origin
        self._key = key
        self._kafka = kafka
        self._browser = browser
        self.faults: list[str] = []

    def url(self, **asked: str) -> str:
        """Return the address of the page."""
        return f"{self._origin}/page.html?" + urlencode({"collector": self.collector.url, "key": self._key} | asked)

    async def visitor(self) -> BrowserContext:
        """Return a browser without memories."""
        visitor = await self._browser.new_context(viewport=SIZE)
        visitor.on("weberror", lambda fault: self.faults.append(str(fault.error)))
        return visitor

    async def until(self, is_true: Callable[[dict[str, float]], bool]) -> None:
        """Return once the collector's metrics say so."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_true(await self.collector.metrics()):  # noqa: ASYNC110  # the collector can only be asked
                await asyncio.sleep(0.05)

    async def until_accepted(self, kind: str, count: int) -> None:
        """Return once that many events of a type are in Kafka."""
        name = f'lynceus_collector_accepted_events_total{{event="{kind}"}}'
        await self.until(lambda metrics: metrics.get(name, 0) >= count)

    async def events(self) -> list[bytes]:
        """Return what is in Kafka, by partition and in order."""
        log = await asyncio.to_thread(read, self._kafka.bootstrap, self._kafka.events_topic)
        return [value or b"" for values in log.values() for value in values]


@asynccontextmanager
async def shop_with(browser: Browser, kafka: KafkaSettings) -> AsyncIterator[Shop]:
    ensure_topics(kafka)
    port, made = free_port(), keys()
    origin = f"http://localhost:{port}"

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=EXAMPLE.read_text(encoding="utf-8"), content_type="text/html")

    app = web.Application()
    app.router.add_get("/page.html", page)
    app.router.add_get("/favicon.ico", page)
    app.router.add_get("/next.html", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "localhost", port).start()
        async with collecting(kafka, origins=origin, **made.settings) as running:
            yield Shop(origin, made.browser, running, kafka, browser)
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="module")
async def shop(chromium: Browser, kafka_settings: KafkaSettings) -> AsyncIterator[Shop]:
    """Open a shop. Whatever a test does there: no fault in the page."""
    async with shop_with(chromium, kafka_settings) as opened:
        yield opened
        assert [] == opened.faults


async def opened(visitor: BrowserContext, url: str) -> tuple[Page, list[str]]:
    """Open the page and wait for the beacon; return it with the list of requests to the collector, which grows."""
    page = await visitor.new_page()
    page.set_default_timeout(10_000)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/v1/" in request.url else None)
    await page.goto(url)
    await page.wait_for_function("window.lynceus !== undefined")
    return page, sent


def counted(raws: list[bytes]) -> tuple[dict[str, int], dict[str, int]]:
    """Return what the worker's processor makes of the records: their outcomes, and the counts."""
    state = partition()
    state.process([Span(0, now_ms(), raws)])
    return outcomes(state), total(state)


async def test_a_visit_is_counted_exactly(shop: Shop) -> None:
    """Two items are in view, three are scrolled to, one is clicked, the visitor leaves: that is what is counted."""
    visitor = await shop.visitor()
    page, _ = await opened(visitor, shop.url(decision="d-1"))
    await page.click("#yes")
    await shop.until_accepted("impression", 2)
    await page.locator("[data-lynceus-item=item-6]").evaluate("(item) => item.scrollIntoView({block: 'start'})")
    await shop.until_accepted("impression", 5)
    await page.locator("[data-lynceus-item=item-7] button").click()
    await page.goto(shop.url().replace("page.html", "next.html"))  # leaves: the rest goes by sendBeacon
    await shop.until_accepted("engagement", 1)
    await visitor.close()
    raws = await shop.events()
    events = [codec.decode(raw) for raw in raws]
    shown = {event.item: event.position for event in events if isinstance(event, Impression)}
    (left,) = [event for event in events if isinstance(event, Engagement)]
    (click,) = [event for event in events if isinstance(event, Click)]
    (viewed,) = [event for event in events if isinstance(event, PageView)]
    impressions = [event for event in events if isinstance(event, Impression)]
    assert {"item-1": 1, "item-2": 2, "item-6": 6, "item-7": 7, "item-8": 8} == shown
    account, counts = counted(raws)
    assert ({"counted": 8}, [5, 1, 1]) == (account, [counts[name] for name in ("impressions", "clicks", "sessions")])
    assert ("home.list", "personalized", "bandit-7", "d-1", "item-7", 7, "click") == (
        click.surface, click.arm, click.policy, click.decision, click.item, click.position, click.kind,
    )  # fmt: skip
    assert all(1_000 <= (event.viewable_ms or 0) < 5_000 for event in impressions)
    assert [1 - position / 20 for position in shown.values()] == [event.relevance for event in impressions]
    assert (1, 1, True) == (len({e.user for e in events}), len({e.session for e in events}), left.final)
    assert ("/page.html", "direct", "web") == (viewed.page, viewed.referrer_class, viewed.channel)
    assert 60 < (left.scroll_pct or 0) < 80
    assert 2_000 <= (left.active_ms or 0) <= left.elapsed_ms


async def test_without_consent_nothing_is_sent_and_nothing_is_kept(shop: Shop) -> None:
    """Before the answer, and after a no, there is no request and no entry in the browser's storage."""
    visitor = await shop.visitor()
    page, sent = await opened(visitor, shop.url())
    await page.click("#no")
    await page.locator("[data-lynceus-item=item-1] button").click()
    await page.wait_for_timeout(1_500)  # longer than an impression takes: what must not happen gives no sign
    kept = await page.evaluate("[localStorage.length, document.cookie]")
    await page.goto(shop.url().replace("page.html", "next.html"))
    await visitor.close()
    assert ([], [0, ""], []) == (sent, kept, await shop.events())


async def test_a_withdrawal_ends_and_erases(shop: Shop) -> None:
    """After a no nothing more is sent and what the beacon kept is gone, also what an earlier page has kept."""
    kept = "Object.keys(localStorage).sort()"
    visitor = await shop.visitor()
    page, sent = await opened(visitor, shop.url())
    await page.click("#yes")
    await shop.until_accepted("page_view", 1)
    # What is on its way at that moment may or may not be there still.
    settled = "Object.keys(localStorage).filter((key) => !key.startsWith('lynceus.queue.')).sort()"
    found = [await page.evaluate(settled)]
    await page.evaluate("lynceus.consent(false)")
    requests = len(sent)
    await page.locator("[data-lynceus-item=item-1] button").click()
    found += [await page.evaluate(kept)]
    await page.evaluate("lynceus.consent(true)")
    await shop.until_accepted("page_view", 2)
    await page.reload()
    found += [await page.evaluate(settled)]
    again = len(sent)
    await page.click("#no")
    found += [await page.evaluate(kept)]
    await page.goto("about:blank")
    await visitor.close()
    there = ["lynceus.session", "lynceus.user"]
    assert ([there, [], there, []], 0) == (found, len(sent) - again)
    assert requests < again


async def test_what_happens_offline_arrives_later_once(shop: Shop) -> None:
    """Offline, events wait in the browser, also over the end of the page; the next page delivers them, counted once."""
    visitor = await shop.visitor()
    page, _ = await opened(visitor, shop.url(decision="d-1", user="u-7"))
    await page.click("#yes")
    await shop.until_accepted("impression", 2)
    await visitor.set_offline(True)
    await page.locator("[data-lynceus-item=item-1] button").click()
    await page.locator("[data-lynceus-item=item-2] button").click()
    await page.wait_for_function("Object.keys(localStorage).some((key) => key.startsWith('lynceus.queue.'))")
    in_kafka = len(await shop.events())
    await page.close(run_before_unload=False)
    await visitor.set_offline(False)
    page, _ = await opened(visitor, shop.url(decision="d-2", user="u-7"))
    await page.click("#yes")
    await shop.until_accepted("click", 2)
    await shop.until_accepted("impression", 4)
    left = await page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('lynceus.queue.'))")
    await page.goto("about:blank")
    await visitor.close()
    raws = await shop.events()
    events = [codec.decode(raw) for raw in raws]
    account, counts = counted(raws)
    assert (3, [], {"u-7"}, 2) == (in_kafka, left, {event.user for event in events}, counts["clicks"])
    # Whose answer the closed page did not hear is sent again: the id says that it is the same.
    assert (4, 2) == (counts["impressions"], len({event.id for event in events if isinstance(event, Click)}))
    assert set(account) <= {"counted", "duplicate"}


async def test_attention_is_told_in_check_ins_and_a_wrong_clock_does_no_harm(shop: Shop) -> None:
    """In a browser whose clock is a day slow: check-ins with the next one due, a new session after a long silence."""
    visitor = await shop.visitor()
    await visitor.clock.install(time=(now_ms() - 86_400_000) / 1000)
    page, _ = await opened(visitor, shop.url())
    await page.click("#yes")
    await visitor.clock.run_for(5_500)
    await shop.until_accepted("page_view", 1)
    await visitor.clock.run_for(1_500)
    await shop.until_accepted("engagement", 1)
    await visitor.clock.fast_forward(45 * 60_000)
    await page.evaluate("lynceus.page('/other')")
    await page.evaluate("lynceus.track('search', {query_hash: 'h-1', results: 3})")
    await page.evaluate("lynceus.flush()")
    await visitor.clock.run_for(5_000)
    await shop.until_accepted("search", 1)
    await page.goto("about:blank")
    await visitor.close()
    events = [codec.decode(raw) for raw in await shop.events()]
    pages = {event.page: event.session for event in events if isinstance(event, PageView)}
    first = next(event for event in events if isinstance(event, Engagement))
    assert (["/page.html", "/other"], 2) == (list(pages), len(set(pages.values())))
    assert (5_000, 15_000, False) == (first.elapsed_ms // 100 * 100, first.next_checkin_ms, first.final)
    assert [] == [event for event in events if abs(event.ts - now_ms()) > 3_600_000]
