"""Protocols that lack one rule each: what the simulation must find something wrong with.

A mutant changes the text of a script or overrides one decision; everything else is the real thing.
"""

import re
from collections.abc import Callable
from typing import Any

from stream_app.worker.agents import Counting
from stream_app.worker.batches import RecordBatch
from stream_app.worker.checkpoint import Checkpoints, Claim
from tests.faults.simulation import Variant


def without_lines(*words: str) -> Callable[[str], str]:
    """Return what takes the lines with all these words out of a script."""

    def rewrite(script: str) -> str:
        return "\n".join(line for line in script.splitlines() if not all(word in line for word in words))

    return rewrite


def with_a_torn_hset(script: str) -> str:
    """Let a script write its fields one by one: @off, the last but one, may then be missing after a crash."""
    one_by_one = "for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end"
    return re.sub(r"redis\.call\('HSET', KEYS\[1\], unpack\(ARGV, 3\)\)", one_by_one, script)


class NeverVerifies(Checkpoints):
    """A quiet owner never looks whether it still owns."""

    async def verify(self) -> None:
        """Do nothing."""


class StartsAtTheGroupsOffset(Checkpoints):
    """Kafka's committed offset is believed."""

    async def _claim(self, wanted: Any) -> None:
        await super()._claim(wanted)
        claim = self.claims.get(wanted.tp)
        if claim is not None:
            committed = (await self._source().committed([wanted.tp]))[wanted.tp]
            if committed:
                claim.position, claim.anchor = committed, None
                await self._source().seek_epoch(wanted.tp, committed, claim.epoch)


class IgnoresSilence(Checkpoints):
    """An unknown reply changes nothing: the memory is kept, and what changes from now on is written next time."""

    def drop(self, claim: Claim, reason: str) -> None:
        """Keep what may not have been written."""
        if not reason.startswith("no reply"):
            super().drop(claim, reason)


class NeverLooksBack(Counting):
    """The record before the claimed offset is not compared with the one that was counted there."""

    def _is_same_log(self, claim: Claim, batch: RecordBatch) -> bool:
        claim.anchor = None
        return True


class SkipsHoles(Counting):
    """A batch is applied wherever it begins."""

    async def _is_continuous(self, claim: Claim, batch: RecordBatch) -> bool:
        return batch.next > claim.position


MUTANTS: dict[str, Variant] = {
    "offset not compared": Variant(rewrite=without_lines("return 'conflict'")),
    "nonce not compared": Variant(rewrite=without_lines("return 'fenced'")),
    "idle owners never verify": Variant(checkpoints=NeverVerifies),
    "last record not compared": Variant(counting=NeverLooksBack),
    "HSET in pieces": Variant(rewrite=with_a_torn_hset),
    "starts at the group's offset": Variant(checkpoints=StartsAtTheGroupsOffset),
    "unknown reply ignored": Variant(checkpoints=IgnoresSilence),
    "holes not noticed": Variant(counting=SkipsHoles),
}
