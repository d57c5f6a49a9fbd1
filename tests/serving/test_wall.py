"""The wall in a real Chromium, against a server under the test's control that speaks the wall's contract."""

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.serving.wall_stand_in import COUNTS, LESS, SAME, STATES, TROUBLE, StandIn, now_ms, snapshot

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

SIZES = [(1280, 720), (1920, 1080), (3840, 2160)]
Open = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[StandIn]:
    """Yield a server: the one place that knows that the server is a stand-in."""
    stand_in = StandIn()
    await stand_in.start()
    yield stand_in
    await stand_in.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def open_wall(chromium: Browser, server: StandIn) -> AsyncIterator[Open]:
    """Open the wall. Whatever a test does there: no fault in the page, no request to another host."""
    faults: list[str] = []
    contexts = []

    async def open_(query: str = "", size: tuple[int, int] = (1920, 1080), **context: Any) -> Page:
        width, height = size
        opened = await chromium.new_context(viewport={"width": width, "height": height}, **context)
        contexts.append(opened)
        page = await opened.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        await page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.blockedURI))"
        )
        origin = server.url.removesuffix("/wall")
        page.on("request", lambda sent: None if sent.url.startswith(origin) else faults.append(sent.url))
        await page.goto(server.url + query)
        if server.first is not None:
            await page.wait_for_selector("html[data-ready='1']")
        return page

    yield open_
    for context in contexts:
        await context.close()
    assert faults == []


MEASURES = (Path(__file__).parent / "wall_measures.js").read_text()
NEXT_FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


async def measure(page: Page, name: str) -> Any:
    """Return what one of the functions of wall_measures.js finds in the page."""
    return await page.evaluate(f"({MEASURES}).{name}()")


@pytest.mark.parametrize("state", STATES)
async def test_everything_fits(state: str, server: StandIn, open_wall: Open) -> None:
    """On every screen, in every state: no scrolling, nothing cut off, text >= 2.6 vh, figures >= 9 vh."""
    server.first = STATES[state]()
    page = await open_wall(size=SIZES[-1])
    found = {}
    for width, height in SIZES:
        await page.set_viewport_size({"width": width, "height": height})
        await page.evaluate(NEXT_FRAME)
        found[width] = await measure(page, "fit")
    wrong = {f"{width}: {kind}": what for width, kinds in found.items() for kind, what in kinds.items() if any(what)}
    assert wrong == {}


async def test_a_phone_scrolls_down_but_never_sideways(server: StandIn, open_wall: Open) -> None:
    """On a phone the wall is one column."""
    server.first = STATES["trouble"]()
    page = await open_wall(size=(390, 844))
    assert (await measure(page, "fit"))["scrolls"] == [False, True]


async def test_figures_are_those_of_the_snapshot(server: StandIn, open_wall: Open) -> None:
    """Tiles and table show the counted numbers: value, interval, impressions and clicks."""
    server.first = STATES["full"]()
    page = await open_wall()
    tile = page.locator("[data-tile='ctr'] .value")
    cell = page.locator("td", has=page.locator("[data-surface='home.hero'][data-arm='holdout'][data-metric='ctr']"))
    shown = {
        "n": await tile.get_attribute("data-n"),
        "value": float(await tile.get_attribute("data-value") or "nan"),
        "text": await tile.inner_text(),
        "interval": await page.inner_text("[data-tile='ctr'] .bounds"),
        "words": await page.inner_text("[data-tile='ctr'] .words"),
        "impressions": await cell.get_attribute("data-impressions"),
        "clicks": await cell.get_attribute("data-clicks"),
        "cell": await cell.inner_text(),
    }
    expected = {
        "n": "20600",
        "value": 767 / 20600,
        "text": "3.72\u202f%",
        "interval": "3.47\u20133.99\u202f%",
        "words": "◆ holdout 3.19\u202f%",
        "impressions": "3100",
        "clicks": "107",
        "cell": "3.452.86\u20134.15",
    }
    assert expected == shown


async def test_too_little_is_said_not_shown_as_zero(server: StandIn, open_wall: Open) -> None:
    """A metric without an estimate reads "not enough data", in the tile and in the table."""
    server.first = STATES["first minute"]()
    page = await open_wall()
    cell = page.locator("[data-surface='home.hero'][data-arm='holdout'][data-metric='relevance']")
    shown = [await page.inner_text("[data-tile='lift'] .value"), await cell.inner_text()]
    assert shown == ["not enough\ndata", "not enough data"]


