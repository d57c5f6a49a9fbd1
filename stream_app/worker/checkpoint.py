"""Checkpoints: exactly once, with Redis as the authority.

    claim ---> load ---> seek ---> apply ... apply ---> flush ---> apply ... ---> flush, release (revoked)
      ^                                                   |                                  |
      |------------- anything but "ok", or no reply: drop the memory, claim again            |
      '------------- without loading, if Kafka gives it back and nobody wrote meanwhile -----'

A partition's cells, joins and source offset are one hash, and move on in one guarded HSET. The guard is a nonce, drawn
at random at every claim, and the offset that the owner believes is stored. Kafka's committed offset is a witness only.
A reply that did not come is never answered by sending again: the next claim tells what is stored.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, DataError, RedisError, ResponseError
from xxhash import xxh3_64_intdigest as digest

from stream_app.core import cells as layout
from stream_app.core.processor import Partition
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan
from stream_app.worker import scripts
from stream_app.worker.claims import Claim, Wanted
from stream_app.worker.instruments import Instruments
from stream_app.worker.source import Ends, Log

log = structlog.get_logger("lynceus.worker")

FLUSH_AT_FIELDS: Final = 1_500
"""Changed cells after which a flush is due at once; with one more chunk's worth it still fits into one HSET."""
PACKING_SHARE: Final = 10
RAREST_FLUSH_S: Final = 5.0
RECLAIM_AFTER_S: Final = 0.25
RECLAIM_AT_MOST_S: Final = 2.0
ALIVE_EVERY_S: Final = 1.0
FENCED_WAIT_S: Final = 2.0
REFUSED_WAIT_S: Final = 10.0
DECIDE: Final = "restore the former settings, or decide with `lynceus partition adopt` or `reset`"


