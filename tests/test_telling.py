"""What people tell on the command line: from the words to the input, and back to a line."""

import asyncio
import json
import os

import pytest
import redis as redis_client
from click.testing import CliRunner

from stream_app.cli import main
from stream_app.core import codec
from stream_app.core.cells import inputs_key
from stream_app.core.events import BusinessInput
from stream_app.errors import LynceusError
from stream_app.settings import RedisSettings, Settings
from stream_app.telling import Said, input_of, known, moment_ms, shown

JANUARY, FEBRUARY, NOW = 1_767_225_600_000, 1_769_904_000_000, 1_770_000_000_000
COST = Said("cost", 600.0, "2026-01-01", "2026-02-01", "acquisition", author="finance", source="ledger 4711")


def test_a_cost_is_what_was_typed() -> None:
    """Dates are midnight UTC, the currency is the reporting one, and what was told again has the same id."""
    told = input_of(COST, "EUR", NOW)
    again = input_of(COST._replace(value=700.0, starts=str(JANUARY), ends="2026-02-01T01:00:00+01:00"), "EUR", NOW + 1)
    assert (told.key, told.value, told.from_ts, told.to_ts) == ("cost", 600.0, JANUARY, FEBRUARY)
    assert (told.ts, told.currency, told.scope, told.author) == (NOW, "EUR", "acquisition", "finance")
    assert (told.id, 700.0) == (again.id, again.value)


def test_what_is_about_something_else_has_another_id() -> None:
    """Another key, scope, currency or time is another input; a name of its own is kept."""
    changes = ({"scope": "other"}, {"currency": "USD"}, {"ends": "2026-03-01"}, {"key": "benchmark"})
    said = [COST, *(COST._replace(**change) for change in changes)]
    ids = [input_of(each, "EUR", NOW).id for each in said]
    assert (len(said), "mine") == (len(set(ids)), input_of(COST._replace(id="mine"), "EUR", NOW).id)


def test_a_margin_has_no_currency() -> None:
    """Only amounts of money are in one."""
    assert input_of(Said("margin_rate", 0.3, "2026-01-01", "2026-02-01", author="a"), "EUR", NOW).currency is None


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (COST._replace(author=None), "author"),
        (COST._replace(key="costs"), "costs"),
        (COST._replace(value=-1.0), "negative"),
        (COST._replace(value=float("nan")), "cannot be told"),
        (COST._replace(value=1e16), "cannot be told"),
        (COST._replace(currency="Euro"), "currency"),
        (COST._replace(starts="2026-02-01"), "not after"),
        (COST._replace(ends="next week"), "next week"),
        (COST._replace(ends="2026-02-01T08:00:00"), "no time"),
        (COST._replace(id="@change"), "begins with @"),
        (COST._replace(key="margin_rate", value=35.0), "between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_told_at_once(said: Said, word: str) -> None:
    """Each fault is one line that names what is wrong, before anything is sent."""
    with pytest.raises(LynceusError) as caught:
        input_of(said, "EUR", NOW)
    assert word in str(caught.value)


def test_milliseconds_are_not_dates() -> None:
    """Eight digits are a date, more are milliseconds."""
    assert [JANUARY, JANUARY] == [moment_ms("20260101"), moment_ms(str(JANUARY))]


def test_what_is_known_is_listed(redis_url: str) -> None:
    """`lynceus inputs` has a line for each, in order, with author and date; as JSON, the inputs themselves."""
    told = [input_of(COST, "EUR", NOW), input_of(COST._replace(key="benchmark", currency=None), "EUR", NOW)]
    settings = Settings(redis=RedisSettings(url=redis_url))
    env = {name: None for name in os.environ if name.startswith("LYNCEUS_")} | {"LYNCEUS_REDIS__URL": redis_url}
    nothing = CliRunner().invoke(main, ["inputs"], env=env)
    with redis_client.Redis.from_url(redis_url) as client:
        stored = {each.id: codec.encode(each) for each in told} | {"@change": b"1", "odd": b"{"}
        client.hset(inputs_key(settings.app), mapping=stored)
    lines = CliRunner().invoke(main, ["inputs"], env=env).stdout.splitlines()
    listed = json.loads(CliRunner().invoke(main, ["inputs", "--json"], env=env).stdout)
    assert ("nothing is told\n", 2, [told[1].id, told[0].id]) == (nothing.stdout, len(lines), [i["id"] for i in listed])
    assert (
        "cost acquisition  600 EUR  2026-01-01 to 2026-02-01  told 2026-02-02 02:40:00Z by finance, from ledger 4711  "
        f"[{told[0].id}]"
    ) == lines[1]
    inputs: list[BusinessInput] = asyncio.run(known(settings))
    assert "\n".join(lines) == shown(inputs, as_json=False)