@pytest.mark.parametrize(
    ("counts", "changes", "words", "frame"),
    [
        (COUNTS, {}, "▲ personalization helps", "good"),
        (LESS, {}, "▼ personalization hurts", "bad"),
        (SAME, {}, "● no change", ""),
        ({"home.hero": {"personalized": (100, 3)}}, {}, "no holdout in this window", ""),
        (
            LESS,
            {"complete": False, "incomplete_because": ["partition 2 has no owner"]},
            "no verdict: incomplete",
            "",
        ),
    ],
)
async def test_the_verdict(
    counts: Any, changes: dict[str, Any], words: str, frame: str, server: StandIn, open_wall: Open
) -> None:
    """The lift says helps or hurts only when its interval leaves zero out and the figures can be trusted."""
    server.first = snapshot(now_ms(), counts, minutes=10, **changes)
    page = await open_wall()
    classes = (await page.get_attribute("[data-tile='lift']", "class") or "").split()
    shown = await page.inner_text("[data-tile='lift'] .words")
    assert (words, frame) == (shown, " ".join(name for name in classes if name in ("good", "bad")))


async def test_immature_figures_say_so(server: StandIn, open_wall: Open) -> None:
    """A window whose clicks are still coming in is marked on the status line and on every tile."""
    server.first = STATES["full"]()
    page = await open_wall()
    marks = await page.locator(".tile .mark").all_inner_texts()
    assert [await page.inner_text("#trust"), *marks] == ["◐ 41 % settled"] * 5


async def test_what_is_wrong_is_said_once(server: StandIn, open_wall: Open) -> None:
    """The alert row names the reasons of the view, and of the partitions only what they leave unsaid."""
    server.first = snapshot(now_ms(), COUNTS, minutes=5, **TROUBLE | {"states": "llxb"})
    page = await open_wall()
    alert = page.get_by_role("alert")
    assert await alert.locator("span").all_inner_texts() == [
        "partition 3 is 12,000 records behind",
        "partition 2 is lost: its worker is silent",
    ]


async def test_no_alert_row_when_all_is_well(server: StandIn, open_wall: Open) -> None:
    """The row takes no room until it has something to say, and leaves when that is over."""
    server.first = STATES["full"]()
    page = await open_wall()
    before = await page.is_visible("#alert")
    redis = {"up": False, "ms": None, "used_memory_bytes": None, "max_memory_bytes": None}
    pipeline = server.first["pipeline"] | {"redis": redis}
    server.push("update", server.first | {"pipeline": pipeline})
    await page.wait_for_selector("#alert:visible")
    during = await page.inner_text("#alert")
    server.push("update", STATES["full"]())
    await page.wait_for_selector("#alert", state="hidden")
    assert (before, during) == (False, "Redis is down: figures stand still")


async def test_silence_is_stale_and_a_heartbeat_is_not(server: StandIn, open_wall: Open) -> None:
    """Without a heartbeat the wall goes stale and grey, until the server speaks again."""
    server.first = STATES["full"]()
    page = await open_wall("?stale=1")
    await page.wait_for_selector("body.stale.silent")
    stale = [await page.inner_text("#state"), await page.inner_text("[data-tile='ctr'] .mark")]
    grey = await page.evaluate("getComputedStyle(document.querySelector('main')).filter")
    server.push("heartbeat", {"at_ms": now_ms()})
    await page.wait_for_selector("body:not(.stale)")
    recovered = [await page.inner_text("#state"), await page.inner_text("[data-tile='ctr'] .mark")]
    assert (stale, grey, recovered) == (["✕ STALE", "✕ old"], "grayscale(1)", ["● LIVE", "◐ 41 % settled"])


async def test_old_figures_are_stale_although_the_server_speaks(server: StandIn, open_wall: Open) -> None:
    """A window that ended more than three of its lengths ago is shown as old, with when it ended."""
    server.first = snapshot(now_ms() - 16 * 60_000, COUNTS, minutes=60)
    page = await open_wall()
    end = await page.inner_text("#end")
    classes = await page.evaluate("[...document.body.classList]")
    expected = ("data ends", "16\u202fmin ago", ["stale"])
    assert expected == (end[:9], end.rsplit(", ", 1)[1], classes)


