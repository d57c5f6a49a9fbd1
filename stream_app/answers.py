"""What is asked on the command line about metrics, and the answers in words."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import click

from stream_app.core.inputs import AMOUNTS, Figure
from stream_app.metrics.catalogue import FAMILIES, FAMILY_OF
from stream_app.metrics.description import described
from stream_app.metrics.methods import Proportion, WeightedProportion
from stream_app.metrics.metric import Metric
from stream_app.rendering.listing import definition, listing
from stream_app.serving.asking import view_now
from stream_app.serving.context import TRIGGERED, ContextAnswer, Indexed, context
from stream_app.serving.queries import Answer, BadQueryError, Held, ToldFigure, named, query
from stream_app.serving.server import meaning_of
from stream_app.serving.snapshot import Snapshot, encode
from stream_app.settings import Settings
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.waterfall import Step


def listed(settings: Settings, name: str | None, family: str | None, *, as_json: bool) -> str:
    """Return the metrics (of one family), or all about one; as text or as JSON.

    Raises click.UsageError for a name that does not exist.
    """
    families = {each.name: each for each in FAMILIES}
    try:
        if family:
            families = {family: families[named(family, "family", families)]}
        metrics = {metric.name: metric for each in families.values() for metric in each.metrics}
        chosen = metrics[named(name, "metric", metrics)] if name else None
    except BadQueryError as error:
        raise _unknown(error) from None
    if as_json:
        whole = described(chosen) if chosen else [described(metric) for metric in metrics.values()]
        return json.dumps(whole, indent=2, ensure_ascii=False)
    if chosen:
        return definition(chosen, FAMILY_OF[chosen.name], settings.counting.currency)
    return listing([*families.values()])


async def answered(settings: Settings, asked: Mapping[str, str], *, as_json: bool) -> str:
    """Return the answer that the state in Redis has to `asked`: metric, window, dimensions; as text or as JSON.

    Raises click.UsageError for what does not exist, and LynceusError when Redis does not answer.
    """
    meaning = meaning_of(settings)
    metrics = {metric.name: metric for metric in meaning.metrics}
    try:
        metric = metrics[named(asked["metric"], "metric", metrics)]  # before Redis is read
        view = await view_now(settings)
        answer = query(view, meaning, asked.items())
    except BadQueryError as error:
        raise _unknown(error) from None
    return encode(answer).decode() if as_json else told(answer, metric, view.snapshot, settings.counting.currency)


async def of_context(settings: Settings, asked: Mapping[str, str], *, as_json: bool) -> str:
    """Return what the state in Redis says of context, by window and surface; as text or as JSON.

    Raises click.UsageError for what does not exist, and LynceusError when Redis does not answer.
    """
    try:
        view = await view_now(settings)
        answer = context(view, meaning_of(settings), asked.items())
    except BadQueryError as error:
        raise _unknown(error) from None
    return encode(answer).decode() if as_json else told_of_context(answer, view.snapshot)


def told_of_context(answer: ContextAnswer, snapshot: Snapshot) -> str:
    """Return a table of steps for each share, the index or what it lacks, the checks beside it, the reservations."""
    lines = [f"Context, window {answer.window}, {_where(answer) or 'all surfaces'}"]
    for metric, found in answer.waterfalls.items():
        title = f"  {metric}{', of moments in which context changed' if metric in TRIGGERED else ''}"
        if found is None:
            lines.append(f"{title}: not enough data")
            continue
        lines.append(title)
        for name in ("context", "personalization", "total"):
            step: Step = getattr(found, name)
            ratio = f"x {step.ratio:<7.4g} 95 % interval {step.low:.4g} to {step.high:.4g}"
            lines.append(f"    {name:16} {step.arm:12} over {step.against:13}  {ratio}   n {step.n:,}")
    if answer.relevance:
        lines += _indexed(answer.relevance)
    for name, share in (("revenue because of personalization", answer.incremental_share),
                        ("answered more of those asked than in context_blind", answer.answer_gap)):  # fmt: skip
        if share:
            bounds = f"95 % interval {share.low * 100:.4g} % to {share.high * 100:.4g} %"
            lines.append(f"  {name}: {share.value * 100:.4g} %   {bounds}   n {share.n:,}")
    return "\n".join([*lines, _span(answer, snapshot), *(f"  {each}" for each in _reservations(answer, snapshot))])


def _indexed(relevance: Indexed) -> list[str]:
    found = relevance.index
    if found is None:
        lacks = ", ".join(f"{part} {n} of {relevance.at_least}" for part, n in relevance.lacking.items())
        return [f"  index of contextual relevance: not enough data ({lacks})"]
    parts = f"response {found.response:.3g}, lift {found.lift:.3g}, feedback {found.feedback:.3g}"
    return [f"  index of contextual relevance: {found.value:.4g} of 100 ({parts})"]


def told(answer: Answer, metric: Metric, snapshot: Snapshot, currency: str) -> str:
    """Return what was asked, the estimate, and how far to trust it: three lines, and one for each reservation.

    An arm held against another one has three lines more: the other one's estimate, difference and ratio.
    """
    lines = [f"{metric.title} ({metric.name}), window {answer.window}, {_where(answer) or 'all of it'}"]
    lines.append(f"  {_estimate(answer.estimate, metric, currency)}")
    if answer.contrast:
        lines += _held(answer.contrast, metric, currency)
    lines.append(_span(answer, snapshot))
    lines += [f"  told: {_told(each, currency)}" for each in answer.told]
    lines += [f"  not told for the whole window: {figure}" for figure in answer.untold]
    lines += [f"  {reservation}" for reservation in _reservations(answer, snapshot)]
    return "\n".join(lines)


def _told(figure: ToldFigure, currency: str) -> str:
    value = f"{figure.value:,.2f} {currency}" if figure.key in AMOUNTS else f"{figure.value:g}"
    name = Figure(figure.key, figure.scope).text
    return f"{name} {value}, by {', '.join(figure.authors)} on {_time(figure.told_ms)} UTC"


def _where(answer: Answer | ContextAnswer) -> str:
    return ", ".join(f"{name} {value}" for name, value in answer.where.items())


def _span(answer: Answer | ContextAnswer, snapshot: Snapshot) -> str:
    state = "complete" if answer.complete else "incomplete"
    span = f"{_time(answer.start_ms)} to {_time(answer.end_ms)} UTC" if snapshot.end_ms else "nothing counted yet"
    return f"  {span}, {answer.maturity:.0%} settled, {state}"


def _reservations(answer: Answer | ContextAnswer, snapshot: Snapshot) -> list[str]:
    told = {
        "replaying: a state was lost or went back and is being counted anew, so everything is too low": (
            answer.replaying
        ),
        "gapped: the window reaches back to records that were gone before they were counted": answer.gapped,
        "rekeyed: the window reaches back to before partitions were added": answer.rekeyed,
    }
    unseen = [f"never counted: {name} {answer.where[name]}" for name in answer.unseen]
    because = [] if answer.complete else [f"incomplete: {reason}" for reason in snapshot.incomplete_because]
    return [*because, *(text for text, is_so in told.items() if is_so), *unseen]


def _held(held: Held, metric: Metric, currency: str) -> list[str]:
    lines = [f"  against {held.against}: {_estimate(held.base, metric, currency)}"]
    if held.difference:
        # Of two shares it is in points: 5 % against 4 % is a point more, and a quarter more.
        lines.append(f"  difference: {_estimate(held.difference, metric, currency, 'points')}")
    if held.ratio:
        low, high = held.ratio.low, held.ratio.high
        lines.append(f"  ratio: {held.ratio.value:.4g}   95 % interval {low:.4g} to {high:.4g}")
    if held.difference or held.ratio:
        lines.append("  intervals are for one look at a time chosen beforehand, not for watching")
    return lines


def _estimate(estimate: Estimate | None, metric: Metric, currency: str, of_shares: str = "%") -> str:
    if estimate is None:
        return "not enough data"
    figures = (estimate.value, estimate.low, estimate.high)
    value, low, high = (_figure(each, metric, currency, of_shares) for each in figures)
    return f"{value}{f'   95 % interval {low} to {high}' if metric.has_interval else ''}   n {estimate.n:,}"


def _figure(number: float, metric: Metric, currency: str, of_shares: str = "%") -> str:
    # Four cases: a share, money, another ratio, or so many of something.
    if isinstance(metric.method, Proportion | WeightedProportion):
        return f"{number * 100:.4g} {of_shares}"
    if metric.unit == "currency":
        return f"{number:,.2f} {currency}"
    return f"{number:.4g}" if metric.unit == "ratio" else f"{number:,.6g} {metric.unit}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _unknown(error: BadQueryError) -> click.UsageError:
    return click.UsageError(f"{error.message}; there is {', '.join(error.near)}" if error.near else error.message)
