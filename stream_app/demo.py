"""The demonstration: everything in one command, with whatever of Kafka and Redis the machine does not have.

this process                       child            child
Open Bandit replay --> Kafka --> worker --> Redis --> server --> wall, API, /metrics
simulated shop     --'
"""

import heapq
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple, Self

from rich.console import Console
from rich.table import Table

from producers import open_bandit, replay, scenarios, seasons, truth
from producers.producing import publish
from producers.publisher import Publisher
from producers.transit import records
from producers.world import EVENTS_PER_SESSION, World
from stream_app.core import cells as layout
from stream_app.core.events import Arm
from stream_app.errors import LynceusError
from stream_app.progress import Bar
from stream_app.stack import Stack

AHEAD_RECORDS: Final = 20_000
"""How far a replay may run ahead of the worker: well within what the mock cluster keeps."""
OPENING_MS: Final = 3_600_000
OPENING_EVENTS: Final = 120_000
"""The shop has been open for an hour, so that the wall has a chart and the watch knows what is normal; with less
traffic than from now on."""
ARMS: Final[dict[Arm, float]] = {"personalized": 0.4, "context_blind": 0.3, "holdout": 0.3}
"""As few people as there are here: with a holdout of a tenth, as one would have it, its line would be mostly chance."""
SCENARIO_AFTER_S: Final = 20
AGAIN_AFTER_S: Final = 1.0
"""How long an interrupt has to get out of what it interrupted."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


class Plan(NamedTuple):
    """What was asked for on the command line."""

    data: Path | None
    is_apache: bool
    scenario: str
    rate: float
    seed: int


def once(plan: Plan, *, as_json: bool) -> None:
    """Replay the Open Bandit files, count them, print what came of it, and leave nothing behind."""
    console = _console(stderr=True)
    directory = plan.data or open_bandit.DATA
    logs = open_bandit.scan(directory)
    with Interrupts() as interrupts, Stack(plan.is_apache, _sayer(console)) as stack:
        before = stack.progressed()
        with Publisher(stack.settings.kafka) as publisher, interrupts.repeated():
            began = time.monotonic()
            sent = _replay(stack, publisher, directory, logs, before.applied, console)
            stack.wait_for(before.applied + sent)
            elapsed = time.monotonic() - began
        after = stack.progressed()
        stack.wait_until_shown(after.applied)
        outcomes = {name: after.outcomes[name] - before.outcomes[name] for name in layout.OUTCOMES}
        result = {
            "records": after.applied - before.applied,
            "outcomes": outcomes,
            "slices": [_slice(stack, log) for log in logs],
            "events_per_second": round(sent / elapsed, 1),
        }
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        _print_rates(_console(), result["slices"])  # type: ignore[arg-type]  # a list of slices
        Console().print(f"{result['records']:,} records: " + ", ".join(f"{n:,} {o}" for o, n in outcomes.items() if n))


def live(plan: Plan) -> None:
    """Replay the Open Bandit files, then run the shop until interrupted, and leave nothing behind."""
    console = _console(stderr=True)
    directory = plan.data or open_bandit.DATA
    logs = open_bandit.scan(directory)
    scenarios.parse(plan.scenario, 0)  # a wrong name is said before anything is started
    try:
        with Interrupts() as interrupts, Stack(plan.is_apache, _sayer(console)) as stack:
            console.print(
                f"[bold]wall    {stack.url}/wall[/]\n  API     {stack.url}/v1/view\n  metrics {stack.url}/metrics"
            )
            before = stack.progressed().applied
            with Publisher(stack.settings.kafka) as publisher, interrupts.repeated():
                _live(plan, stack, publisher, directory, logs, before, console)
    except KeyboardInterrupt:
        console.print("stopped; nothing is left behind")


def _live(
    plan: Plan,
    stack: Stack,
    publisher: Publisher,
    directory: Path,
    logs: tuple[open_bandit.Log, ...],
    before: int,
    console: Console,
) -> None:
    now = _now_ms()
    world = World(plan.seed, arms=ARMS)
    opening_rate = min(plan.rate, OPENING_EVENTS / EVENTS_PER_SESSION / (OPENING_MS / 1000))
    opening = world.events(now - OPENING_MS, opening_rate / seasons.traffic(now - OPENING_MS // 2))
    past = takewhile(lambda event: event.ts < now, opening)
    recorded = sum(log.impressions + log.clicks for log in logs)
    with Bar(console, None, "replaying a week of real clicks") as progress:
        result = replay.replay(
            heapq.merge(open_bandit.events(directory, now), past, key=lambda event: event.ts),
            publisher,
            gate=lambda sent: stack.wait_for(before + sent - AHEAD_RECORDS),
            progress=progress,
        )
    stack.wait_for(before + result.events)
    stack.wait_until_shown(before + result.events)
    console.print(f"{result.events:,} events counted, {recorded:,} of them real; now the simulated shop, until Ctrl-C")
    _print_rates(console, [_slice(stack, log) for log in logs])
    _print_truth(console, world)
    now = _now_ms()
    world.schedule = (scenarios.parse(plan.scenario, now + SCENARIO_AFTER_S * 1000),)
    stop = threading.Event()
    with stack.watched(stop):
        # Whoever looks at night wants to see as much as by day.
        publish(records(world, world.happenings(now, plan.rate / seasons.traffic(now))), publisher, stop)
    stack.check()


def _replay(
    stack: Stack,
    publisher: Publisher,
    directory: Path,
    logs: tuple[open_bandit.Log, ...],
    before: int,
    console: Console,
) -> int:
    expected = sum(log.impressions + log.clicks for log in logs)
    with Bar(console, expected) as progress:
        result = replay.replay(
            open_bandit.events(directory, _now_ms()),
            publisher,
            gate=lambda sent: stack.wait_for(before + sent - AHEAD_RECORDS),
            progress=progress,
        )
    if result.delivery.failed:
        raise LynceusError(f"{result.delivery.failed} events were not delivered: {result.delivery.first_error}", "")
    return result.events


def _slice(stack: Stack, log: open_bandit.Log) -> dict[str, Any]:
    arm = open_bandit.arm_of(log.policy) or "none"
    answer = stack.query(metric="ctr", window="all", surface=log.campaign, arm=arm, policy=log.policy)
    return {
        "surface": log.campaign,
        "arm": arm,
        "policy": log.policy,
        "impressions": answer["measures"]["impressions"],
        "clicks": answer["measures"]["clicks"],
        "ctr": answer["estimate"],
    }


def _print_rates(console: Console, slices: list[dict[str, Any]]) -> None:
    table = Table("surface", "policy", "arm", "shown", "clicks", "CTR (95 % interval)", "published")
    for row in slices:
        ctr, published = row["ctr"], open_bandit.PUBLISHED_CTR.get(row["policy"])
        table.add_row(
            row["surface"],
            row["policy"],
            row["arm"],
            f"{row['impressions']:,}",
            f"{row['clicks']:,}",
            f"{ctr['value']:.2%} ({100 * ctr['low']:.3f}-{100 * ctr['high']:.3f})" if ctr else "not enough data",
            f"{published:.2%}" if published else "",
        )
    console.print(table)


def _print_truth(console: Console, world: World) -> None:
    """Print the true rates of the simulated shop: what the wall must come to show, but for the mood of the hour."""
    by_surface = truth.rates(world.population)
    table = Table("surface", *(f"true CTR, {arm}" for arm in world.population.arms))
    for surface, by_arm in by_surface.items():
        table.add_row(surface, *(f"{rates['ctr']:.2%}" for rates in by_arm.values()))
    console.print(table)


def _console(*, stderr: bool = False) -> Console:
    """Return a console that is wide enough for its tables also where there is no terminal."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=110)


def _sayer(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(f"[dim]lynceus[/] {text}")


class Interrupts:
    """Ctrl-C, and SIGTERM as well, end the demonstration, so that nothing is left behind.

    An interrupt is an exception wherever the interpreter is just then; in a destructor Python ignores it. So within
    `repeated` it is raised again until it gets out. Does nothing outside the main thread, where no signal arrives.
    """

    def __enter__(self) -> Self:
        self._is_repeated = False
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in _SIGNALS}
            # A shell has what it runs in the background ignore Ctrl-C.
            self._before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
            for number in self._before:
                signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @contextmanager
    def repeated(self) -> Iterator[None]:
        """Raise again what got lost, until the end of the block: what is done after it is not disturbed."""
        self._is_repeated = True
        try:
            yield
        finally:
            self._is_repeated = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._is_repeated:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_AFTER_S)
        raise KeyboardInterrupt


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
