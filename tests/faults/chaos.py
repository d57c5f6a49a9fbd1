"""Chaos: continuous production, faults all the time, then quiet; then every cell is compared with a recount.

    python -m tests.faults.chaos --minutes 10 --seed 1
    python -m tests.faults.chaos --events 100000 --faults 30 --seed 1
    python -m tests.faults.chaos --soak-hours 1

The summary is text that can be pasted. What was counted under faults is compared at the end, when everything that was
sent must be there: nothing lost, nothing doubled, in time.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import linear_regression, pstdev
from typing import NamedTuple

import psutil

from tests.faults.ground import Ground
from tests.faults.schedule import Storm, schedule
from tests.faults.verify import Verdict

CONVERGED_S = 120.0
PATIENCE_S = 30.0
TREND_MINUTES = 20


class Summary(NamedTuple):
    """What a run came to."""

    seed: int
    seconds: float
    verdict: Verdict
    faults: Counter[str]
    drops: Counter[str]
    ended_by_themselves: int
    last_words: Sequence[str]
    longest_stall_s: float
    converged_s: float
    command: str

    @property
    def is_exact(self) -> bool:
        """Whether everything was counted, once."""
        return self.verdict.is_exact and self.converged_s < CONVERGED_S

    def __str__(self) -> str:
        verdict = self.verdict
        kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(self.faults.items()))
        drops = ", ".join(f"{reason} {number}" for reason, number in sorted(self.drops.items())) or "none"
        lines = [
            f"seed {self.seed}: {verdict.records:,} records, {self.faults.total()} faults in {self.seconds:.0f} s",
            f"  {verdict.lost} lost, {verdict.doubled} doubled; {verdict.cells:,} cells (slice and hour) compared",
            f"  faults: {kinds}",
            f"  refused and claimed again: {drops}",
            f"  workers that ended by themselves: {self.ended_by_themselves}",
            *(f"    {words}" for words in self.last_words),
            f"  longest time without progress {self.longest_stall_s:.1f} s",
            f"  all counted {self.converged_s:.1f} s after the last fault",
        ]
        if not self.is_exact:
            lines += [*verdict.differences[:10], f"again: {self.command}"]
        return "\n".join(lines)


def run(seed: int, directory: Path, *, events: int, faults: int, minutes: float = 0.0) -> Summary:
    """Run chaos over so many events and faults; or, with `minutes`, in steps of that size until the time is over."""
    began = time.monotonic()
    step = max(1, events // max(1, faults))
    command = f"python -m tests.faults.chaos --seed {seed} --events {events} --faults {faults}"
    if minutes:
        command = f"python -m tests.faults.chaos --seed {seed} --minutes {minutes:g}"
    ended = 0
    with Ground(seed, directory) as ground:
        storm = Storm(ground)
        ground.wait_for(lambda: len(ground.fleet.stored.owners()) == 4, PATIENCE_S)
        for kind in schedule(seed):
            is_over = time.monotonic() - began > minutes * 60 if minutes else len(storm.done) >= faults
            if is_over:
                break
            ground.send(step)

            def is_due(before: int = ground.sent - step // 2) -> bool:
                storm.end_due()
                return ground.progress() >= before

            ground.wait_for(is_due, PATIENCE_S)
            ended += ground.replace_workers()
            storm.strike(kind)
        storm.end_all()
        ground.proxy.heal()
        ended += ground.replace_workers()
        ground.send(step)
        quiet = time.monotonic()
        ground.wait_for(lambda: ground.progress() >= ground.sent, CONVERGED_S)
        converged_s = time.monotonic() - quiet
        verdict = ground.verdict()
        drops = ground.drops()
        stall_s, words = ground.longest_stall_s, tuple(ground.last_words.values())
    seconds = time.monotonic() - began
    return Summary(seed, seconds, verdict, Counter(storm.done), drops, ended, words, stall_s, converged_s, command)


def soak(hours: float, seed: int, directory: Path, rate: int, say: Callable[[str], object]) -> None:
    """Count at a steady rate; say minute by minute what the worker and Redis hold in memory, and whether it grows."""
    say(f"seed {seed}: {rate} records/s for {hours:g} h")
    say("  minute  worker MB  Redis MB")
    began = time.monotonic()
    samples: list[tuple[float, float]] = []
    with Ground(seed, directory, workers=1) as ground:
        worker = psutil.Process(ground.running[0].pid)
        second = 0
        while (elapsed := time.monotonic() - began) < hours * 3600:
            if elapsed < second:
                time.sleep(second - elapsed)  # the rate is the point here
            ground.send(rate)
            second += 1
            if second % 60 == 0:
                used = int(ground.client.info("memory")["used_memory"]) / 1e6
                samples.append((second / 60, worker.memory_info().rss / 1e6))
                say(f"  {second // 60:6d}  {samples[-1][1]:9.1f}  {used:8.1f}")
        ground.wait_for(lambda: ground.progress() >= ground.sent, CONVERGED_S)
        verdict = ground.verdict()
    for title, some in (
        ("second half", samples[len(samples) // 2 :]),
        (f"last {TREND_MINUTES} minutes", samples[-TREND_MINUTES:]),
    ):
        if len(some) > 2:
            line = linear_regression(*zip(*some, strict=True))
            noise = pstdev(megabytes - line.intercept - line.slope * minute for minute, megabytes in some)
            grown = line.slope * (some[-1][0] - some[0][0])
            say(f"  worker, {title}: {grown:+.1f} MB along a straight line, standard deviation from it {noise:.1f} MB")
    say(f"  {verdict.records:,} records, {verdict.lost} lost, {verdict.doubled} doubled")


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments say, print the summary; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument(
        "--events", type=int, default=0, help="to send in all; with --minutes: for each fault, times 30"
    )
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--soak-hours", type=float, default=0.0)
    parser.add_argument("--rate", type=int, default=2_000, help="records/s of the soak")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="lynceus-chaos-", ignore_cleanup_errors=True) as name:
        if given.soak_hours:
            soak(given.soak_hours, given.seed, Path(name), given.rate, partial(print, flush=True))
            return 0
        events = given.events or (300_000 if given.minutes else 100_000)
        summary = run(given.seed, Path(name), events=events, faults=given.faults, minutes=given.minutes)
    sys.stdout.write(f"{summary}\n")
    return int(not summary.is_exact)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
