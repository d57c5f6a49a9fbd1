"""People: who comes back, how long they stay, and what they are worth, by the day on which they were first seen.

Days are calendar days in UTC; the day on which somebody is first seen has age 0, whatever its hour. All is told on the
day on which people are old enough for it (core/records.py, Aged): a window has those who came of that age in it, so
young people, who have not had the time to come back, are in none of its numbers. Long windows begin on the hour: in the
first hour of a day (UTC), one of 7 days has those of eight.

Somebody is active on a day with a page view, click, search, cart event, order, conversion or use of a feature.
Impressions do not count: they are shown to people, and are nine of ten events. Refunds do not either, and one of
somebody never seen changes nothing. Without analytics consent nobody is known, and nobody counted.

Rules. The event that arrives first decides when and in which arm somebody was first seen; one that is said to have
happened on the day before counts on the day itself. All else is the same in whatever order events arrive. Who was away
for longer than `HORIZON_MS` (or was forgotten for want of room) begins anew, and so does everybody on the first day of
a new installation. Orders are those in the reporting currency; one told twice, under two event ids, counts twice.
"""

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Final, NamedTuple

from stream_app.core.events import AnyEvent, Cart, Click, Conversion, FeatureUse, Order, PageView, Refund, Search
from stream_app.core.panes import DAY_MS
from stream_app.core.records import Aged, Kind
from stream_app.core.tally import Measure
from stream_app.metrics.fixed_point import divided
from stream_app.metrics.methods import Mean, Proportion
from stream_app.metrics.metric import Family, Metric
from stream_app.metrics.windows import windows_from

HORIZON_MS: Final = 120 * DAY_MS
SILENCE_DAYS: Final = 28
"""After so many days without a sign somebody is taken to have left."""
LIFESPAN_DAYS: Final = 56
"""Lifespans are followed as long. With the silence that ends them they are whole at 84 days, so none is censored."""
CAP_MINOR: Final = 100_000
"""Above, a person's value is taken for it in the winsorised means: 1,000 in major units."""
REFERRAL: Final = "referral"
_WORD_DAYS: Final = 60
"""Days per integer of the record, which is stored in 64 bits."""
_WORD: Final = (1 << _WORD_DAYS) - 1
_FOLLOWED: Final = (1 << LIFESPAN_DAYS + SILENCE_DAYS) - 1
_MONTH_DAYS: Final = 28
_AGES: Final = (7, 28, 90)
"""Values are of the first so many days."""


class Person(NamedTuple):
    """What is known of somebody: bit n of `active` (from 60 on: of `active_later`) says that they were on day n.

    Of the first 7, 28 and 90 days: what they ordered without tax and shipping, with both, and what they got back.
    `lately` is in which 28 days since the epoch they were last active.
    """

    first_day: int = 0
    lately: int = 0
    active: int = 0
    active_later: int = 0
    referrals: int = 0
    net_7: int = 0
    gross_7: int = 0
    back_7: int = 0
    net_28: int = 0
    gross_28: int = 0
    back_28: int = 0
    net_90: int = 0
    gross_90: int = 0
    back_90: int = 0


_SAYS_MORE: Final = (Order, Refund, Conversion)
"""Events that say more than that somebody was there."""
_MONEY: Final = Person._fields.index("net_7")