class Checkpoints:
    """All partitions that this worker holds, or wants.

    Mutable state: `claims` and `wanted`; what was released last, until the next claim; when the next checkpoint is due.
    """

    def __init__(
        self,
        redis: Callable[[], "Redis"],
        source: Callable[[], Log],
        instruments: Instruments,
        *,
        app: str,
        worker: str,
        plan: Plan,
        rules: Rules,
        configuration: str,
        now_ms: Callable[[], int],
        clock_s: Callable[[], float],
    ) -> None:
        self._redis = redis
        self._source = source
        self._instruments = instruments
        self._app = app
        self._worker = worker
        self._plan = plan
        self._rules = rules
        self._configuration = configuration
        self._now_ms = now_ms
        self._clock_s = clock_s
        self._epoch = 0
        self._due_s = self._packing_s = 0.0
        self.cluster = ""
        self.claims: dict[TP, Claim] = {}
        self.wanted: dict[TP, Wanted] = {}
        self._released: dict[TP, Claim] = {}
        self._claiming = asyncio.Lock()

    # -- claim ------------------------------------------------------------------------------------------------------

    async def claim(self, partitions: Iterable[TP]) -> None:
        """Take over exactly these partitions, anew: whatever was held before is dropped, or looked at again."""
        self.claims.clear()
        self.wanted = {tp: Wanted(tp) for tp in partitions}
        self._released = {tp: released for tp, released in self._released.items() if tp in self.wanted}
        self._instruments.assigned(len(self.wanted))
        await self.claim_wanted()

    async def claim_wanted(self) -> None:
        """Try to claim what is wanted and due; what fails is tried again later, less and less often."""
        async with self._claiming:
            now = self._clock_s()
            due = [wanted for wanted in self.wanted.values() if wanted.due_s <= now]
            if due:
                owned = self._source().owned()
                due = [wanted for wanted in due if wanted.tp in owned]
            ends = Ends(self._source(), [wanted.tp for wanted in due])
            for wanted in due:
                try:
                    await self._claim(wanted, ends)
                except DataError as error:  # the value is of a kind that no script of ours can have made
                    self._refuse(wanted, str(error))
                except (RedisError, OSError, TimeoutError, KafkaError) as error:
                    wanted.attempts += 1
                    wait = min(RECLAIM_AFTER_S * 2 ** (wanted.attempts - 1), RECLAIM_AT_MOST_S)
                    wanted.due_s = self._clock_s() + wait
                    if not isinstance(error, KafkaError):
                        self._instruments.redis_up(False, _refusal_of(error))
                    if wanted.attempts == 1:
                        log.warning("claim failed, trying again", partition=wanted.tp.partition, error=str(error))

    async def _claim(self, wanted: Wanted, ends: Ends) -> None:
        tp, source = wanted.tp, self._source()
        nonce = secrets.token_hex(8)
        identity = f"{self.cluster}/{tp.topic}"
        released = self._released.pop(tp, None)
        held = (released.nonce, released.stored) if released else ("", "")
        reply = await self._run("claim", scripts.CLAIM, self._key(tp), nonce, self._configuration, identity, *held)
        self._instruments.redis_up(True)
        assert isinstance(reply, list)
        verdict, *flat = reply
        if verdict in (b"other_config", b"other_log"):
            what = "configuration or catalogue" if verdict == b"other_config" else "Kafka log"
            self._refuse(wanted, f"its counts belong to another {what} ({flat[0].decode() or 'unknown'})")
            return
        begin, end, witness = await ends.of(tp)
        if released and verdict == b"same":
            claim: Claim | None = released.again(nonce)
        else:
            fields = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
            claim = await self._take_up(tp, nonce, identity, fields, begin, witness)
        if claim is None:
            return  # another worker was faster: claim again
        if claim.position > end:  # which the former owner may have made true since the ends were asked for
            end = (await source.highwaters(tp))[tp]
        if claim.position > end:
            self._refuse(wanted, f"the log ends at {end}, before the stored offset {claim.position}: another log")
            return
        if claim.position < begin:
            self._record_gap(claim, begin)
        self._mark(claim, witness)
        if claim.anchor is not None and claim.anchor[0] < begin:
            claim.anchor = None
        if self.wanted.get(tp) is not wanted:
            return  # a rebalance came between
        claim.epoch, claim.end = self.next_epoch(), end
        # Numbers of changes are never given out twice, also when Redis went back: a reader would miss the difference.
        claim.state.number_from(self._now_ms())
        claim.advanced_ms = self._now_ms()
        self.claims[tp] = claim
        del self.wanted[tp]
        # Reading begins at the last record that is already counted, to see that it is still the same log.
        start = claim.position if claim.anchor is None else claim.anchor[0]
        await source.seek_epoch(tp, start, claim.epoch)
        log.info("claimed", partition=tp.partition, offset=claim.position, behind=end - claim.position)

    async def _take_up(
        self, tp: TP, nonce: str, identity: str, fields: dict[str, bytes], begin: int, witness: int
    ) -> Claim | None:
        """Three cases: there is no state, there is one that cannot be used, there is one."""
        if not fields:
            if witness > begin:
                self._lost(tp, "Redis has no state, but Kafka says that offsets were counted", witness)
            return await self._begin(tp, nonce, identity, begin, witness)
        try:
            claim = Claim.load(tp, nonce, self._plan, self._rules, fields)
        except (KeyError, ValueError) as error:  # msgspec's errors are ValueErrors
            self._lost(tp, f"the stored state is not whole ({type(error).__name__}: {error})", 0)
            reached = fields.get(layout.OFFSET, b"")
            return await self._begin(tp, nonce, identity, begin, int(reached) if reached.isdigit() else 0, fields)
        if fields[layout.LOG] == layout.ANY_LOG.encode():
            self._adopt(claim, identity, begin)
        return claim

    async def _begin(
        self, tp: TP, nonce: str, identity: str, begin: int, replay_to: int, broken: Mapping[str, bytes] | None = None
    ) -> Claim | None:
        """Begin a new incarnation at the log's start; what was counted before up to `replay_to` is a replay."""
        state = Partition(self._plan, self._rules)
        head = state.head
        head.first_offset = begin
        head.partitions = self._source().topic_partitions(tp.topic) or 0
        if replay_to > begin:
            head.replay_to = replay_to
            if begin > 0:  # what retention has removed meanwhile is not in this incarnation
                head.lost_offsets, head.gap_ms = begin, self._now_ms()
        incarnation = secrets.token_hex(8)
        fields, _ = state.take_changes()
        fields |= {
            layout.OFFSET: b"%d" % begin,
            layout.TOKEN: nonce.encode(),
            layout.CONFIG: self._configuration.encode(),
            layout.LOG: identity.encode(),
            layout.INCARNATION: incarnation.encode(),
            layout.SLICES: layout.pack(state.slices.slices),
        }
        if broken is None:
            reply = await self._run("create", scripts.CREATE, self._key(tp), *_flat(fields))
        else:
            reply = await self._run("restart", scripts.RESTART, self._key(tp), nonce, *_flat(fields))
        return Claim(tp, nonce, 0, state, begin, begin, incarnation) if reply == b"ok" else None

    def _adopt(self, claim: Claim, identity: str, begin: int) -> None:
        """Continue the counts on another log, from its start: an operator has said so."""
        head = claim.state.head
        claim.position, claim.anchor, claim.adopted = begin, None, identity
        head.first_offset = begin - head.applied - head.skipped_offsets
        log.warning("log adopted", partition=claim.tp.partition, offset=begin)

    def _record_gap(self, claim: Claim, begin: int) -> None:
        """Retention was faster than we: those records cannot be had any more, and that is recorded."""
        gap = begin - claim.position
        head = claim.state.head
        head.lost_offsets += gap
        head.skipped_offsets += gap
        head.gap_ms = self._now_ms()
        claim.position, claim.anchor = begin, None
        self._instruments.gap(gap)
        log.error("offsets lost to retention", partition=claim.tp.partition, offsets=gap)

    def _mark(self, claim: Claim, counted_to: int) -> None:
        """Note what readers must know: that counts are missing until `counted_to`, or that keys have moved."""
        head = claim.state.head
        if claim.position < counted_to and head.replay_to < counted_to and not claim.adopted:
            # Redis went back to what it was before: until we are there again, everything is too low.
            head.replay_to, claim.is_due = counted_to, True
            log.warning(
                "state went back, counting again",
                partition=claim.tp.partition,
                offset=claim.position,
                counted_before=counted_to,
            )
        partitions = self._source().topic_partitions(claim.tp.topic) or 0
        if partitions > head.partitions:
            if head.partitions:
                head.rekeyed_ms = self._now_ms()
                log.warning(
                    "partitions were added: what users did before is not joined with what they do now",
                    partition=claim.tp.partition,
                    before=head.partitions,
                    now=partitions,
                )
            head.partitions, claim.is_due = partitions, True

    def _lost(self, tp: TP, reason: str, witness: int) -> None:
        self._instruments.state_lost()
        log.error("state lost, counting anew from the log's start", partition=tp.partition, reason=reason, seen=witness)

    def _refuse(self, wanted: Wanted, reason: str, remedy: str = DECIDE) -> None:
        """Leave a partition alone; look again from time to time, an operator may have decided."""
        wanted.due_s = self._clock_s() + REFUSED_WAIT_S
        if wanted.refused == reason:
            return
        wanted.refused = reason
        log.error(
            "partition refused: nothing is written, nothing is counted",
            partition=wanted.tp.partition,
            reason=reason,
            remedy=remedy,
        )

    def _key(self, tp: TP) -> str:
        return layout.partition_key(self._app, tp.topic, tp.partition)

    # -- flush ------------------------------------------------------------------------------------------------------

    async def flush(self) -> Mapping[TP, int]:
        """Write every partition that has moved; return the stored offsets of those that advanced."""
        # Until the anchor was seen, this may be another log: then nothing may be written.
        due = [
            claim
            for claim in self.claims.values()
            if claim.position != claim.stored or (claim.is_due and claim.anchor is None)
        ]
        # Side by side: each may have to wait for Kafka to have what it set apart, and for Redis.
        are_written = await asyncio.gather(*map(self.flush_one, due))
        return {claim.tp: claim.stored for claim, is_written in zip(due, are_written, strict=True) if is_written}

    async def flush_if_due(self) -> Mapping[TP, int]:
        """Write as `flush` does, but not while that would take more than a tenth of the time from the counting.

        Packing is what it takes: where many cells change between two checkpoints, these become rarer, up to a bound.
        """
        began = self._clock_s()
        if began < self._due_s:
            return {}
        self._packing_s = 0.0
        advanced = await self.flush()
        self._due_s = began + min(PACKING_SHARE * self._packing_s, RAREST_FLUSH_S)
        return advanced

    async def flush_one(self, claim: Claim) -> bool:
        """Write one partition as it is now; False when it was not written, and is to be claimed again."""
        async with claim.lock:
            if self.claims.get(claim.tp) is not claim:
                return False
            if claim.position == claim.stored and not claim.is_due:
                return True
            # No await between here and the last use of the state: what is written is one moment of it.
            began = self._clock_s()
            position, sending = claim.position, claim.sending
            claim.sending = set()
            oldest_ms, claim.oldest_ms = claim.oldest_ms, 0
            claim.advanced_ms = claim.state.head.written_ms = self._now_ms()
            fields, stale = claim.state.take_changes()
            moved = claim.state.cells.take_moved()
            fields[layout.OFFSET] = b"%d" % position
            if claim.adopted:
                fields[layout.LOG] = claim.adopted.encode()
            fields[layout.ALIVE] = layout.pack(self._alive(claim))
            assert len(fields) <= scripts.MAX_PAIRS, len(fields)
            self._packing_s += self._clock_s() - began
            # What was set apart must be safe before the offset passes it.
            if not await _are_sent(sending):
                self.drop(claim, "records set apart were not acknowledged by Kafka")
                return False
            if not await self._write(claim, fields):
                return False
            claim.stale += stale
            self._instruments.flushed(claim, moved, oldest_ms and (self._now_ms() - oldest_ms) / 1000)
            claim.stored, claim.is_due = position, False
            await self._sweep(claim)
        return True

    async def verify(self) -> None:
        """Show that the owners live, and find out whether they still own: also where nothing is counted."""
        now = self._clock_s()
        for claim in list(self.claims.values()):
            if now - claim.alive_s < ALIVE_EVERY_S:
                continue
            async with claim.lock:
                if self.claims.get(claim.tp) is claim:
                    await self._write(claim, {layout.ALIVE: layout.pack(self._alive(claim))})

    async def release(self) -> None:
        """Write once more and let go of every partition: Kafka has taken them back."""
        await self.flush()
        for claim in self.claims.values():
            # What is not written by now is counted again by the next owner: the log says how much that is.
            log.info(
                "released",
                partition=claim.tp.partition,
                offset=claim.stored,
                unwritten=claim.position - claim.stored,
            )
        # With most rebalances much comes back at once: to load that again would take most of the time.
        self._released = {tp: claim for tp, claim in self.claims.items() if claim.is_stored}
        self.claims.clear()
        self.wanted.clear()
        self._instruments.assigned(0)

    def drop(self, claim: Claim, reason: str) -> None:
        """Forget what was not written; the partition is claimed again if it is still assigned."""
        if self.claims.get(claim.tp) is claim:
            del self.claims[claim.tp]
            # Fenced: somebody else claimed it. If Kafka has given it away we learn so with the next heartbeats, and
            # must not take it back meanwhile.
            wait = FENCED_WAIT_S if reason == "fenced" else 0.0
            self.wanted[claim.tp] = Wanted(claim.tp, due_s=self._clock_s() + wait)
            self._instruments.flush_refused(reason)
            log.warning("claim dropped, claiming again", partition=claim.tp.partition, reason=reason)

    def halt(self, partition: TP, reason: str, remedy: str = DECIDE) -> None:
        """Stop counting a partition: nothing more is written for it until a later claim finds that it may go on."""
        self.claims.pop(partition, None)
        wanted = self.wanted.setdefault(partition, Wanted(partition))
        self._refuse(wanted, reason, remedy)

    def forgotten(self) -> Counter[str]:
        """Return how many entries the claims' memories dropped for want of room, by table."""
        total: Counter[str] = Counter()
        for claim in self.claims.values():
            total.update({table.name: table.forgotten for table in claim.state.joins.tables})
        return total

    def refusal(self) -> str:
        """Return why a partition is refused, or an empty string when none is."""
        return next((wanted.refused for wanted in self.wanted.values() if wanted.refused), "")

    def halt_all(self, reason: str, remedy: str) -> None:
        """Stop counting everywhere: what is written now might not be kept."""
        for tp in [*self.claims, *self.wanted]:
            self.halt(tp, reason, remedy)

    def look_again(self) -> None:
        """Try at once what was refused: the reason is gone."""
        for wanted in self.wanted.values():
            wanted.due_s = 0.0

    def standing(self, partition: TP) -> tuple[int, int] | None:
        """Return epoch and next offset of a claim, None where there is none; may be asked from any thread."""
        claim = self.claims.get(partition)
        return None if claim is None else (claim.epoch, claim.position)

    def stalled(self, now_ms: int, after_ms: int) -> Claim | None:
        """Return a claim of which records wait, and none was counted since `after_ms` ago, if there is one.

        To be asked again and again: the time runs from when a backlog was first seen where it still is.
        """
        for claim in self.claims.values():
            if claim.end <= claim.position:
                claim.waiting_at = -1
            elif claim.waiting_at != claim.position:
                claim.waiting_at, claim.waiting_since_ms = claim.position, now_ms
            elif now_ms - claim.waiting_since_ms > after_ms:
                return claim
        return None

    def next_epoch(self) -> int:
        """Return a number that no fetch carries yet."""
        self._epoch += 1
        return self._epoch

    def fetch_failed(self, partition: TP, error: Exception) -> None:
        """Note that a partition could not be read where it stands (called from the consumer's thread)."""
        claim = self.claims.get(partition)
        if claim is not None:
            self.drop(claim, f"fetch failed: {type(error).__name__}")

    async def _write(self, claim: Claim, fields: dict[str, bytes]) -> bool:
        try:
            reply = await self._run(
                "flush", scripts.FLUSH, self._key(claim.tp), claim.nonce, claim.stored, *_flat(fields)
            )
        except (RedisError, OSError, TimeoutError) as error:
            # Written or not: nobody knows. Whoever claims next will see.
            refusal = _refusal_of(error)
            self._instruments.redis_up(False, refusal)
            self.drop(claim, f"refused: {refusal}" if refusal else f"no reply: {type(error).__name__}")
            return False
        self._instruments.redis_up(True)
        if reply != b"ok":
            self.drop(claim, reply.decode() if isinstance(reply, bytes) else "fenced")
            return False
        claim.alive_s = self._clock_s()
        return True

    async def _sweep(self, claim: Claim) -> None:
        while claim.stale:
            some, claim.stale = claim.stale[: scripts.MAX_SWEEP], claim.stale[scripts.MAX_SWEEP :]
            try:
                await self._run("sweep", scripts.SWEEP, self._key(claim.tp), claim.nonce, claim.stored, *some)
            except (RedisError, OSError, TimeoutError):
                # Leftovers are harmless: they are found again at the next claim.
                return

    def _alive(self, claim: Claim) -> layout.Alive:
        claim.end = max(claim.end, self._source().log_end(claim.tp) or 0, claim.position)
        return layout.Alive(self._now_ms(), self._worker, claim.end, claim.advanced_ms)

    async def _run(self, name: str, script: str, key: str, *arguments: str | bytes | int) -> "list[bytes] | bytes":
        with self._instruments.redis_command(name):
            command: Awaitable[list[bytes] | bytes] = self._redis().eval(script, 1, key, *arguments)
            try:
                return await command
            except ResponseError as error:
                if "WRONGTYPE" in str(error):
                    raise DataError(f"the key {key} holds another type, which is not ours") from None
                raise


def _refusal_of(error: Exception) -> str:
    """Return what Redis answered instead of obeying; empty when it did not answer."""
    return str(error) if isinstance(error, ResponseError | AuthenticationError) else ""


async def _are_sent(sending: set[Awaitable[object]]) -> bool:
    if not sending:
        return True
    results = await asyncio.gather(*sending, return_exceptions=True)
    return not any(isinstance(result, BaseException) for result in results)


def _flat(fields: Mapping[str, bytes]) -> list[str | bytes]:
    return [part for pair in fields.items() for part in pair]


def anchor_of(raw: bytes | None, arrived_ms: int) -> int:
    """Return the fingerprint by which a record is recognised."""
    return digest(raw or b"", arrived_ms) >> 1
