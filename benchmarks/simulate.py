"""False alarms, delays and peeking, by simulation: `make simulate`, a few minutes of one core.

    python -m benchmarks.simulate                     # what benchmarks/README.md shows
    python -m benchmarks.simulate --years 2 --runs 100

Every figure stands beside what promises it: the budget, the formula of the sizing, or the design's own simulation.
Exits with 1 when a bound does not hold: false alarms above the budget (beyond what chance explains), median delays
further than a quarter from the design's or (and two minutes) from the sizing formula's, sequences above 5 %.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, sqrt
from pathlib import Path

import numpy as np

from benchmarks import peeking
from benchmarks.batch import alarms, offset_rule
from benchmarks.worlds import CLUSTER_SHARES, DAY, Ints, World, exact, minutes
from stream_app.statistics.drops import DROPS, Plan, log_threshold
from stream_app.statistics.sizing import Traffic, delays
from stream_app.statistics.tempering import eta

DESIGN = {0.2: 223, 0.33: 61, 0.5: 24, 0.8: 6}
"""Median minutes of 500 injected drops each, in the simulation from which the detector was chosen."""
TIGHT_BATCH = 8  # shops of a year held in memory at a time
CLUSTERS = {y: round(1000 * share) for y, share in enumerate(CLUSTER_SHARES, 1)}

Row = dict[str, float | str]


def plan(world: World, budget: float, margin: float, etas: Sequence[float] = (1.0,) * 4) -> Plan:
    """Return the plan of a floor `margin` below the shop's ratio."""
    return Plan(world.lift * (1 - margin), log_threshold(budget), etas=tuple(etas))


def tempered(world: World, margin: float) -> tuple[float, ...]:
    """Return the eta of each alternative for the shop's clusters."""
    share = world.holdout_share
    floor = world.lift * (1 - margin)
    return tuple(eta(floor, r, (1 - share) / share, CLUSTERS) for r in DROPS)


def false_alarms(rng: np.random.Generator, world: World, watched: Plan, years: int) -> tuple[float, float]:
    """Return alarms a year, without any drop: of the detector, and of the Prometheus offset rule."""
    fired = rule = 0
    for begin in range(0, years, TIGHT_BATCH):
        shops = [minutes(world, rng, 365) for _ in range(min(TIGHT_BATCH, years - begin))]
        fired += sum(len(times) for times in alarms(watched, shops))
        rule += sum(incidents(offset_rule(shop)) for shop in shops)
    return fired / years, rule / years


def incidents(times: Ints, apart: int = 60) -> int:
    """Return how many pages these are, in the rule's favour: what flaps within the hour is one."""
    return int(len(times) > 0) + int((np.diff(times) > apart).sum())


def first_after(times: Ints, begin: int) -> float:
    """Return how long after `begin` something fires first; inf for not within a day."""
    later = times[(times >= begin) & (times < begin + DAY)]
    return float(later[0] - begin + 1) if len(later) else inf


def seen_after(rng: np.random.Generator, world: World, watched: Plan, drop: float, runs: int) -> dict[str, list[float]]:
    """Return the minutes until an injected drop, at any time of the day, is seen; inf for not within a day."""
    begins = rng.integers(DAY, 2 * DAY, runs)
    shops = [minutes(world, rng, 3, drop, int(begin)) for begin in begins]

    def firsts(fired: Sequence[Ints]) -> list[float]:
        return [first_after(times, int(begin)) for times, begin in zip(fired, begins, strict=True)]

    return {"detector": firsts(alarms(watched, shops)), "rule": firsts([offset_rule(shop) for shop in shops])}


