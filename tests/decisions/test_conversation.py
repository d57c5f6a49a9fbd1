"""What is asked of Redis and when, with replies of the test's own: no connection, no clock."""

import json
from collections.abc import Generator, Sequence
from typing import Any

import pytest

from stream_app.decisions.answer import Limits, Status
from stream_app.decisions.contract import entity
from stream_app.decisions.conversation import Conversations, UnreachableError, dimension_lists, question, seconds

END = 1_763_770_000_000
META = json.dumps({"complete": True}).encode()
CELL = json.dumps({"ctr": [1_000, 30, 0.03, 0.02, 0.04]}).encode()
CURRENT = [str(END).encode(), None]


class Talk:
    """A client whose clocks stand where the test puts them. Mutable state: those, and what was asked."""

    def __init__(self, max_age_s: float = 120) -> None:
        self.now_s = 0.0
        self.asked: list[str] = []
        limits = Limits(max_age_s * 1000)
        self._conversations = Conversations("lynceus", limits, {}, lambda: END + self.now_s * 1000, lambda: self.now_s)

    def get(self, *replies: Sequence[bytes | None] | Exception, arms: Sequence[str] = ()) -> list[Status]:
        """Return the statuses, after these replies to what was asked."""
        lists = dimension_lists(arms, (), (), (), (), ())
        found = self._hold(self._conversations.get(question("ctr", "home", "5m", None, lists)), replies)
        return [each.status for each in found.values()]

    def guard(self, *replies: Sequence[bytes | None] | Exception) -> str:
        return str(self._hold(self._conversations.guard("home"), replies).status)

    def _hold(self, talk: Generator[Any, Any, Any], replies: Sequence[Sequence[bytes | None] | Exception]) -> Any:
        self.asked = []
        try:
            command = next(talk)
            for reply in replies:
                self.asked.append(" ".join(command))
                command = talk.throw(reply) if isinstance(reply, Exception) else talk.send(reply)
        except StopIteration as ended:
            return ended.value
        raise AssertionError(f"unexpected: {command}")


def test_a_batch_is_two_commands() -> None:
    """However many entities are asked for: where the window stands, and then all of them at once."""
    talk = Talk()
    assert [Status.OK, Status.UNKNOWN] == talk.get(CURRENT, [META, CELL, CELL, None], arms=["a", "b"])
    assert [
        "MGET lynceus:v1:home:win:5m:current lynceus:v1:home:guard",
        f"HMGET lynceus:v1:home:win:5m:{END} @meta all arm=a arm=b",
    ] == talk.asked


def test_within_a_step_only_what_is_new_is_asked() -> None:
    """A known entity costs nothing, an unknown one a command; after the step the pointer is asked for again."""
    talk = Talk()
    talk.get(CURRENT, [META, CELL, CELL], arms=["a"])
    known = (talk.get(arms=["a"]), talk.asked)
    more = (talk.get([META, CELL], arms=["a", "b"]), talk.asked)
    talk.now_s = 10
    later = (talk.get(CURRENT, arms=["a", "b"]), talk.asked)
    assert ([Status.OK], []) == known
    assert ([Status.OK, Status.OK], [f"HMGET lynceus:v1:home:win:5m:{END} @meta arm=b"]) == more
    assert ([Status.OK, Status.OK], ["MGET lynceus:v1:home:win:5m:current lynceus:v1:home:guard"]) == later


def test_a_new_window_is_read_anew() -> None:
    """When the pointer moved nothing of the old snapshot is mixed with the new one."""
    talk = Talk()
    talk.get(CURRENT, [META, CELL, CELL], arms=["a"])
    talk.now_s = 10
    assert [Status.UNKNOWN] == talk.get([str(END + 10_000).encode(), None], [META, CELL, None], arms=["a"])


def test_a_snapshot_that_went_away_is_looked_for_again() -> None:
    """Between pointer and snapshot it may expire: unknown once, and the next question begins with the pointer."""
    talk = Talk()
    gone = talk.get(CURRENT, [None, None])
    assert ([Status.UNKNOWN], [Status.OK]) == (gone, talk.get(CURRENT, [META, CELL]))


def test_an_outage_is_answered_from_memory_until_it_is_too_old() -> None:
    """Without Redis a known window serves on; when it is older than `max_age` it is stale, and the guard unknown."""
    talk = Talk(max_age_s=60)
    lost = UnreachableError("gone")
    talk.get([CURRENT[0], b'{"status": "ok"}'], [META, CELL])
    talk.now_s = 30
    young = (talk.get(lost), talk.guard())
    talk.now_s = 61
    assert (([Status.OK], "ok"), ([Status.STALE], "unknown")) == (young, (talk.get(lost), talk.guard()))


def test_redis_is_left_in_peace_for_a_second() -> None:
    """After a failure nothing is asked for a second, neither for a window nor for a guard; then again."""
    talk = Talk()
    first = talk.get(UnreachableError("gone"))
    talk.now_s = 0.9
    resting = (talk.get(), talk.guard(), talk.asked)
    talk.now_s = 1.0
    assert ([Status.UNKNOWN], ([Status.UNKNOWN], "unknown", []), [Status.OK]) == (
        first,
        resting,
        talk.get(CURRENT, [META, CELL]),
    )


def test_a_guard_read_with_a_window_is_not_asked_for_again() -> None:
    """The guard comes with the pointer, and holds for a step too."""
    talk = Talk()
    talk.get([CURRENT[0], b'{"status": "degraded", "reason": "drop"}'], [META, CELL])
    known = (talk.guard(), talk.asked)
    talk.now_s = 10
    assert (("degraded", []), "unknown") == (known, talk.guard([None]))


@pytest.mark.parametrize(
    ("values", "spelt"),
    [
        ({}, "all"),
        ({"segment": "new", "arm": "personalized"}, "arm=personalized,segment=new"),
        ({"policy": "a,b=c%"}, "policy=a%2Cb%3Dc%25"),
        ({"item": "A1", "device": "phone"}, "device=phone,item=A1"),
    ],
)
def test_an_entity_is_spelt_one_way(values: dict[str, str], spelt: str) -> None:
    """Dimensions have an order, and no value can pass for two."""
    assert spelt == entity(values)


@pytest.mark.parametrize(("age", "expected"), [("500ms", 0.5), ("90s", 90), ("2m", 120), ("1.5h", 5400), (7, 7)])
def test_an_age_is_read(age: str | float, expected: float) -> None:
    """Milliseconds, seconds, minutes, hours, or seconds as a number."""
    assert expected == seconds(age)


@pytest.mark.parametrize("age", ["", "2", "m", "-1s", 0, float("nan"), float("inf")])
def test_no_age_is_refused(age: str | float) -> None:
    """What is no age raises, with what was given."""
    with pytest.raises(ValueError, match="is no age"):
        seconds(age)
