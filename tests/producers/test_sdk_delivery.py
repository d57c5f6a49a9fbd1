"""Kafka stops under the SDK, processes are killed, disks fail: nothing accepted is lost, each event has one state."""

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from producers.aio import AsyncTracker
from producers.buffer import BufferFullError
from producers.sdk import Tracker
from producers.topics import ensure_topics
from stream_app.apache_kafka import ApacheKafka
from stream_app.embedded import MockKafka
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings
from tests.producers import landed

NOWHERE = KafkaSettings(bootstrap="127.0.0.1:1", connect_timeout_s=0.3)
OUTAGE_S = float(os.environ.get("LYNCEUS_TEST_OUTAGE_S", "0"))
"""How much longer than it takes Kafka is away; 30 is what the design asks for."""
ROOM = 400


@pytest.fixture
def cluster() -> Iterator[MockKafka]:
    with MockKafka({"lynceus.events": 4}) as one:
        yield one


def of(cluster: MockKafka) -> KafkaSettings:
    return KafkaSettings(bootstrap=cluster.bootstrap, api_version="2.0", connect_timeout_s=2)


def until(is_so: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Return when it is so."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it never became so"
        threading.Event().wait(0.01)


def view(tracker: Tracker, number: int) -> str:
    """Record the page view of a number, of one of seven users."""
    return tracker.page_view(f"u-{number % 7}", f"/{number}", id=f"e-{number}")


def segments(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jsonl"))


def numbers_by_user(events: list[Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for event in events:
        found.setdefault(event.user, []).append(int(event.page[1:]))
    return found


async def test_kafka_stops_under_both_policies(kafka_cache: Path, tmp_path: Path) -> None:
    """A real broker stops, is written to, and comes back.

    With either policy, what was accepted is there, once after deduplication by id, in order for each user, and the
    buffer never held more than its bound. Only "raise" refuses events, at the call, and counts them.
    """
    before = threading.enumerate()
    with ApacheKafka(kafka_cache) as broker:
        topics = [
            KafkaSettings(bootstrap=broker.bootstrap, events_topic=name, partitions=2, connect_timeout_s=3)
            for name in ("raise.events", "spill.events")
        ]
        for topic in topics:
            ensure_topics(topic)
        # The outage is longer than `delivery_timeout_s`: a batch is given up on and sent again.
        raising = Tracker(kafka=topics[0], max_events=ROOM, block_s=0.001, delivery_timeout_s=3)
        spilling = Tracker(
            kafka=topics[1], max_events=ROOM, when_away="spill", spill_to=tmp_path, spill_after_s=0.5, block_s=30
        )
        accepted: list[str] = []
        peaks = [0, 0]

        def send(numbers: range) -> None:
            for number in numbers:
                view(spilling, number)
                try:
                    accepted.append(view(raising, number))
                except BufferFullError:
                    if accepted[-1:] != ["refused"]:
                        accepted.append("refused")
                for at, one in enumerate((raising, spilling)):
                    peaks[at] = max(peaks[at], one.report().pending)

        await asyncio.to_thread(send, range(300))
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(send, range(300, 1_300))
        await asyncio.to_thread(until, lambda: spilling.report().spilled > ROOM)
        away = (raising.report(), spilling.report())
        await asyncio.sleep(OUTAGE_S)  # the outage itself: nothing happens in it that could be waited for
        await asyncio.to_thread(broker.start)
        for one in (raising, spilling):
            await asyncio.to_thread(one.flush, 60)
        await asyncio.to_thread(send, range(1_300, 1_500))
        reports = [await asyncio.to_thread(one.close, 30) for one in (raising, spilling)]
        there = [landed.once(landed.events(topic)) for topic in topics]
    names = [thread.name for thread in threading.enumerate() if thread not in before]
    assert [name for name in names if name.startswith(("lynceus", "kafka"))] == []
    assert {event.id for event in there[0]} == {one for one in accepted if one != "refused"}
    assert {event.id for event in there[1]} == {f"e-{number}" for number in range(1_500)}
    assert [(away[0].refused > 0, away[1].refused), max(peaks) <= ROOM] == [(True, 0), True]
    assert [one.adds_up for one in (*away, *reports)] == [True] * 4
    assert [(one.delivered, one.failed, one.pending, one.spilled) for one in reports] == [
        (len(there[0]), 0, 0, 0),
        (1_500, 0, 0, 0),
    ]
    for events in there:
        assert numbers_by_user(events) == {user: sorted(own) for user, own in numbers_by_user(events).items()}
    assert segments(tmp_path) == []


def test_a_killed_process_leaves_its_spill_to_the_next(cluster: MockKafka, tmp_path: Path) -> None:
    """A tracker starts while Kafka is away, spills, is killed; another process delivers everything that was safe."""
    script = f"""if True:
        import sys, threading
        from pathlib import Path
        from producers.sdk import Tracker
        folder = Path({str(tmp_path)!r})
        tracker = Tracker(bootstrap="127.0.0.1:1", when_away="spill", spill_to=folder, spill_after_s=0.2)
        for number in range(2_000):
            tracker.page_view(f"u-{{number % 7}}", f"/{{number}}", id=f"e-{{number}}")
        while tracker.report().pending:
            threading.Event().wait(0.01)
        print(tracker.report().spilled, flush=True)
        sys.stdin.read()
    """
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        spilled = process.stdout.readline()
        process.kill()
    assert (spilled, process.returncode) == ("2000\n", -signal.SIGKILL)
    with Tracker(kafka=of(cluster), when_away="spill", spill_to=tmp_path) as heir:
        found = heir.report().recovered
        view(heir, 2_000)
        report = heir.flush(30)
    events = landed.once(landed.events(of(cluster)))
    assert (found, report.delivered, report.is_complete, report.adds_up) == (2_000, 2_001, True, True)
    assert numbers_by_user(events) == {f"u-{user}": list(range(user, 2_001, 7)) for user in range(7)}


def test_a_full_spill_is_the_end_of_the_road(tmp_path: Path) -> None:
    """When disk and buffer are full the call raises, with numbers and remedy; `close` hands back what is in neither."""
    tracker = Tracker(
        kafka=NOWHERE, when_away="spill", spill_to=tmp_path, spill_after_s=0.1, max_spill_bytes=5_000, max_events=20,
        block_s=0.5,
    )  # fmt: skip

    def send() -> None:
        for number in range(1_000):
            view(tracker, number)

    with pytest.raises(BufferFullError, match=r"20 wait for Kafka at 127\.0\.0\.1:1.*max_spill_bytes"):
        send()
    on_disk = sum(path.stat().st_size for path in segments(tmp_path))
    report = tracker.close(0.2)
    assert (report.refused, report.adds_up, 0 < on_disk <= 5_000) == (1, True, True)
    assert (len(report.undelivered), report.failed, report.spilled) == (20, 20, report.sent - 21)
    assert b'"e-%d"' % (report.sent - 2) in report.undelivered[-1]
    assert "closed before it was delivered" in str(report.first_failure)


def test_a_disk_that_fails_keeps_events_in_memory(tmp_path: Path) -> None:
    """While the spill takes nothing, events wait in memory and the report says why; then they are safe."""
    tracker = Tracker(kafka=NOWHERE, when_away="spill", spill_to=tmp_path, spill_after_s=0.1)
    shutil.rmtree(tmp_path / "lane-0")
    for number in range(50):
        view(tracker, number)
    until(lambda: "the spill takes nothing: FileNotFoundError" in str(tracker.report().trouble))
    waiting = tracker.report().pending
    (tmp_path / "lane-0").mkdir()
    until(lambda: tracker.report().spilled == 50)
    report = tracker.close(1)
    assert (waiting, report.pending, report.spilled, report.undelivered) == (50, 0, 50, ())


def test_close_says_what_was_not_delivered(cluster: MockKafka) -> None:
    """Without a spill, what Kafka did not take is handed back and counted as failed."""
    tracker = Tracker(kafka=of(cluster))
    view(tracker, 0)
    tracker.flush()
    cluster.close()
    for number in range(1, 6):
        view(tracker, number)
    report = tracker.close(0.3)
    assert (report.delivered, report.failed, report.adds_up, report.is_complete) == (1, 5, True, False)
    assert [b'"id":"e-%d"' % number in value for number, value in enumerate(report.undelivered, 1)] == [True] * 5
    with pytest.raises(LynceusError, match="closed"):
        view(tracker, 6)
    assert tracker.close() == report


def test_a_flush_that_takes_too_long_says_how_much_is_missing() -> None:
    """The error has the numbers, the address and the trouble, on one line."""
    with MockKafka({"lynceus.events": 1}) as cluster:
        tracker = Tracker(kafka=of(cluster))
    view(tracker, 0)
    with pytest.raises(LynceusError, match=r"1 of 1 events are not delivered to Kafka at .* after 0\.2 s") as caught:
        tracker.flush(0.2)
    tracker.close(0)
    assert "\n" not in str(caught.value)


def test_a_program_that_forgets_to_close_delivers(cluster: MockKafka) -> None:
    """At the end of the interpreter what is in the buffer is still delivered."""
    script = f"""if True:
        from producers.sdk import Tracker
        from stream_app.settings import KafkaSettings
        tracker = Tracker(kafka=KafkaSettings(bootstrap={cluster.bootstrap!r}, api_version="2.0"))
        for number in range(500):
            tracker.page_view("u-1", f"/{{number}}")
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True)
    assert (done.stdout, done.stderr, len(landed.events(of(cluster)))) == (b"", b"", 500)


def test_a_tracker_does_not_survive_a_fork(cluster: MockKafka) -> None:
    """In a child process the tracker has no courier: it says so instead of buffering for nobody."""
    script = f"""if True:
        import os
        from producers.sdk import Tracker
        from stream_app.settings import KafkaSettings
        tracker = Tracker(kafka=KafkaSettings(bootstrap={cluster.bootstrap!r}, api_version="2.0"))
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            try:
                tracker.page_view("u-1", "/")
            except Exception as error:
                print(error, flush=True)
            os._exit(0)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True, text=True)
    assert done.stdout == "this tracker belongs to the process before the fork. Make one in each process\n"


def test_threads_share_a_tracker(cluster: MockKafka) -> None:
    """Four threads and little room: everything arrives once, each thread's events in order."""
    with Tracker(kafka=of(cluster), max_events=50, block_s=30) as tracker:

        def send(thread: int) -> None:
            for number in range(300):
                tracker.page_view(f"u-{thread}", f"/{number}")

        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report = tracker.flush()
    assert (report.delivered, report.refused) == (1_200, 0)
    assert numbers_by_user(landed.events(of(cluster))) == {f"u-{number}": list(range(300)) for number in range(4)}


def test_what_kafka_refuses_for_good_has_failed(kafka_settings: KafkaSettings) -> None:
    """An event that is too large for the topic fails alone, with the reason; its neighbours arrive, in order."""
    with KafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap) as admin:
        topic = {"num_partitions": 1, "replication_factor": 1, "configs": {"max.message.bytes": "2000"}}
        admin.create_topics({kafka_settings.events_topic: topic}, wait_for_metadata=True)
    with Tracker(kafka=kafka_settings) as tracker:
        noise = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(100)]  # that gzip cannot shrink
        for number, items in enumerate([["a"]] * 10 + [noise] + [["b"]] * 10):
            tracker.decide(user="u-1", items=items, decision=f"d-{number}")
        report = tracker.flush()
    assert (report.delivered, report.failed, report.adds_up) == (20, 1, True)
    assert str(report.first_failure).startswith("MessageSizeTooLargeError")
    assert [event.decision for event in landed.events(kafka_settings)] == [
        f"d-{number}" for number in range(21) if number != 10
    ]


def test_a_missing_topic_is_told_at_the_start(kafka_settings: KafkaSettings) -> None:
    """With when_away="raise", a tracker for a topic that is not there does not start."""
    with pytest.raises(LynceusError, match=rf"has no topic '{kafka_settings.events_topic}'.*topics ensure"):
        Tracker(kafka=kafka_settings)


async def test_waiting_for_room_leaves_the_loop_free() -> None:
    """While a call of AsyncTracker waits for room, the loop runs; it is refused after `block_s`, and counted."""
    with MockKafka({"lynceus.events": 1}) as cluster:
        tracker = await AsyncTracker(kafka=of(cluster), max_events=10, block_s=0.5).start()
    for number in range(10):
        await tracker.page_view("u-1", f"/{number}")
    waiting = asyncio.ensure_future(tracker.page_view("u-1", "/late"))
    turns = 0
    while not waiting.done():
        await asyncio.sleep(0.001)
        turns += 1
    with pytest.raises(BufferFullError, match="10 wait for Kafka"):
        await waiting
    cancelled = asyncio.ensure_future(tracker.page_view("u-1", "/never"))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    report = await tracker.close(0)
    assert (turns > 20, report.sent, report.refused, report.failed, report.adds_up) == (True, 12, 2, 10, True)


async def test_room_that_comes_is_taken(cluster: MockKafka) -> None:
    """With room for five, a hundred concurrent calls are all delivered."""
    async with AsyncTracker(kafka=of(cluster), max_events=5, block_s=30) as tracker:
        await asyncio.gather(*(tracker.page_view("u-1", f"/{number}") for number in range(100)))
        report = await tracker.flush()
    assert (report.delivered, report.is_complete) == (100, True)