async def test_a_late_end_is_said_before_it_is_stale(server: StandIn, open_wall: Open) -> None:
    """From a minute on the status line says how long ago the figures end."""
    server.first = snapshot(now_ms() - 3 * 60_000, COUNTS, minutes=60)
    page = await open_wall()
    end = await page.inner_text("#end")
    assert (
        end.rsplit(", ", 1)[1],
        "stale" in (await page.get_attribute("body", "class") or ""),
    ) == ("3\u202fmin ago", False)


async def test_age_is_told_by_the_servers_clock(server: StandIn, open_wall: Open) -> None:
    """A wall whose own clock is wrong corrects it by the heartbeat."""
    ahead = now_ms() + 5 * 3_600_000
    server.first = snapshot(ahead, COUNTS, minutes=60)
    page = await open_wall()
    server.push("heartbeat", {"at_ms": ahead + 2 * 60_000})
    await page.wait_for_selector("#end.old")
    end = await page.inner_text("#end")
    assert end.rsplit(", ", 1)[1] == "2\u202fmin ago"


async def test_an_empty_window_gives_way_to_the_shortest_that_has_something(server: StandIn, open_wall: Open) -> None:
    """After a replay of last week the wall shows seven days, and says that it was asked for five minutes."""
    server.first = snapshot(now_ms(), COUNTS, minutes=0, lengths={"7d", "28d", "all"})
    page = await open_wall()
    shown = (await page.get_attribute("html", "data-window"), await page.inner_text("#alert"))
    assert shown == ("7d", "no events in the last 5 min: showing 7 days")


async def test_window_and_surface_by_address_and_by_key(server: StandIn, open_wall: Open) -> None:
    """The address chooses, keys change, the address follows; figures and table are those of the surface."""
    server.first = STATES["full"]()
    page = await open_wall("?window=1h&surface=search.results")
    read = "({ window: document.documentElement.dataset.window, address: location.search })"
    impressions = page.locator("[data-tile='ctr'] .value")
    first = [*(await page.evaluate(read)).values(), await impressions.get_attribute("data-n")]
    groups = await page.locator("tbody .group th").all_inner_texts()
    await page.keyboard.press("1")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowDown")
    second = [*(await page.evaluate(read)).values(), await impressions.get_attribute("data-n")]
    expected = (
        ["1h", "?window=1h&surface=search.results", "7200"],
        ["search.results"],
        ["5m", "?window=5m&surface=product.similar.items", "3200"],
    )
    assert expected == (first, groups, second)


async def test_a_surface_nobody_has_seen(server: StandIn, open_wall: Open) -> None:
    """A mistyped surface is named as such; the figures of another are not shown in its place."""
    server.first = STATES["full"]()
    page = await open_wall("?surface=hoem")
    shown = [
        await page.inner_text("#alert"),
        await page.is_visible("#tiles"),
        await page.inner_text("#waiting-words"),
    ]
    assert shown == ["no surface “hoem” has been seen", False, "nothing from surface “hoem” yet"]


async def test_the_first_paint_waits_in_words(server: StandIn, open_wall: Open) -> None:
    """Without events the wall says what it is waiting for; the first figures replace that."""
    server.first = STATES["empty"]()
    page = await open_wall()
    waiting = [
        await page.inner_text("#waiting .headline"),
        await page.is_visible("#tiles"),
        await page.get_attribute("html", "data-end-ms"),
    ]
    server.push("update", STATES["full"]())
    await page.wait_for_selector("#tiles:visible")
    assert (
        waiting,
        await page.is_visible("#waiting"),
    ) == (["waiting for the first events", False, ""], False)


async def test_before_the_first_snapshot(server: StandIn, open_wall: Open) -> None:
    """A page that has heard nothing yet claims neither figures nor a live connection."""
    page = await open_wall()
    shown = [
        await page.inner_text("#state"),
        await page.is_visible("#tiles"),
        await page.get_attribute("html", "data-ready"),
    ]
    assert shown == ["○ CONNECTING", False, None]