def quantiles(times: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the 90 % quantile and the share seen; of times that may be inf."""
    ordered = sorted(times)
    found = sum(t < inf for t in ordered) / len(ordered)
    return ordered[(len(ordered) - 1) // 2], ordered[int(0.9 * (len(ordered) - 1))], found


def delay_rows(rng: np.random.Generator, runs: int) -> list[Row]:
    """Return a row per drop: minutes until it is seen, beside the design's, the formula's, and the rule's."""
    world = World()
    watched = plan(world, 1.0, 0.05)
    traffic = Traffic(world.impressions_a_day, world.holdout_share, world.holdout_ctr, world.lift - 1)
    formula = {delay.drop: delay.minutes for delay in delays(traffic, watched.log_threshold, list(DESIGN))}
    rows: list[Row] = []
    for drop, design in DESIGN.items():
        seen = seen_after(rng, world, watched, drop, runs)
        median, p90, found = quantiles(seen["detector"])
        rule_median, rule_p90, _ = quantiles(seen["rule"])
        rows.append({
            "drop": drop, "median": median, "p90": p90, "seen within a day": found, "design": design,
            "formula": round(formula[drop], 1), "rule median": rule_median, "rule p90": rule_p90,
        })  # fmt: skip
    return rows


def false_alarm_rows(rng: np.random.Generator, years: int) -> list[Row]:
    """Return a row per shop and budget: false alarms a year, of the detector and of the Prometheus rule."""
    real, tight = World(), exact(World())
    clustered, tight_clustered = replace(real, is_clustered=True), replace(tight, is_clustered=True)
    cases: list[tuple[str, World, float, float, bool]] = [
        ("realistic, floor 5 % below", real, 0.05, 1.0, False),
        ("realistic, clustered clicks, eta of the histogram", clustered, 0.05, 1.0, True),
        ("ratio exactly at the floor", tight, 0.0, 365.0, False),
        ("ratio exactly at the floor", tight, 0.0, 52.0, False),
        ("at the floor, clustered clicks, eta of the histogram", tight_clustered, 0.0, 365.0, True),
        ("at the floor, clustered clicks, eta of the histogram", tight_clustered, 0.0, 52.0, True),
        ("at the floor, clustered clicks, eta 1: wrong", tight_clustered, 0.0, 365.0, False),
    ]
    rows: list[Row] = []
    for name, world, margin, budget, is_tempered in cases:
        etas = tempered(world, margin) if is_tempered else (1.0,) * len(DROPS)
        fired, rule = false_alarms(rng, world, plan(world, budget, margin, etas), years)
        rows.append({"shop": name, "budget a year": budget, "alarms a year": fired, "rule a year": rule})
    return rows


def peeking_rows(rng: np.random.Generator, runs: int) -> list[Row]:
    """Return a row per test of nothing: the share that ever finds something."""
    last, peeked, sequence = peeking.false_lifts(rng, runs, n_star=3_000)
    rows: list[Row] = [
        {"test": "lift, fixed 95 %, one look at the end", "finds nothing as something": last},
        {"test": "lift, fixed 95 %, hourly looks", "finds nothing as something": peeked},
        {"test": "lift, confidence sequence, hourly looks", "finds nothing as something": sequence},
    ]
    for alpha in (0.05, 0.001):
        chi, bayes = peeking.false_mismatches(rng, 2 * runs, alpha)
        rows.append({"test": f"mismatch, chi-square {alpha}, hourly looks", "finds nothing as something": chi})
        rows.append({"test": f"mismatch, Bayes factor {alpha}, hourly looks", "finds nothing as something": bayes})
    return rows


def broken(false: Sequence[Row], late: Sequence[Row], peeked: Sequence[Row], years: int) -> list[str]:
    """Return which bounds do not hold, in words."""
    said = []
    for row in false:
        budget, fired = float(row["budget a year"]), float(row["alarms a year"])
        if "wrong" not in str(row["shop"]) and fired > budget + 3 * sqrt(budget / years):
            said.append(f"{row['shop']}: {fired} alarms a year, budget {budget}")
    for row in late:
        median, design, formula = (float(row[name]) for name in ("median", "design", "formula"))
        if abs(median / design - 1) > 0.25:
            said.append(f"drop {row['drop']}: median {median} min, design {design}")
        # Of a few minutes a quarter is less than the pane: two minutes are allowed.
        if abs(median - formula) > max(0.25 * formula, 2):
            said.append(f"drop {row['drop']}: median {median} min, formula {formula}")
    said += [
        f"{row['test']}: {row['finds nothing as something']}"
        for row in peeked
        if "sequence" in str(row["test"]) and float(row["finds nothing as something"]) > 0.05
    ]
    return said


def show(title: str, rows: Sequence[Row]) -> None:
    print(f"\n{title}\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()) + " |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=4, help="of each shop without a drop (4)")
    parser.add_argument("--runs", type=int, default=400, help="injected drops of each size (400)")
    parser.add_argument("--peeks", type=int, default=300, help="pairs of equal arms (300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    args = parser.parse_args()
    parts: list[Callable[[np.random.Generator], list[Row]]] = [
        lambda rng: delay_rows(rng, args.runs),
        lambda rng: false_alarm_rows(rng, args.years),
        lambda rng: peeking_rows(rng, args.peeks),
    ]
    titles = (
        "Minutes until a drop is seen (budget 1 a year, 2,000,000 impressions a day, holdout 10 %)",
        f"False alarms a year, {args.years} years each, beside `ctr[5m] < 0.8 * offset 1d for 5m`",
        "Four weeks of hourly looks at two equal arms",
    )
    results = []
    for i, (title, part) in enumerate(zip(titles, parts, strict=True)):
        results.append(part(np.random.default_rng([args.seed, i])))  # a part of its own is the same as within the whole
        show(title, results[-1])
        sys.stdout.flush()
    late, false, peeked = results
    if args.json:
        args.json.write_text(json.dumps({"delays": late, "false_alarms": false, "peeking": peeked}, indent=1) + "\n")
    said = broken(false, late, peeked, args.years)
    print("\n" + ("\n".join(said) if said else "every bound holds"))
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())
