"""`lynceus backtest`: what is asked of it on the command line, and what it prints."""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from stream_app import backtest_sources
from stream_app.backtest import Account, Backtest
from stream_app.errors import LynceusError
from stream_app.planning import minutes_of, share_of
from stream_app.serving import server
from stream_app.settings import Settings, VerdictsSettings
from stream_app.statistics.drops import log_threshold
from stream_app.statistics.series import MINUTE_MS
from stream_app.statistics.verdicts import Verdict, where
from stream_app.statistics.watch import Policy
from stream_app.worker.app import rules_of


def ran(settings: Settings, path: Path | None, topic: str | None, policy: Policy) -> tuple[Backtest, Account]:
    """Run the watch over a file or a topic. Raises LynceusError for what cannot be read."""
    rules = rules_of(settings.counting)
    if path is not None:
        # One partition does the work of all of them, and remembers as much as they do.
        whole = rules._replace(max_remembered=rules.max_remembered * settings.kafka.partitions)
        return backtest_sources.over_file(path, whole, policy, time.time_ns() // 1_000_000)
    assert topic is not None
    return backtest_sources.over_topic(settings.kafka, topic, rules, policy, time.monotonic)


def policy_of(settings: VerdictsSettings, told: Mapping[str, Any]) -> Policy:
    """Return what is asked of the watch: as a server asks it, but for the command's options that are given.

    `told` has the options by name, None or () where they are not given. Raises click.UsageError for what is no number,
    LynceusError for what cannot be.
    """
    given = {name: value for name, value in told.items() if value is not None}
    policy = server.policy_of(settings)
    shares = _promised(told["shares"]) or policy.shares
    margin = share_of(given["margin"], "--margin") if "margin" in given else policy.margin
    if not 0 <= margin < 1:
        raise LynceusError(f"a margin of {margin:g}", "It lies between 0 and 1; 5% is usual")
    budget, series = given.get("budget", policy.budget_a_year), given.get("series", policy.series)
    try:
        log_threshold(budget, series)
    except ValueError as error:
        raise LynceusError(str(error), "`lynceus backtest --help` says what each option is") from None
    settle_ms = int(minutes_of(given["settle"], "--settle") * MINUTE_MS) if "settle" in given else policy.settle_ms
    return msgspec.structs.replace(
        policy, budget_a_year=budget, series=series, margin=margin, shares=shares, settle_ms=settle_ms
    )


def _promised(texts: Sequence[str]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for text in texts:
        arm, equals, share = text.partition("=")
        if not equals or not arm or arm in shares:
            raise click.UsageError(f"--share {text!r} is no share of an arm; write holdout=10%, once for each arm")
        shares[arm] = share_of(share, "--share")
    if shares and (abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values()) <= 0):
        raise LynceusError(f"the arms' shares add up to {sum(shares.values()):.4g}", "Name every arm; they add up to 1")
    return shares


def as_json(source: str, backtest: Backtest, account: Account) -> str:
    """Return all verdicts, those that are open at the end, and the account, as JSON."""
    found = {
        "source": source,
        "verdicts": [told(verdict) for verdict in backtest.verdicts],
        "untold": backtest.untold,
        "standing": [told(verdict) for verdict in backtest.standing],
        "account": msgspec.to_builtins(account),
    }
    return json.dumps(found, indent=2)


def told(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain values, with its id."""
    plain: dict[str, Any] = msgspec.to_builtins(verdict)
    return {"id": verdict.id, **plain}


def as_table(source: str, backtest: Backtest, account: Account) -> str:
    """Return what would have been said, in the order of time, and what it rests on."""
    lines = [_account(source, account), ""]
    if backtest.verdicts:
        lines.append(
            f"{'said at (UTC)':<18}{'surface':<20}{'kpi':<12}{'cause':<16}{'':<8}{'since':<18}{'evidence':<16}size"
        )
    lines += [_line(verdict) for verdict in backtest.verdicts]
    if not any(verdict.cause != "not_enough" for verdict in backtest.verdicts):
        lines.append("nothing would have fired")
    if backtest.untold:
        lines.append(f"and {backtest.untold:,} more")
    standing = [f"{verdict.surface}: {verdict.words}" for verdict in backtest.standing]
    lines += ["", "at the end:", *(f"  {each}" for each in standing or ["all is well"])]
    return "\n".join(lines)


def _account(source: str, account: Account) -> str:
    outcomes = ", ".join(f"{number:,} {name}" for name, number in account.outcomes.items() if number)
    span = "no minute was sealed"
    if account.first_ms is not None and account.end_ms is not None:
        span = f"{account.minutes:,} minutes from {_time(account.first_ms)} to {_time(account.end_ms)} UTC"
    lines = [f"{source}: {account.records:,} records, {outcomes or 'none counted'}", f"{span}"]
    if account.skipped_minutes:
        lines.append(f"{account.skipped_minutes:,} minutes without any event were skipped")
    lines.append(f"watched: {', '.join(account.surfaces) or 'no surface'}")
    if account.one_armed:
        lines.append(f"not watched, for they were seen in one arm only: {', '.join(account.one_armed)}")
    return "\n".join(lines)


def _line(verdict: Verdict) -> str:
    evidence = f"{verdict.log_evidence:.1f} of {verdict.log_threshold:.1f}" if verdict.log_threshold else ""
    size = verdict.size
    share = f"{-size.value:+.0%} ({-size.high:+.0%} to {-size.low:+.0%})" if size and verdict.cause == "drop" else ""
    state = "opened" if verdict.is_open else "closed"
    line = (
        f"{_time(verdict.at_ms):<18}{verdict.surface:<20}{verdict.kpi:<12}{verdict.cause:<16}{state:<8}"
        f"{_time(verdict.since_ms):<18}{evidence:<16}{share}"
    )
    most = where(verdict)
    return "\n".join([line.rstrip(), *([f"{'':<18}most of it: {most}"] if most else [])])


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
