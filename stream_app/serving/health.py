"""What the partitions' heartbeats and offsets say of the counting, and why a view may be incomplete."""

from collections.abc import Sequence
from typing import Final

from stream_app.serving.partitions import PartitionState
from stream_app.serving.snapshot import PartitionView, State

LOST_AFTER_MS: Final = 10_000
STALLED_AFTER_MS: Final = 5_000
IDLE_AFTER_MS: Final = 10_000
MUCH_LAG: Final = 10_000
"""Records that wait: so many are more than a second's work, whether they are being worked on or not."""
MAX_REASONS: Final = 20


def lag_records(state: PartitionState) -> int:
    """Return how many records wait, as the owner knew at its last heartbeat."""
    return max(0, state.alive.end_offset - state.offset) if state.alive else 0


def state_of(state: PartitionState, at_ms: int) -> State:
    """Return in one word how a partition does.

    absent: nobody ever claimed it. lost: its owner's heart has not beaten for 10 s. behind: records wait, and
    either many or none was taken for 5 s. idle: nothing waits and nothing came for 10 s. live: everything
    else.
    """
    if not state.is_claimed:
        return "absent"
    if state.alive is None or at_ms - state.alive.at_ms > LOST_AFTER_MS:
        return "lost"
    lag, still_ms = lag_records(state), at_ms - state.alive.advanced_ms
    if lag > MUCH_LAG or (lag > 0 and still_ms > STALLED_AFTER_MS):
        return "behind"
    return "idle" if lag == 0 and still_ms > IDLE_AFTER_MS else "live"


def is_catching_up(state: PartitionState, at_ms: int) -> bool:
    """Say whether windows should wait for the partition: records wait, and somebody is there to take them."""
    return lag_records(state) > 0 and state_of(state, at_ms) != "lost"


def is_replaying(state: PartitionState) -> bool:
    """Say whether a state that was lost, or went back, is still being counted anew."""
    return state.is_claimed and state.offset < state.head.replay_to


def gap_ms(states: Sequence[PartitionState]) -> int:
    """Return since when (ms) all that the log held has been counted; windows that begin earlier may lack records."""
    return max((state.head.gap_ms for state in states), default=0)


def rekeyed_ms(states: Sequence[PartitionState]) -> int:
    """Return when (ms) partitions were added last: before and after that, a user is in different ones."""
    return max((state.head.rekeyed_ms for state in states), default=0)


def partition_view(state: PartitionState, at_ms: int) -> PartitionView:
    """Return what readers see of a partition."""
    alive = state.alive
    return PartitionView(
        state.partition,
        state.offset,
        alive.end_offset if alive else state.offset,
        lag_records(state),
        alive.worker if alive else "",
        alive.at_ms if alive else 0,
        state_of(state, at_ms),
    )


def reasons(states: Sequence[PartitionState], at_ms: int) -> tuple[str, ...]:
    """Return why what is counted may not be all there is; empty when it is."""
    if not any(state.is_claimed for state in states):
        return ("no worker has claimed a partition yet",)
    found = []
    for state in states:
        name = f"partition {state.partition}"
        match state_of(state, at_ms):
            case "absent":
                found.append(f"{name} has never been claimed")
            case "lost":
                found.append(f"{name} has no owner")
            case "behind":
                found.append(f"{name} is {_count(lag_records(state), 'record')} behind")
        if is_replaying(state):
            found.append(f"{name} lost counts and is counted anew: {state.offset:,} of {state.head.replay_to:,}")
        if state.fault:
            found.append(f"{name}: {state.fault}")
    if len(found) > MAX_REASONS:
        found[MAX_REASONS:] = [f"and {_count(len(found) - MAX_REASONS, 'more reason')}"]
    return tuple(found)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