async def test_an_update_moves_figures_and_pictures(server: StandIn, open_wall: Open) -> None:
    """What the server pushes is what the wall draws: numbers, sparklines and the chart."""
    server.first = snapshot(now_ms(), COUNTS, minutes=10)
    page = await open_wall()
    picture = "[...document.querySelectorAll('canvas')].map((canvas) => canvas.toDataURL())"
    before = await page.evaluate(picture)
    after = snapshot(now_ms() + 10_000, LESS, minutes=30)
    server.push("update", after)
    await page.wait_for_selector(f"html[data-end-ms='{after['end_ms']}']")
    await page.evaluate(NEXT_FRAME)
    now = await page.evaluate(picture)
    moved = [one != other for one, other in zip(before, now, strict=True)]
    assert (moved, await page.inner_text("[data-tile='ctr'] .value")) == ([True] * 4, "3.25\u202f%")


async def test_the_first_minutes_fill_the_chart(server: StandIn, open_wall: Open) -> None:
    """While the hour is young the chart shows a shorter span, and says which."""
    server.first = snapshot(now_ms(), COUNTS, minutes=4)
    page = await open_wall()
    assert await page.inner_text("#trend-words") == "CTR over 5 min, last 5 min"


async def test_events_without_an_arm_are_shown_as_such(server: StandIn, open_wall: Open) -> None:
    """Where no event names an arm the tiles show what there is, and claim no lift."""
    server.first = snapshot(now_ms(), {"home.hero": {"none": (1000, 40)}}, minutes=0)
    page = await open_wall()
    shown = [await page.inner_text(f"[data-tile='{tile}']") for tile in ("ctr", "lift")]
    expected = [["CTR", "○ no arm", "4.00\u202f%"], ["no holdout in this window"]]
    assert [[line for line in lines if line in text] for lines, text in zip(expected, shown, strict=True)] == expected


async def test_lines_are_named_where_they_end(server: StandIn, open_wall: Open) -> None:
    """Each line of the chart carries glyph and word, and no two names overlap."""
    server.first = STATES["full"]()
    page = await open_wall()
    labels = page.locator(".line-label")
    await labels.nth(2).wait_for()
    boxes = sorted([await labels.nth(index).bounding_box() for index in range(3)], key=lambda box: box["y"])  # type: ignore[index, arg-type, return-value]
    gaps = [later["y"] >= former["y"] + former["height"] - 1 for former, later in pairwise(boxes)]  # type: ignore[index]
    names = {"● personalized", "◆ holdout", "■ context-blind"}
    assert (names, [True, True]) == (set(await labels.all_inner_texts()), gaps)


async def test_another_build_reloads_the_page(server: StandIn, open_wall: Open) -> None:
    """A page reconnects by itself, and loads anew only when the server that answers is of another build."""
    server.first = STATES["full"]()
    page = await open_wall()
    await page.evaluate("document.documentElement.dataset.page = 'first'")
    server.drop()
    server.first |= {"title": "another server"}
    await page.wait_for_selector("#title:text-is('another server')")
    same = await page.get_attribute("html", "data-page")
    server.build = "0.2.0"
    server.drop()
    await page.wait_for_selector("html[data-ready='1']:not([data-page])")
    assert (same, await page.get_attribute("html", "data-page")) == ("first", None)


async def test_nothing_moves_for_those_who_asked_for_rest(server: StandIn, open_wall: Open) -> None:
    """With prefers-reduced-motion nothing is animated, not even the stale pill that otherwise breathes."""
    server.first = STATES["old"]()
    running = []
    for preference in ("no-preference", "reduce"):
        page = await open_wall(reduced_motion=preference)
        await page.wait_for_selector("body.stale")
        running.append(await page.evaluate("document.getAnimations().length"))
    assert running == [1, 0]


@pytest.mark.parametrize("state", STATES)
async def test_contrast(state: str, server: StandIn, open_wall: Open) -> None:
    """All text stands out by at least 7:1 from what is behind it (WCAG 2.2, 1.4.6)."""
    server.first = STATES[state]()
    page = await open_wall()
    assert await measure(page, "poorContrast") == []


async def test_colour_says_nothing_alone(server: StandIn, open_wall: Open, tmp_path: Path) -> None:
    """Without colour the wall still tells arms, verdict and partitions apart, by glyph and word."""
    server.first = snapshot(now_ms(), COUNTS, minutes=60, states="libxa")
    page = await open_wall()
    session = await page.context.new_cdp_session(page)
    pictures = []
    for deficiency in ("none", "protanopia", "deuteranopia", "tritanopia", "achromatopsia"):
        await session.send("Emulation.setEmulatedVisionDeficiency", {"type": deficiency})
        pictures.append(await page.screenshot(path=tmp_path / f"wall-{deficiency}.png"))
    cells = [(await cell.inner_text()).strip()[0] for cell in await page.locator("#partitions li").all()]
    words = [await page.inner_text(f"[data-tile='lift'] {part}") for part in (".words", ".zero-word")]
    expected = (5, 5, ["▲ personalization helps", "◆ holdout"])
    assert expected == (len(set(pictures)), len(set(cells)), words)


