"""One question to what Redis holds, as `lynceus query` asks it: the answers of a server that need not run."""

import json
import os
from collections.abc import Iterator

import click
import pytest
import redis as redis_client
from click.testing import CliRunner

from stream_app.answers import answered
from stream_app.cli import main
from stream_app.core.cells import partition_key
from stream_app.core.lists import NO_IMPRESSION
from stream_app.core.records import Exposure
from stream_app.core.tally import Occasion
from stream_app.errors import LynceusError
from stream_app.serving.asking import view_now
from stream_app.serving.snapshot import encode
from stream_app.settings import KafkaSettings, RedisSettings, Settings
from stream_app.statistics.proportions import wilson
from stream_app.statistics.waterfall import Share, waterfall
from tests.serving.stored import APP, HOLDOUT, HOME, NOW_MS, TOPIC, Partition


@pytest.fixture
def client(redis_url: str) -> Iterator["redis_client.Redis"]:
    with redis_client.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings(redis=RedisSettings(url=redis_url), kafka=KafkaSettings(partitions=2))


async def asked(settings: Settings, metric: str = "ctr", **more: str) -> dict[str, object]:
    """Return the answer, as JSON has it."""
    return json.loads(await answered(settings, {"metric": metric, **more}, as_json=True))


async def test_an_answer_is_that_of_what_is_stored(client: "redis_client.Redis", settings: Settings) -> None:
    """Partitions are added, and slices that have not the values asked for are left out."""
    for number, (shown, clicked) in enumerate(((100, 7), (50, 3))):
        partition = Partition(client, number)
        partition.count(NOW_MS, HOME, shown, clicked)
        partition.count(NOW_MS, HOLDOUT, 20, 1)
        partition.write()
    estimate = wilson(10, 150)
    found = await asked(settings, arm="personalized", window="1h")
    assert {"value": estimate.value, "n": 150, "low": estimate.low, "high": estimate.high} == found["estimate"]
    assert ("1h", {"arm": "personalized"}, []) == (found["window"], found["where"], found["unseen"])


async def test_partitions_beyond_the_configured_ones_are_found(
    client: "redis_client.Redis", settings: Settings
) -> None:
    """Among a thousand strange keys, a partition that was added to the topic is part of the answer."""
    client.mset({f"strange:{number}": "1" for number in range(1_000)})
    partition = Partition(client, 7)
    partition.count(NOW_MS, HOME, 10, 1)
    partition.write()
    found = await asked(settings, window="all")
    assert 10 == found["measures"]["impressions"]


async def test_words_say_how_far_to_trust_it(client: "redis_client.Redis", settings: Settings) -> None:
    """The value in per cent with its interval, the span, what has settled, and each reservation in a line."""
    partition = Partition(client, 0)
    partition.count(NOW_MS, HOME, 10_000, 69)
    partition.write()
    text = await answered(settings, {"metric": "ctr", "window": "5m", "segment": "gold"}, as_json=False)
    whole = await answered(settings, {"metric": "ctr", "window": "5m"}, as_json=False)
    assert [
        "Click-through rate (ctr), window 5m, segment gold",
        "  not enough data",
        "  2025-11-22 00:01:50 to 2025-11-22 00:06:50 UTC, 0% settled, incomplete",
    ] == text.splitlines()[:3]
    assert "  never counted: segment gold" == text.splitlines()[-1]
    assert "  0.69 %   95 % interval 0.5456 % to 0.8722 %   n 10,000" == whole.splitlines()[1]


async def test_arms_are_held_against_each_other_in_words(client: "redis_client.Redis", settings: Settings) -> None:
    """The other arm's estimate, the difference in points, the ratio, and what intervals are good for."""
    partition = Partition(client, 0)
    partition.count(NOW_MS, HOME, 10_000, 69)
    partition.count(NOW_MS, HOLDOUT, 10_000, 46)
    partition.write()
    text = await answered(settings, {"metric": "ctr", "window": "5m", "against": "holdout"}, as_json=False)
    assert [
        "Click-through rate (ctr), window 5m, arm personalized",
        "  0.69 %   95 % interval 0.5456 % to 0.8722 %   n 10,000",
        "  against holdout: 0.46 %   95 % interval 0.3451 % to 0.613 %   n 10,000",
        "  difference: 0.23 points   95 % interval 0.01965 points to 0.4455 points   n 20,000",
        "  ratio: 1.5   95 % interval 1.034 to 2.176",
        "  intervals are for one look at a time chosen beforehand, not for watching",
    ] == text.splitlines()[:6]