def after(person: Person, event: AnyEvent, *, is_abroad: bool = False) -> Person:
    """Return what is known of the person after the event; money from abroad is none."""
    day = event.ts // DAY_MS
    age = day - person.first_day
    if 0 <= age < _WORD_DAYS and person.active >> age & 1 and type(event) not in _SAYS_MORE:
        return person  # most events are further ones of the same day
    is_refund = isinstance(event, Refund)
    if not person.first_day:
        if is_refund:
            return person
        person = Person(day)
    age = max(0, day - person.first_day)
    if not is_refund:
        person = _seen(person, age, day // _MONTH_DAYS)
    if age >= max(_AGES):
        return person
    if isinstance(event, Order | Refund) and is_abroad:
        return person
    if isinstance(event, Order):
        total = event.total_minor
        return _paid(person, age, (max(0, total - (event.tax_minor or 0) - (event.shipping_minor or 0)), total, 0))
    if isinstance(event, Refund):
        return _paid(person, age, (0, 0, event.amount_minor))
    if isinstance(event, Conversion) and event.goal == REFERRAL and age < _MONTH_DAYS:
        return person._replace(referrals=person.referrals + 1)
    return person


def lifespan(person: Person) -> int:
    """Return the days from the first to the last active one before the first silence, `LIFESPAN_DAYS` at most."""
    if not person.first_day:
        return 0
    last, ahead = 0, (person.active | person.active_later << _WORD_DAYS) & _FOLLOWED
    while ahead:
        day = (ahead & -ahead).bit_length() - 1
        if day - last > SILENCE_DAYS:
            break
        last, ahead = day, ahead & ahead - 1
    return min(last + 1, LIFESPAN_DAYS)


def value(net: int, gross: int, back: int) -> int:
    """Return what orders were worth without tax and shipping, in minor units, after something was given back.

    What was given back is told with tax and shipping: it takes away the same share of the one as it is of the other,
    and never more than there was.
    """
    return net - divided(net * min(back, gross), gross) if back and gross else net


PEOPLE: Final = Kind(
    "people",
    (PageView, Click, Search, Cart, Order, Conversion, FeatureUse, Refund),
    lambda event: event.user,
    Person(),
    after,
    horizon_ms=HORIZON_MS,
    dimensions=("arm",),
    change_abroad=partial(after, is_abroad=True),
)

_RETURNS: Final = {"day_1": (1, 2), "day_7": (7, 8), "week_2": (7, 14), "day_28": (28, 29), "week_5": (28, 35)}
"""The days from and before which somebody who is active has come back; told at the age of the latter."""
_TOLD: Final = {7: 8, 28: 29, 90: 90}
"""At which age the values of the first so many days are told: with the returns, of which there are as many people."""


def _is_known(person: Person) -> bool:
    return person.first_day > 0


def _days(first: int, end: int) -> int:
    """Return the days from `first` to before `end` as bits."""
    return (1 << end) - (1 << first)


def _returned(name: str) -> Callable[[Person], tuple[int, ...]]:
    days = _days(*_RETURNS[name])
    return lambda person: (_is_known(person), person.active & days != 0)


def _worth(net: int, gross: int, back: int) -> tuple[int, int, int, int]:
    """Return the value and its square, and both of the winsorised one."""
    worth = value(net, gross, back)
    cut = min(worth, CAP_MINOR)
    return worth, worth * worth, cut, cut * cut


def _at_90(person: Person) -> tuple[int, ...]:
    lived = lifespan(person)
    lapsed = _is_known(person) and not person.active_later & _LAST_DAYS
    return (
        _is_known(person), lapsed, lived, lived * lived,
        *_worth(person.net_90, person.gross_90, person.back_90),
    )  # fmt: skip


_LAST_DAYS: Final = _days(90 - SILENCE_DAYS, 90) >> _WORD_DAYS
_DAY_7: Final = _returned("day_7")
_DAY_28: Final = _returned("day_28")
_SAID: Final[dict[int, Callable[[Person], tuple[int, ...]]]] = {
    2: _returned("day_1"),
    8: lambda person: (*_DAY_7(person), *_worth(person.net_7, person.gross_7, person.back_7)),
    14: _returned("week_2"),
    29: lambda person: (
        *_DAY_28(person),
        *_worth(person.net_28, person.gross_28, person.back_28),
        person.referrals,
        person.referrals**2,
    ),
    35: _returned("week_5"),
    90: _at_90,
}
_AGED: Final = {days: Aged(PEOPLE, days, said) for days, said in _SAID.items()}


def _seen(person: Person, age: int, month: int) -> Person:
    lately = max(person.lately, month)
    if age < _WORD_DAYS:
        active, later = person.active | 1 << age, person.active_later
    else:
        active = person.active
        later = person.active_later | 1 << age - _WORD_DAYS if age < 2 * _WORD_DAYS else person.active_later
    if (lately, active, later) == (person.lately, person.active, person.active_later):
        return person
    first_day, _, _, _, *rest = person
    return Person(first_day, lately, active, later, *rest)


def _paid(person: Person, age: int, amounts: tuple[int, int, int]) -> Person:
    money = list(person[_MONEY:])
    for place, days in enumerate(_AGES):
        if age < days:
            money[3 * place : 3 * place + 3] = [a + b for a, b in zip(money[3 * place :], amounts, strict=False)]
    return Person(*person[:_MONEY], *money)


Told = tuple[str, str, str]
"""Name, help and unit of a measure."""


def _told_returned(name: str) -> Told:
    first, end = _RETURNS[name]
    days = f"day {first}" if end == first + 1 else f"one of the days {first} to {end - 1}"
    return (
        f"returned_{name}",
        f"Those of people_{end}d who were active on {days} after the day they were first seen.",
        "people",
    )


def _told_values(days: int) -> tuple[Told, ...]:
    of = f"people_{_TOLD[days]}d"
    whole, cut = f"value_{days}d_minor", f"capped_value_{days}d_minor"
    return (
        (
            whole,
            f"What {of} ordered in their first {days} days without tax and shipping, less what they got back.",
            "minor units",
        ),
        (f"value_{days}d_squares", f"Sum over {of} of the square of {whole}.", "minor units squared"),
        (cut, f"The same as {whole}, with no person's above {CAP_MINOR}.", "minor units"),
        (f"capped_value_{days}d_squares", f"Sum over {of} of the square of {cut}.", "minor units squared"),
    )


_PARTS: Final[dict[int, tuple[Told, ...]]] = {
    2: (_told_returned("day_1"),),
    8: (_told_returned("day_7"), *_told_values(7)),
    14: (_told_returned("week_2"),),
    29: (
        _told_returned("day_28"),
        *_told_values(28),
        (
            "referrals_28d",
            "Conversions with the goal `referral` of people_29d in their first 28 days.",
            "referrals",
        ),
        ("referral_28d_squares", "Sum over people_29d of the square of referrals_28d.", "referrals squared"),
    ),
    35: (_told_returned("week_5"),),
    90: (
        (
            "lapsed_90d",
            f"Those of people_90d who gave no sign in the last {SILENCE_DAYS} of their first 90 days.",
            "people",
        ),
        (
            "lifespan_days",
            f"Days that people_90d stayed until a silence of {SILENCE_DAYS} days, {LIFESPAN_DAYS} at most.",
            "days",
        ),
        ("lifespan_day_squares", "Sum over people_90d of the square of lifespan_days.", "days squared"),
        *_told_values(90),
    ),
}
"""By age, what `_SAID` says of people beside that they are there, in the same order."""


def _people(days: int) -> Told:
    return f"people_{days}d", f"People who came to be {days} days old: first seen as many days before.", "people"


MEASURES: Final = tuple(
    Measure(*told, aged, itemgetter(place))
    for days, aged in _AGED.items()
    for place, told in enumerate((_people(days), *_PARTS[days]))
)

_WINDOWS: Final = windows_from("7d")
_ACTIVE: Final = (
    "Active is who viewed a page, clicked, searched, used the cart or a feature, ordered or converted; being shown "
    "something is not. Without analytics consent nobody is in it. In the first weeks of an installation old customers "
    "look new. "
)


def _retention(name: str, title: str, when: str, caveat: str) -> Metric:
    _, end = _RETURNS[name]
    return Metric(
        name=f"retention_{name}",
        title=title,
        help=f"Share of the people first seen {end} days ago who were active again {when}.",
        unit="ratio",
        formula=f"people active {when} after the day they were first seen / people first seen {end} days before",
        caveat=_ACTIVE + caveat,
        method=Proportion(f"returned_{name}", f"people_{end}d"),
        honesty="estimate",
        settles="cohort_age",
        cohort_days=end,
        is_up_good=True,
        highest=1.0,
        dimensions=("arm",),
        windows=_WINDOWS,
    )


def _value(days: int, is_capped: bool) -> Metric:
    prefix, told = "capped_" if is_capped else "", _TOLD[days]
    cut = f", no person's above {CAP_MINOR // 100:,}" if is_capped else ""
    return Metric(
        name=f"{prefix}value_{days}d",
        title=f"Value of the first {days} days{', winsorised' if is_capped else ''}",
        help=f"Mean of what a person ordered in the {days} days from the one they were first seen on{cut}.",
        unit="currency",
        formula=f"orders without tax and shipping less what was given back, of days 0 to {days - 1}{cut} / people",
        caveat=_ACTIVE
        + (
            "A mean of cut values times people is no revenue: it is for comparing arms. "
            if is_capped
            else "Few people make most of it, so with a few hundred of them the interval is too narrow: see the "
            "winsorised one. "
        )
        + 'It is what has come in, and no lifetime value: "value x lifespan" is none either, for it leaves out margin, '
        "discount and who is still there.",
        method=Mean(
            f"{prefix}value_{days}d_minor",
            f"people_{told}d",
            f"{prefix}value_{days}d_squares",
            scale=100,
            squares_scale=10_000,
            cap=CAP_MINOR if is_capped else None,
        ),
        honesty="estimate",
        settles="cohort_age",
        cohort_days=told,
        is_up_good=True,
        at_least=2,
        dimensions=("arm",),
        windows=_WINDOWS,
    )


METRICS: Final = (
    _retention("day_1", "Day-1 retention", "on day 1", "The day is that of the calendar: it may begin an hour later."),
    _retention("day_7", "Day-7 retention", "on day 7", "Who came on days 6 and 8 alone did not come on day 7."),
    _retention("day_28", "Day-28 retention", "on day 28", "One day of many: a weekly habit shows as one in seven."),
    _retention(
        "week_2", "Retention in the second week", "on days 7 to 13", "A week has every weekday once: it is steadier."
    ),
    _retention(
        "week_5", "Retention in the fifth week", "on days 28 to 34", "A week has every weekday once: it is steadier."
    ),
    Metric(
        name="lapse_90d",
        title="Churn of people without a contract",
        help=f"Share of the people first seen 90 days ago who gave no sign for the last {SILENCE_DAYS} days.",
        unit="ratio",
        formula=f"people not active on days {90 - SILENCE_DAYS} to 89 / people first seen 90 days before",
        caveat=_ACTIVE + f"That {SILENCE_DAYS} days of silence are a departure is a convention: some of them come "
        "back, and where people buy once a season most do. It is no rate per month, and 1 / churn is a lifespan only "
        "if people leave as readily on the first day as on the ninetieth, which they never do.",
        method=Proportion("lapsed_90d", "people_90d"),
        honesty="estimate",
        settles="cohort_age",
        cohort_days=90,
        is_up_good=False,
        highest=1.0,
        dimensions=("arm",),
        windows=_WINDOWS,
    ),
    Metric(
        name="lifespan_56d",
        title="Restricted mean lifespan",
        help=f"Days that people stay, of the first {LIFESPAN_DAYS}: until their last sign before {SILENCE_DAYS} "
        "days of silence.",
        unit="days",
        formula=f"min(days from the first to the last active one before a silence of {SILENCE_DAYS} days, "
        f"{LIFESPAN_DAYS}) / people",
        caveat=_ACTIVE + "It is the area under the Kaplan-Meier curve up to that horizon; everybody is followed to its "
        "end, so nobody is censored. It is no average lifespan: whoever is still there counts with the horizon, and "
        "what lies beyond is a guess.",
        method=Mean("lifespan_days", "people_90d", "lifespan_day_squares"),
        honesty="estimate",
        settles="cohort_age",
        cohort_days=90,
        is_up_good=True,
        highest=float(LIFESPAN_DAYS),
        at_least=2,
        dimensions=("arm",),
        windows=_WINDOWS,
    ),
    Metric(
        name="referrals_per_person",
        title="Referrals per person",
        help="Mean number of referrals that a person makes in the first 28 days.",
        unit="referrals",
        formula="conversions with the goal `referral` of days 0 to 27 / people first seen 29 days before",
        caveat=_ACTIVE + "What people say to each other is not seen; that somebody was referred is not that they would "
        "not have come.",
        method=Mean("referrals_28d", "people_29d", "referral_28d_squares"),
        honesty="estimate",
        settles="cohort_age",
        cohort_days=29,
        is_up_good=True,
        at_least=2,
        dimensions=("arm",),
        windows=_WINDOWS,
    ),
    *(_value(days, is_capped) for days in _AGES for is_capped in (False, True)),
)

FAMILY: Final = Family(
    "people",
    "People",
    "Who comes back, how long they stay and what they are worth, by the day on which they were first seen.",
    MEASURES,
    METRICS,
)
