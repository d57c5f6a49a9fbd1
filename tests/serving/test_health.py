"""Health: what heartbeats and offsets mean, in one word and in reasons."""

import pytest

from stream_app.core.cells import Alive, Head
from stream_app.serving.health import MAX_REASONS, is_catching_up, reasons, state_of
from stream_app.serving.partitions import PartitionState
from stream_app.serving.throughput import Throughput

NOW = 1_000_000


def state(lag: int = 0, beat: int = 0, still: int = 0, fault: str = "", partition: int = 0) -> PartitionState:
    """Return a partition whose heart beat `beat` ms ago and which advanced `still` ms ago."""
    alive = Alive(NOW - beat, "host-1", 100 + lag, NOW - still)
    return PartitionState(partition, True, 100, Head(), alive, fault)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("absent", PartitionState(0)),
        ("lost", PartitionState(0, True)),
        ("lost", state(beat=10_001)),
        ("behind", state(lag=1, still=5_001)),
        ("behind", state(lag=10_001)),
        ("live", state(lag=10_000)),
        ("live", state(still=9_000)),
        ("idle", state(still=11_000)),
    ],
)
def test_a_partition_is_in_one_of_five_states(expected: str, given: PartitionState) -> None:
    """Claim, heartbeat, lag and progress decide, in this order."""
    assert expected == state_of(given, NOW)


def test_only_a_partition_with_an_owner_is_waited_for() -> None:
    """Windows wait for records that somebody will take, not for those that nobody does."""
    assert [True, False, False] == [is_catching_up(s, NOW) for s in (state(lag=1), state(), state(lag=1, beat=11_000))]


def test_reasons_name_the_partition_and_the_number() -> None:
    """Each reason can be acted on as it stands."""
    states = [
        state(),
        state(lag=12_000, partition=1),
        state(beat=11_000, partition=2),
        PartitionState(3),
        state(fault="1 of its cells are missing", partition=4),
    ]
    expected = (
        "partition 1 is 12,000 records behind",
        "partition 2 has no owner",
        "partition 3 has never been claimed",
        "partition 4: 1 of its cells are missing",
    )
    assert expected == reasons(states, NOW)


def test_nothing_claimed_is_one_reason() -> None:
    """Before the first worker there is one reason, not one for each partition."""
    assert ("no worker has claimed a partition yet",) == reasons([PartitionState(n) for n in range(8)], NOW)


def test_reasons_are_bounded() -> None:
    """A thousand lost partitions are twenty reasons and a number."""
    found = reasons([state(beat=11_000, partition=n) for n in range(1_000)], NOW)
    assert (MAX_REASONS + 1, "and 980 more reasons") == (len(found), found[-1])


def test_throughput_is_the_mean_of_the_last_ten_seconds() -> None:
    """Looks older than ten seconds no longer count, and a step back begins anew."""
    throughput = Throughput()
    looks = [(0, 0), (5_000, 1_000), (10_000, 1_500), (15_000, 2_000), (16_000, 10), (17_000, 20)]
    assert [0.0, 200.0, 150.0, 100.0, 0.0, 10.0] == [throughput.observe(*look) for look in looks]