async def test_money_is_shown_in_its_currency(client: "redis_client.Redis", settings: Settings) -> None:
    """Two sessions, of which one left 10.00, earned 5.00 on average; of two little is known: it may be up to 68.53."""
    partition = Partition(client, 0)
    partition.count(NOW_MS, HOME, 2)
    for earned in (0, 1_000):
        partition.cells.add(NOW_MS, 0, Occasion.SESSION, NO_IMPRESSION)
        before, after = Exposure(NOW_MS, 0), Exposure(NOW_MS, 0, revenue_minor=earned)
        partition.cells.grow(NOW_MS, 0, partition.cells.grown_on(Occasion.EXPOSURE), before, after)
    partition.write()
    text = await answered(settings, {"metric": "revenue_per_session"}, as_json=False)
    assert "  5.00 EUR   95 % interval 0.00 EUR to 68.53 EUR   n 2" == text.splitlines()[1]


def test_the_command_says_what_context_is_good_for(client: "redis_client.Redis", redis_url: str) -> None:
    """`lynceus context` prints the table, or what /v1/context answers; for a wrong window it exits with 2."""
    clicks_of = {HOME: 160, HOME._replace(arm="context_blind"): 130, HOLDOUT: 100}
    partition = Partition(client, 0, [*clicks_of])
    for slice_, clicks in clicks_of.items():
        partition.count(NOW_MS, slice_, 1_000, clicks)
    partition.write()
    env = {name: None for name in os.environ if name.startswith("LYNCEUS_")} | {"LYNCEUS_REDIS__URL": redis_url}
    ran = [
        CliRunner().invoke(main, ["context", *more], env=env)
        for more in ((), ("--json", "--surface", HOME.surface), ("--window", "24hours"))
    ]
    expected = waterfall(Share(160, 1_000), Share(130, 1_000), Share(100, 1_000))
    step = "    total            personalized over holdout        x 1.6     95 % interval 1.266 to 2.022   n 2,000"
    assert ([0, 0, 2], True) == ([each.exit_code for each in ran], step in ran[0].stdout.splitlines())
    assert json.loads(encode(expected)) == json.loads(ran[1].stdout)["waterfalls"]["ctr"]
    assert "unknown window '24hours'; there is 24h" in ran[2].stderr


def test_the_command_asks_the_redis_of_the_settings(client: "redis_client.Redis", redis_url: str) -> None:
    """`lynceus query` prints the answer and leaves with 0, also when there is not enough data."""
    partition = Partition(client, 0)
    partition.count(NOW_MS, HOME, 10, 1)
    partition.write()
    env = {name: None for name in os.environ if name.startswith("LYNCEUS_")} | {"LYNCEUS_REDIS__URL": redis_url}
    ran = [
        CliRunner().invoke(main, ["query", "ctr", "--surface", surface, "--arm", "personalized", "--json"], env=env)
        for surface in ("home.hero", "nowhere")
    ]
    answers = [json.loads(each.stdout) for each in ran]
    assert ([0, 0], [10, 0]) == (
        [each.exit_code for each in ran],
        [answer["measures"]["impressions"] for answer in answers],
    )
    assert (0.1, None) == (answers[0]["estimate"]["value"], answers[1]["estimate"])


async def test_a_view_of_nothing_is_a_view(client: "redis_client.Redis", settings: Settings) -> None:
    """An empty Redis answers: nothing was counted, and that is not complete."""
    assert not client.exists(partition_key(APP, TOPIC, 0))
    view = await view_now(settings)
    assert (None, False) == (view.snapshot.end_ms, view.snapshot.complete)


@pytest.mark.parametrize(
    ("message", "given"),
    [
        ("unknown metric 'crt'; there is ctr", {"metric": "crt"}),
        ("unknown window '5min'; there is 5m", {"metric": "ctr", "window": "5min"}),
    ],
)
async def test_what_does_not_exist_is_refused_with_its_neighbours(settings: Settings, message: str, given) -> None:
    """A name that does not exist is an error of usage, and the nearest names are told."""
    with pytest.raises(click.UsageError) as caught:
        await answered(settings, given, as_json=False)
    assert message == caught.value.message[: len(message)]


async def test_a_redis_that_does_not_answer_is_said_to_be_missing() -> None:
    """Nobody listens there: one line, with what to do."""
    settings = Settings(redis=RedisSettings(url="redis://127.0.0.1:1/0"))
    with pytest.raises(LynceusError, match="cannot be reached"):
        await view_now(settings)
