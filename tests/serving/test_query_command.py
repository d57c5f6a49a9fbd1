"""`lynceus query` as a person runs it, over a store that a simulated world was counted into.

What is expected is added up cell by cell from the processor's own state, as for `/v1/query` of every metric.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from stream_app.cli import main
from stream_app.core.processor import Partition
from stream_app.metrics.catalogue import METRICS
from stream_app.statistics.estimates import Estimate
from tests.serving.conftest import RedisProcess
from tests.serving.test_every_query import Where, expected, stored_world

METRIC = {metric.name: metric for metric in METRICS}
HOME, PERSONALIZED = {"surface": "home.hero"}, {"arm": "personalized"}
ANSWERED: dict[str, tuple[str, Where]] = {
    "ctr --window 1h": ("ctr", {}),
    "ctr --window 1h --surface home.hero --arm holdout": ("ctr", HOME | {"arm": "holdout"}),
    "relevance --window 24h --surface home.hero --device mobile": ("relevance", HOME | {"device": "mobile"}),
    "relevance --window 28d --against holdout": ("relevance", PERSONALIZED),
    "ctr --window 28d --surface home.hero --against context_blind": ("ctr", HOME | PERSONALIZED),
    "dwell_median --window 28d": ("dwell_median", {}),
    "cpa --window 28d": ("cpa", {}),
    "automation --window 28d --arm personalized": ("automation", PERSONALIZED),
}
"""What is asked, and for which metric and where that is."""
REFUSED = {
    "reveneu_per_session": "unknown metric 'reveneu_per_session'; there is revenue_per_session",
    "ctr --window 5min": "unknown window '5min'; there is 5m, 15m",
    "ctr --against holdot": "unknown arm 'holdot'; there is holdout",
    "revenue_per_user --surface home.hero": "revenue_per_user is not known by surface; there is arm",
    "retention_day_1 --window 5m": "retention_day_1 makes no sense in window '5m'; there is",
    "roi --against holdout": "roi cannot be held against another arm",
}
IN_WORDS = "ctr --window 1h --surface home.hero --against holdout"
UNSEEN = "ctr --window 1h --surface home.herp"
"""A typing error."""


class Asked(NamedTuple):
    """What was counted, and what the commands said."""

    state: Partition
    ran: dict[str, Result]


@pytest.fixture(scope="module")
def asked(_shared_redis: RedisProcess) -> Asked:
    """Count the world, store it, and run all commands."""
    state = stored_world(_shared_redis.url)
    given = {"LYNCEUS_REDIS__URL": _shared_redis.url, "LYNCEUS_KAFKA__PARTITIONS": "1"}
    commands = [
        *(f"query {words} --json" for words in ANSWERED),
        *(f"query {words}" for words in (*REFUSED, IN_WORDS, UNSEEN)),
    ]
    # Each has a loop of its own, which is none of the tests'.
    with ThreadPoolExecutor(1) as thread:
        invoked = [thread.submit(CliRunner().invoke, main, words.split(), env=given) for words in commands]
        return Asked(state, dict(zip(commands, (each.result() for each in invoked), strict=True)))


def told(of: Estimate | None) -> dict[str, Any] | None:
    """Return an estimate as JSON has it."""
    return None if of is None else {"value": of.value, "n": of.n, "low": of.low, "high": of.high}


@pytest.mark.parametrize("words", ANSWERED)
def test_the_answer_is_what_was_counted(asked: Asked, words: str) -> None:
    """By window, surface, device and arm, and of the arm that it is held against: what the sums of the window say."""
    ran, (name, where) = asked.ran[f"query {words} --json"], ANSWERED[words]
    assert (0, "") == (ran.exit_code, ran.stderr)
    answer = json.loads(ran.stdout)
    assert (name, words.split()[2], where) == (answer["metric"], answer["window"], answer["where"])
    own = expected(asked.state, METRIC[name], where, answer)
    assert own is not None
    assert told(own) == answer["estimate"]
    if "--against" not in words:
        assert answer["contrast"] is None
        return
    against = words.split()[-1]
    base = expected(asked.state, METRIC[name], where | {"arm": against}, answer)
    assert base is not None
    assert (against, told(base)) == (answer["contrast"]["against"], answer["contrast"]["base"])
    assert pytest.approx(own.value - base.value) == answer["contrast"]["difference"]["value"]
    assert pytest.approx(own.value / base.value) == answer["contrast"]["ratio"]["value"]


def test_the_answer_in_words(asked: Asked) -> None:
    """Title, value and interval in percent, the other arm, difference and ratio, and from when to when."""
    ran = asked.ran[f"query {IN_WORDS}"]
    lines = [line.strip() for line in ran.stdout.splitlines()]
    begins = [
        "Click-through rate (ctr), window 1h, ",
        "",
        "against holdout: ",
        "difference: ",
        "ratio: ",
        "intervals are",
    ]
    assert (0, begins) == (ran.exit_code, [line[: len(begin)] for line, begin in zip(lines, begins, strict=False)])
    assert [True] * 4 == [
        "surface home.hero" in lines[0],
        *(" %   95 % interval " in lines[n] for n in (1, 2)),
        "points" in lines[3],
    ]
    assert [True] == [" settled, " in line for line in lines[6:7]]


@pytest.mark.parametrize("words", REFUSED)
def test_what_does_not_exist_is_refused_with_what_is_near(asked: Asked, words: str) -> None:
    """A metric, a window, an arm, a dimension or a contrast that there is not: exit code 2, and the nearest names."""
    ran = asked.ran[f"query {words}"]
    assert (2, "", True) == (ran.exit_code, ran.stdout, REFUSED[words] in " ".join(ran.stderr.split()))


def test_a_value_that_was_never_counted_is_said_to_be(asked: Asked) -> None:
    """Nobody lists all surfaces there may be: one that was never seen is no error, has no estimate, and is named."""
    ran = asked.ran[f"query {UNSEEN}"]
    surface = UNSEEN.split()[-1]
    assert (0, True, True) == (
        ran.exit_code,
        "not enough data" in ran.stdout,
        f"never counted: surface {surface}" in ran.stdout,
    )
