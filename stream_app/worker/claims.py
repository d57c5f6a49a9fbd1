"""What a worker knows of a partition that it holds, and of one that it wants."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Self

from faust.types import TP

from stream_app.core import cells as layout
from stream_app.core.processor import Partition
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan


@dataclass(slots=True)
class Claim:
    """One partition as this worker holds it. Mutable state: all of it, owned by the event loop of the worker."""

    tp: TP
    nonce: str
    epoch: int
    state: Partition
    stored: int
    """`@off` as stored; what the next flush expects to find."""
    position: int
    """The next offset to apply."""
    incarnation: str
    anchor: tuple[int, int] | None = None
    """(offset, digest) of the last record applied before the claim, until it has been seen again in the log."""
    adopted: str = ""
    """Identity of the log that this state continues on, where it is not the one stored."""
    reread: int = -1
    """Where a hole was met that is being read again."""
    stale: list[str] = field(default_factory=list)
    sending: set[Awaitable[object]] = field(default_factory=set)
    """Records set apart that Kafka has not acknowledged yet."""
    is_due: bool = False
    """Whether there is something to write although no record was applied."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    oldest_ms: int = 0
    """When the oldest record arrived that is not stored yet; 0 for none."""
    alive_s: float = 0.0
    advanced_ms: int = 0
    waiting_at: int = -1
    """Where records were waiting when that was last looked at, and since when; -1 for nowhere."""
    waiting_since_ms: int = 0
    end: int = 0
    """Where the log ended, as far as is known."""

    @classmethod
    def load(cls, tp: TP, nonce: str, plan: Plan, rules: Rules, fields: dict[str, bytes]) -> Self:
        """Rebuild a claim from stored fields. Raises KeyError or ValueError when they are not a whole state."""
        offset = int(fields[layout.OFFSET])
        state, stale = Partition.restore(plan, rules, fields)
        head = state.head
        between = offset - head.first_offset - head.skipped_offsets
        if not head.applied == between == sum(head.outcomes.values()):
            raise ValueError(
                f"{head.applied} records applied, {between} offsets, {sum(head.outcomes.values())} outcomes"
            )
        incarnation = fields[layout.INCARNATION].decode()
        return cls(tp, nonce, 0, state, offset, offset, incarnation, anchor=_anchor(state), stale=stale)

    @property
    def is_stored(self) -> bool:
        """Whether what is stored is what is held, and nothing is on its way."""
        return self.position == self.stored and not (self.is_due or self.sending or self.adopted)

    def again(self, nonce: str) -> Self:
        """Return the claim anew, on the state that was held: nobody has written since."""
        held = (self.tp, nonce, 0, self.state, self.stored, self.stored, self.incarnation)
        return type(self)(*held, anchor=_anchor(self.state), stale=self.stale)


@dataclass(slots=True)
class Wanted:
    """A partition that is assigned and not claimed yet."""

    tp: TP
    attempts: int = 0
    due_s: float = 0.0
    refused: str = ""
    """Why it cannot be claimed without an operator."""


def _anchor(state: Partition) -> tuple[int, int] | None:
    """Return the last record that is counted, to be seen again in the log; None where none was."""
    head = state.head
    return (head.anchor_offset, head.anchor) if head.applied else None
