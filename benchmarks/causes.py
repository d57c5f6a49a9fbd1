"""Does the watch say the right cause: seeds of the simulated world in every scenario, and what was said of each.

    python -m benchmarks.causes [--seeds 100] [--json FILE]     # the matrix of docs/verdicts.md, some minutes
    python -m benchmarks.causes --check [SCENARIO ...]          # the same from events, once; and that both agree

Each seed has a quiet day and two hours, begun at an hour of its own; from there every scenario goes its own way for
eight hours, often those of the night. What is said of the surface at the end counts, and beside it whether a drop was
ever paged that was none, and whatever was said of the quiet day. Exits with 1 where less than 95 % of a row is right,
or a drop was paged falsely.
"""

import argparse
import json
import resource
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import numpy as np

from benchmarks import counted, drawn
from producers.scenarios import phase
from producers.traits import ARM_WEIGHTS
from stream_app.core.panes import HOUR_MS
from stream_app.statistics.minutes import Minute
from stream_app.statistics.series import MINUTE_MS
from stream_app.statistics.verdicts import Cause, Verdict
from stream_app.statistics.watch import Policy, Watched, begin, observe

START_MS: Final = 1_748_736_000_000
RATE: Final = 6.0
"""Sessions per second: half a million a day, one and a half million impressions of the home page."""
EXPECTED: Final[dict[str, Cause]] = {
    "steady": "ok",
    "drop": "drop",
    "model-stale": "drop",
    "site-wide": "site_wide",
    "traffic-drop": "traffic",
    "instrumentation": "instrumentation",
    "srm": "mismatch",
    "context-dead": "context",
}
HOURS: Final = 8
POLICY: Final = Policy(shares=dict(ARM_WEIGHTS))
CHECKED: Final = (40, 60)
"""Minutes of events: quiet ones, and of a scenario."""
HASTY: Final = Policy(shares=dict(ARM_WEIGHTS), settle_ms=CHECKED[0] * MINUTE_MS // 2)
QUIET_MINUTES: Final = 26 * HOUR_MS // MINUTE_MS


class Said(NamedTuple):
    """What was said of a surface at the end, after how many minutes first, and whether a false drop was paged."""

    cause: Cause
    minutes: int | None
    is_paged_falsely: bool
    size: float | None


def watch(watched: Watched, minutes: Iterable[Minute], policy: Policy = POLICY) -> tuple[Watched, list[Verdict]]:
    """Return the state after the minutes, and all that was said on the way."""
    said: list[Verdict] = []
    for minute in minutes:
        watched, changed = observe(policy, watched, minute)
        said += changed
    return watched, said


def quiet(seed: int, policy: Policy = POLICY, minutes: int = QUIET_MINUTES) -> tuple[Watched, int, list[Verdict]]:
    """Return what is known after quiet days, when they are over, and what was said of them but that it is early."""
    rng = np.random.default_rng([seed, 0])
    start_ms = START_MS + int(rng.integers(168)) * HOUR_MS
    watched, said = watch(begin("home.hero"), drawn.minutes(rng, start_ms, minutes, RATE), policy)
    return watched, start_ms + minutes * MINUTE_MS, [verdict for verdict in said if verdict.cause != "not_enough"]


def judged(
    seed: int, scenario: str, watched: Watched, from_ms: int, hours: float = HOURS, policy: Policy = POLICY
) -> Said:
    """Return what is said in the end when a scenario holds from `from_ms` on."""
    count = round(60 * hours)
    rng = np.random.default_rng([seed, 1 + list(EXPECTED).index(scenario)])
    after, said = watch(watched, drawn.minutes(rng, from_ms, count, RATE, (phase(scenario, from_ms),)), policy)
    return summed_up(scenario, after, said, from_ms)


def summed_up(scenario: str, after: Watched, said: list[Verdict], from_ms: int) -> Said:
    """Return what was said in the end, when that was said first, and whether a drop was told that was none."""
    standing = after.standing
    cause: Cause = "ok" if standing is None else standing.cause
    first = next((verdict.at_ms for verdict in said if verdict.cause == cause and verdict.is_open), None)
    is_false = EXPECTED[scenario] != "drop" and any(v.cause == "drop" and v.is_open for v in said)
    size = None if standing is None or standing.size is None else standing.size.value
    return Said(cause, None if first is None else (first - from_ms) // MINUTE_MS + 1, is_false, size)


def of_seed(seed: int) -> tuple[dict[str, Said], list[Verdict]]:
    """Return what was said of each scenario by a seed, and what was said of the quiet day before."""
    watched, from_ms, early = quiet(seed)
    return {scenario: judged(seed, scenario, watched, from_ms) for scenario in EXPECTED}, early


def matrix(seeds: int, jobs: int) -> tuple[dict[str, list[Said]], list[Verdict]]:
    """Return what was said of each scenario by each seed, and what was said of all quiet days."""
    found: dict[str, list[Said]] = {scenario: [] for scenario in EXPECTED}
    unasked: list[Verdict] = []
    with ProcessPoolExecutor(jobs) as pool:
        for number, (said, early) in enumerate(pool.map(of_seed, range(seeds)), 1):
            for scenario, one in said.items():
                found[scenario].append(one)
            unasked += early
            print(f"\r{number} of {seeds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found, unasked


def rows(found: dict[str, list[Said]]) -> list[dict[str, object]]:
    """Return a row per scenario, as shown and stored."""
    told = []
    for scenario, said in found.items():
        right = [one for one in said if one.cause == EXPECTED[scenario]]
        delays = sorted(one.minutes for one in right if one.minutes is not None)
        told.append({
            "scenario": scenario,
            "expected": EXPECTED[scenario],
            "said": dict(Counter(one.cause for one in said).most_common()),
            "right": len(right) / len(said),
            "false pages": sum(one.is_paged_falsely for one in said),
            "median minutes": median(delays) if delays else None,
            "p90 minutes": delays[int(0.9 * (len(delays) - 1))] if delays else None,
        })  # fmt: skip
    return told


def show(told: list[dict[str, object]]) -> None:
    """Print the matrix as a table of Markdown."""
    causes = list(dict.fromkeys([*EXPECTED.values(), *(cause for row in told for cause in row["said"])]))  # type: ignore[attr-defined]  # a dict
    print("| scenario | " + " | ".join(causes) + " | right | false pages | median, p90 minutes |")
    print("|---" * (len(causes) + 4) + "|")
    for row in told:
        counts: dict[str, int] = row["said"]  # type: ignore[assignment]  # as above
        cells = [f"**{counts.get(c, 0)}**" if c == row["expected"] else str(counts.get(c, "")) for c in causes]
        late = "" if row["expected"] == "ok" else f"{row['median minutes']:g}, {row['p90 minutes']}"
        print(
            f"| {row['scenario']} | " + " | ".join(cells) + f" | {row['right']:.0%} | {row['false pages']} | {late} |"
        )


def check(scenarios: Sequence[str], rate: float = RATE) -> int:
    """Print what is said of every scenario from events, and where they are other than what is drawn; 1 where wrong."""
    wrong = 0
    noon_ms = START_MS + 12 * HOUR_MS
    from_ms = noon_ms + CHECKED[0] * MINUTE_MS
    for scenario in scenarios:
        schedule = (phase(scenario, from_ms),)
        seen = counted.minutes(1, noon_ms, sum(CHECKED), rate, schedule)
        watched, _ = watch(begin(drawn.SURFACE.name), seen[: CHECKED[0]], HASTY)
        after, said = watch(watched, seen[CHECKED[0] :], HASTY)
        found = summed_up(scenario, after, said, from_ms)
        other = list(drawn.minutes(np.random.default_rng(1), noon_ms, sum(CHECKED), rate, schedule))
        # Not the last minutes: what was clicked then is told later.
        odd = counted.differences(seen[CHECKED[0] : -5], other[CHECKED[0] : -5])
        # An hour after forty minutes is short: where nothing is said yet, nothing wrong is.
        wrong += found.cause not in (EXPECTED[scenario], "ok") or bool(odd)
        print(f"{scenario}: {found.cause} after {found.minutes} minutes; differs in {odd or 'nothing'}", flush=True)
    return int(wrong > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1, help="processes (1); the figures are the same")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--check", nargs="*", choices=EXPECTED, help="make the events of these instead; of all")
    args = parser.parse_args()
    if args.check is not None:
        return check(args.check or list(EXPECTED))
    found, unasked = matrix(args.seeds, args.jobs)
    told = rows(found)
    show(told)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = round(used.ru_utime + used.ru_stime)
    print(f"\n{args.seeds} seeds, {seconds} s of one core")
    for verdict in unasked:
        print(f"on a quiet day: {verdict.id}: {verdict.words}")
    if args.json:
        whole = {"seeds": args.seeds, "seconds": seconds, "scenarios": told, "said of quiet days": len(unasked)}
        args.json.write_text(json.dumps(whole, indent=1) + "\n")
    return int(any(float(str(row["right"])) < 0.95 or row["false pages"] for row in told))


if __name__ == "__main__":
    raise SystemExit(main())
