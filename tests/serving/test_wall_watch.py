"""What the watch says on the wall, in a real Chromium: alert row and evidence meters."""

from datetime import datetime

import pytest

from tests.serving.test_wall import Open, open_wall, server
from tests.serving.wall_stand_in import COUNTS, STATES, StandIn, now_ms, snapshot, surface_watch, watch

__all__ = ["open_wall", "server"]  # fixtures
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]


async def test_a_drop_is_an_alert(server: StandIn, open_wall: Open) -> None:
    """What the watch says is on the alert row with surface, size, time and where; what it only learns is not."""
    server.first = STATES["drop"]()
    since = datetime.fromtimestamp(server.first["watch"]["surfaces"][0]["open"][0]["since_ms"] / 1000)  # noqa: DTZ006  # as the page: in the viewer's zone
    page = await open_wall()
    said = await page.get_by_role("alert").locator("span").all_inner_texts()
    dropped = "home.hero: personalization dropped (CTR by 40\u202f%)"
    assert [f"{dropped} since {since:%H:%M}, mostly device=phone"] == said


async def test_each_surface_has_a_meter(server: StandIn, open_wall: Open) -> None:
    """How close the evidence is to an alarm, the most urgent first, with a glyph and a word for every state."""
    server.first = STATES["drop"]()
    page = await open_wall()
    rows = page.locator("#watch li")
    shown = [
        (await row.get_attribute("data-surface"), await row.locator(".state").inner_text()) for row in await rows.all()
    ]
    widths = [await row.locator("[role=meter]").get_attribute("aria-valuenow") for row in await rows.all()]
    assert [
        ("home.hero", "✕ drop"),
        ("search.results", "▲ rising 64\u202f%"),
        ("product.similar.items", "\u2013 paused"),
        ("email.weekly", "○ learning"),
    ] == shown
    assert (["100", "65", "4", "2"], "Watch against drops: 1 of 5 surfaces calm, 1 not shown") == (
        widths,
        await page.inner_text("#watch h2"),
    )


async def test_what_hinders_the_watch_is_said(server: StandIn, open_wall: Open) -> None:
    """That verdicts wait for Kafka, and that the watch stands still for a reason that nothing else tells."""
    why = "partition 0 may have records that wait"
    hindered = watch(surface_watch("home.hero"), held_because=why, waiting=3, is_publishing=False)
    server.first = snapshot(now_ms(), COUNTS, minutes=5, watch=hindered)
    page = await open_wall()
    assert [f"the watch stands still: {why}", "3 verdicts wait for Kafka"] == (
        await page.get_by_role("alert").locator("span").all_inner_texts()
    )
