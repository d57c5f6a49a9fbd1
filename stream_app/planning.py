"""`lynceus plan`: how large a holdout must be, and how long until a drop is seen, before anything is switched on."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

import click
import msgspec

from stream_app.core.panes import DAY_MS
from stream_app.errors import LynceusError
from stream_app.serving.snapshot import WindowView
from stream_app.statistics.drops import log_threshold
from stream_app.statistics.sizing import Delay, Traffic, delays, holdout_share

HOLDOUT: Final = 0.1
LIFT: Final = 0.25
DROPS: Final = (0.2, 0.33, 0.5, 0.8)
HOLDOUTS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Shares that are set beside the one asked about."""
WINDOW: Final = "24h"
LIVE_TIMEOUT_S: Final = 10.0
AT_LEAST: Final = 30
"""Clicks of the holdout from which its click rate is taken: with fewer it may as well be half as high."""
_NUMBER: Final = re.compile(r"\s*([+-]?)([0-9]*\.?[0-9]+)\s*(%?)\s*")
_UNITS: Final = {"m": 1.0, "h": 60.0, "d": 1440.0}


def share_of(text: str, option: str) -> float:
    """Return a share of the command line, 10% or 0.1, as a ratio; a bare number above 1 may mean either.

    Raises click.UsageError for anything else.
    """
    found = _NUMBER.fullmatch(text)
    if found is None or (not found[3] and float(found[2]) > 1):
        raise click.UsageError(f"{option} {text!r} is no share; write 10% or 0.1")
    return float(f"{found[1]}{found[2]}") / (100 if found[3] else 1)


