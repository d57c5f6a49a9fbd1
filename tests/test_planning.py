"""`lynceus plan`: what the formula says, of traffic that was told or that a running server shows."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import pytest
import redis as redis_client

from stream_app import planning
from stream_app.cli import main
from stream_app.errors import LynceusError
from stream_app.planning import Promise, minutes_of, planned, share_of
from stream_app.serving.refresher import clock_ms
from stream_app.statistics.drops import log_threshold
from stream_app.statistics.sizing import Traffic, delays, holdout_share
from tests import commands
from tests.serving.stored import HOLDOUT, HOME, Partition
from tests.serving.test_server import serving, settings_of

SHOP = Traffic(2_000_000, 0.1, 0.03)
PROMISE = Promise(1.0, 1, 0.05)
TOLD = {"impressions": 2e6, "ctr": "3%", "margin": "5%", "budget": 1.0, "series": 1, "drops": ()}


def test_a_plan_is_the_formula() -> None:
    """Of each holdout the delays of the sizing, and of each drop the least holdout that is in time."""
    plan = planned(SHOP, PROMISE, (0.2, 0.5), 60)
    threshold = log_threshold(1.0, 1)
    own = next(row for row in plan.rows if row.holdout_share == 0.1)
    assert (
        tuple(delays(SHOP, threshold, (0.2, 0.5))),
        [holdout_share(SHOP, threshold, drop, 60) for drop in (0.2, 0.5)],
    ) == (
        own.delays,
        [needed.holdout_share for needed in plan.needed],
    )


def test_what_is_left_out_is_as_usual() -> None:
    """A holdout of a tenth, a lift of a quarter, the drops of the table."""
    plan = planning.asked(None, None, TOLD)
    assert (SHOP, PROMISE, planning.DROPS, ()) == (
        plan.traffic,
        plan.promise,
        tuple(delay.drop for delay in plan.rows[0].delays),
        plan.needed,
    )


def test_the_table_says_minutes() -> None:
    """A holdout of a tenth of two million impressions sees half the clicks vanish in 22 minutes; 4 % never."""
    lines = planning.as_table(planned(SHOP, PROMISE, (0.5, 0.04), 1)).splitlines()
    own = next(line for line in lines if "<- yours" in line)
    assert ["10", "%", "6,000", "22", "min", "never", "<-", "yours"] == own.split()
    assert "least holdout to see -50% within 1 min: not even a half is enough" in lines


def test_what_is_never_seen_is_null_in_json() -> None:
    """JSON has no infinity: minutes are null where a drop lies within the margin."""
    told = json.loads(planning.as_json(planned(SHOP, PROMISE, (0.04,), None)))
    assert ([{"drop": 0.04, "holdout_clicks": None, "minutes": None}], 0.1) == (
        told["rows"][0]["delays"],
        told["traffic"]["holdout_share"],
    )


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("0.1", 0.1), (" 2.5 %", 0.025), ("-5%", -0.05), ("1", 1)])
def test_a_share_is_read(text: str, share: float) -> None:
    """A percentage or a ratio."""
    assert pytest.approx(share) == share_of(text, "--ctr")


@pytest.mark.parametrize(("text", "minutes"), [("45m", 45), ("2h", 120), ("1.5d", 2160)])
def test_a_time_is_read(text: str, minutes: float) -> None:
    """Minutes, hours or days."""
    assert minutes == minutes_of(text, "--within")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"ctr": "3"}, "--ctr '3' is no share; write 10% or 0.1"),
        ({"ctr": None}, "--impressions and --ctr say what the surface sees"),
        ({"within": "soon"}, "--within 'soon' is no time"),
        ({"within": "0m"}, "--within '0m' is no time"),
    ],
)
def test_what_is_no_number_is_named(more: dict[str, Any], words: str) -> None:
    """The option, what was given, and how it is written."""
    with pytest.raises(click.UsageError, match=words):
        planning.asked(None, None, TOLD | more)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"ctr": "0%"}, "click rate between 0 and 1"),
        ({"holdout": "100%"}, "holdout and click rate between 0 and 1"),
        ({"lift": "-100%"}, "leaves no clicks"),
        ({"drops": ("120%",)}, "a drop of 1.2 is none"),
        ({"budget": 0.0}, "budget 0.0, series 1 and panes 525600 must be above 0"),
        ({"series": 0}, "series 0"),
        ({"margin": "100%"}, "a margin of 1"),
    ],
)
def test_what_cannot_be_is_refused(more: dict[str, Any], words: str) -> None:
    """No clicks, no holdout, no drop, no budget: one line that says so."""
    with pytest.raises(LynceusError, match=words):
        planning.asked(None, None, TOLD | more)


async def test_a_running_server_tells_the_traffic(redis_url: str) -> None:
    """Impressions a day, share, click rate and lift of a surface are those of its last 24 hours."""
    at_ms = clock_ms()
    with redis_client.Redis.from_url(redis_url) as raw:
        partition = Partition(raw)
        partition.count(at_ms, HOME, 900, 90)
        partition.count(at_ms, HOLDOUT, 600, 30)
        partition.write(at_ms)
    async with serving(settings_of(redis_url)) as session:
        url = str(session._base_url)
        found = await asyncio.to_thread(planning.live, url, HOME.surface)
        with pytest.raises(LynceusError, match=r"of surface 'elsewhere'. There is home\.hero"):
            await asyncio.to_thread(planning.live, url, "elsewhere")
        async with session.get("/v1/view") as answer:
            length_ms = (await answer.json())["windows"]["24h"]["length_ms"]
    assert (pytest.approx(1500 * 86_400_000 / length_ms), 0.4, 0.05, pytest.approx(1.0)) == (
        found.impressions_a_day,
        found.holdout_share,
        found.holdout_ctr,
        found.lift,
    )


async def test_a_handful_of_clicks_is_no_plan(redis_url: str) -> None:
    """A holdout with fewer than 30 clicks is refused, with the options to tell instead."""
    at_ms = clock_ms()
    with redis_client.Redis.from_url(redis_url) as raw:
        partition = Partition(raw)
        partition.count(at_ms, HOME, 900, 90)
        partition.count(at_ms, HOLDOUT, 100, 3)
        partition.write(at_ms)
    async with serving(settings_of(redis_url)) as session:
        with pytest.raises(LynceusError, match="has 3 clicks in 24h, too few"):
            await asyncio.to_thread(planning.live, str(session._base_url), HOME.surface)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://127.0.0.1:1"])
def test_no_server_is_said(url: str) -> None:
    """What is no server's address, and where none answers, is one line with the address."""
    with pytest.raises(LynceusError, match=url):
        planning.live(url, "home")


def test_the_command_prints_it(tmp_path: Path) -> None:
    """The command's JSON is the plan; --live without --surface is refused."""
    done = commands.run(["plan", "--impressions", "2000000", "--ctr", "3%", "--series", "1", "--json"], {}, tmp_path)
    half = commands.run(["plan", "--live", "http://127.0.0.1:1"], {}, tmp_path)
    assert (planning.as_json(planning.asked(None, None, TOLD)) + "\n", 2, "plan") == (
        done.stdout,
        half.status,
        main.commands["plan"].name,
    )