async def test_what_a_screen_reader_finds(server: StandIn, open_wall: Open) -> None:
    """Regions, status, table headers and partitions have roles and names."""
    server.first = snapshot(now_ms(), COUNTS, minutes=60, states="lb", maturity=0.41)
    page = await open_wall()
    found = {
        "heading": await page.get_by_role("heading", level=1).inner_text(),
        "status": await page.get_by_role("status").all_inner_texts(),
        "live": [await one.get_attribute("aria-live") for one in await page.get_by_role("status").all()],
        "tile": await page.get_by_role("article", name="CTR, personalized", exact=True).count(),
        "chart": (await page.get_by_role("img", name="CTR of each arm").get_attribute("aria-label") or "")[-20:],
        "columns": await page.get_by_role("columnheader").all_inner_texts(),
        "row": await page.get_by_role("rowheader", name="holdout").first.inner_text(),
        "partition": await page.locator("#partitions li .unseen").nth(1).text_content(),
        "choices": await page.get_by_role("combobox").count(),
    }
    chart = found.pop("chart")
    expected = {
        "heading": "Lynceus",
        "status": ["◐ 41 % settled", "● LIVE"],
        "live": ["polite", "polite"],
        "tile": 1,
        "columns": ["2 of 4 surfaces", "CTR %", "Conversion %", "Relevance"],
        "row": "◆ holdout",
        "partition": "partition 1: behind, 12\u202f000 records behind, worker host-1",
        "choices": 2,
    }
    assert (expected, True) == (found, chart.endswith("%"))


async def test_text_is_never_markup(server: StandIn, open_wall: Open) -> None:
    """A surface, a title or a reason that looks like markup is shown as the text that it is."""
    nasty = "<img src=x onerror=alert(1)>"
    server.first = snapshot(
        now_ms(),
        {nasty: COUNTS["home.hero"]},
        minutes=3,
        title=nasty,
        complete=False,
        incomplete_because=[nasty],
    )
    page = await open_wall()
    texts = [
        await page.inner_text("#title"),
        await page.inner_text("#alert"),
        await page.locator("tbody .group th").last.inner_text(),
    ]
    assert ([nasty] * 3, 1) == (texts, await page.locator("img").count())


async def test_numbers_as_people_read_them(server: StandIn, open_wall: Open) -> None:
    """Three significant digits, thin spaces, a true minus, never minus zero, nothing rounded away."""
    server.first = STATES["full"]()
    page = await open_wall()
    shown = await page.evaluate("""async () => {
      const f = await import('/static/format.js');
      const ctr = (value, low, high) => Object.values(f.figures('percent', { value, low, high }));
      return [f.count(1234567.4), f.fixed(-0.04, 1), f.fixed(-8.14, 1), f.signed(0.01, 1), f.signed(12.34, 1),
        ctr(0.00046, 0.00041, 0.00052), ctr(0.0412, 0.0398, 0.0427), ctr(0, 0, 0.228), ctr(1, 0.99, 1),
        Object.values(f.change({ value: 0.919, low: 0.896, high: 0.944 })),
        f.share(3, 1204115), f.share(0, 10), f.share(1, 0), f.duration(725000),
        f.windowName('5m'), f.windowName('all')];
    }""")
    expected = [
        "1\u202f234\u202f567",
        "0.0",
        "\u22128.1",
        "0.0",
        "+12.3",
        ["0.046", "0.041", "0.052", "%"],
        ["4.12", "3.98", "4.27", "%"],
        ["0.0", "0.0", "22.8", "%"],
        ["100", "99", "100", "%"],
        ["\u22128.1", "\u221210.4", "\u22125.6", "%"],
        "<\u202f0.01\u202f%",
        "0\u202f%",
        "0\u202f%",
        "12\u202fmin",
        "5 min",
        "everything",
    ]
    assert expected == shown