def minutes_of(text: str, option: str) -> float:
    """Return a time of the command line in minutes: 45m, 2h, 1d. Raises click.UsageError for anything else."""
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)([mhd])", text)
    if found is None or float(found[1]) == 0:
        raise click.UsageError(f"{option} {text!r} is no time; write 45m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]


class Promise(msgspec.Struct, frozen=True):
    """What the watch promises: false alarms a year over all series; by how much the lift may breathe."""

    budget_a_year: float
    series: int
    margin: float


class Needed(msgspec.Struct, frozen=True):
    """The least holdout with which a drop is seen in time; None where not even a half is enough."""

    drop: float
    within_minutes: float
    holdout_share: float | None


class Row(msgspec.Struct, frozen=True):
    """How long each drop takes with a holdout of this share."""

    holdout_share: float
    delays: tuple[Delay, ...]


class Plan(msgspec.Struct, frozen=True):
    """All that `lynceus plan` tells; minutes are of average traffic, None where a drop is never seen."""

    traffic: Traffic
    promise: Promise
    log_threshold: float
    rows: tuple[Row, ...]
    needed: tuple[Needed, ...]


def asked(url: str | None, surface: str | None, told: Mapping[str, Any]) -> Plan:
    """Return the plan for what was asked on the command line: `told` has its options by name, None where not given.

    Raises click.UsageError for what is missing, given twice or no number, LynceusError for what cannot be.
    """
    given = {name: value for name, value in told.items() if value is not None}
    shares = {
        name: share_of(given[name], f"--{name}") for name in ("holdout", "ctr", "lift", "margin") if name in given
    }
    if url and surface:
        twice = {"impressions", "holdout", "ctr", "lift"}.intersection(given)
        if twice:
            raise click.UsageError(f"--{min(twice)} and --live both tell the traffic; choose one")
        traffic = live(url, surface)
    elif "impressions" not in given or "ctr" not in shares:
        raise click.UsageError("--impressions and --ctr say what the surface sees; or --live URL --surface NAME")
    else:
        traffic = traffic_of(
            given["impressions"], shares.get("holdout", HOLDOUT), shares["ctr"], shares.get("lift", LIFT)
        )
    drops = [share_of(drop, "--drop") for drop in given["drops"]] or list(DROPS)
    within = minutes_of(given["within"], "--within") if "within" in given else None
    return planned(traffic, Promise(given["budget"], given["series"], shares["margin"]), drops, within)


def planned(traffic: Traffic, promise: Promise, drops: Sequence[float], within_minutes: float | None) -> Plan:
    """Return the plan for a surface.

    Raises LynceusError for a drop that is none, or a budget, a number of series or a margin that cannot be.
    """
    if not 0 <= promise.margin < 1:
        raise LynceusError(f"a margin of {promise.margin:g}", "It lies between 0 and 1; 5% is usual")
    try:
        threshold = log_threshold(promise.budget_a_year, promise.series)
        shares = sorted({*HOLDOUTS, traffic.holdout_share})
        rows = tuple(
            Row(
                share,
                tuple(delays(msgspec.structs.replace(traffic, holdout_share=share), threshold, drops, promise.margin)),
            )
            for share in shares
        )
        needed = tuple(
            Needed(drop, within, holdout_share(traffic, threshold, drop, within, promise.margin))
            for within in ([] if within_minutes is None else [within_minutes])
            for drop in drops
        )
    except ValueError as error:
        raise LynceusError(str(error), "`lynceus plan --help` says what each option is") from None
    return Plan(traffic, promise, threshold, rows, needed)


def traffic_of(impressions_a_day: float, share: float, ctr: float, lift: float) -> Traffic:
    """Return the traffic that was told. Raises LynceusError for what cannot be."""
    try:
        return Traffic(impressions_a_day, share, ctr, lift)
    except ValueError as error:
        raise LynceusError(str(error), "`lynceus plan --help` says what each option is") from None


def live(url: str, surface: str) -> Traffic:
    """Return the traffic of a surface in the last 24 hours, as a running server shows it.

    Of a server whose counts began within that time it is too little. Raises LynceusError when there is no answer, no
    such surface, or too few clicks in its holdout.
    """
    address = f"{url.rstrip('/')}/v1/view"
    if not address.startswith(("http://", "https://")):
        raise LynceusError(f"{url!r} is no address of a server", "Write http://127.0.0.1:8080")
    try:
        with urlopen(address, timeout=LIVE_TIMEOUT_S) as answer:  # noqa: S310  # http or https, as checked above
            view = msgspec.json.decode(answer.read(), type=_Windows)
    except (URLError, OSError, msgspec.MsgspecError) as error:
        raise LynceusError(
            f"{address} does not answer as a server of Lynceus: {error}", "Start `lynceus serve`"
        ) from None
    window = view.windows[WINDOW]
    arms = {row.arm: row.measures for row in window.rows if row.surface == surface}
    if not arms:
        known = ", ".join(sorted({row.surface for row in window.rows} - {"all"})) or "none yet"
        raise LynceusError(f"nothing was counted of surface {surface!r}", f"There is {known}")
    base, treated = (arms.get(arm, {}) for arm in ("holdout", "personalized"))
    if base.get("clicks", 0) < AT_LEAST or not treated.get("clicks", 0):
        raise LynceusError(
            f"the holdout of {surface} has {base.get('clicks', 0)} clicks in {WINDOW}, too few to plan with",
            "Tell the traffic instead: --impressions, --holdout, --ctr, --lift",
        )
    shown = base["impressions"] + treated["impressions"]
    ctr = base["clicks"] / base["impressions"]
    lift = treated["clicks"] / treated["impressions"] / ctr - 1
    return traffic_of(shown * DAY_MS / window.length_ms, base["impressions"] / shown, ctr, lift)


def as_json(plan: Plan) -> str:
    """Return the plan as JSON; what is never seen has null minutes."""
    return msgspec.json.format(msgspec.json.encode(plan)).decode()  # an infinite number is null there


def as_table(plan: Plan) -> str:
    """Return the plan in words and a table."""
    traffic, promise = plan.traffic, plan.promise
    drops = [delay.drop for delay in plan.rows[0].delays]
    seen = f"{traffic.impressions_a_day:,.0f} impressions a day, CTR of the holdout {traffic.holdout_ctr:.2%}"
    alarms = f"{promise.budget_a_year:g} false alarm{'s' * (promise.budget_a_year != 1)} a year"
    lines = [
        f"{seen}, lift {traffic.lift:+.0%}",
        f"at most {alarms} over {promise.series} series, margin {promise.margin:.0%}",
        "",
        "until it is seen, when so much of the click rate is lost (median, at average traffic):",
        "",
        f"{'holdout':<12}{'its clicks/day':>14}" + "".join(f"{f'-{drop:.0%}':>12}" for drop in drops),
    ]
    for row in plan.rows:
        is_own = row.holdout_share == traffic.holdout_share
        clicks = traffic.impressions_a_day * row.holdout_share * traffic.holdout_ctr
        times = "".join(f"{_time(delay.minutes):>12}" for delay in row.delays)
        lines.append(f"{f'{row.holdout_share:.3%}'.rstrip('0%').rstrip('.') + ' %':<12}{clicks:>14,.0f}{times}")
        if is_own:
            lines[-1] += "  <- yours"
            lines.append(f"{'  clicks that it takes':<26}" + "".join(f"{_clicks(delay):>12}" for delay in row.delays))
    if plan.needed:
        lines.append("")
    for needed in plan.needed:
        enough = f"{needed.holdout_share:.2%}" if needed.holdout_share else "not even a half is enough"
        lines.append(f"least holdout to see -{needed.drop:.0%} within {_time(needed.within_minutes)}: {enough}")
    return "\n".join(lines)


class _Windows(msgspec.Struct):
    """The part of /v1/view that is read here."""

    windows: dict[str, WindowView]


def _clicks(delay: Delay) -> str:
    return "never" if math.isinf(delay.minutes) else f"{delay.holdout_clicks:,.0f}"


def _time(minutes: float) -> str:
    # Four cases: within the margin, minutes, hours, days.
    if math.isinf(minutes):
        return "never"
    if minutes < 120:
        return f"{max(minutes, 1):.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 2880 else f"{minutes / 1440:.1f} d"
