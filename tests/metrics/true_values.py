"""The truth of every metric of the catalogue but those of cohorts, said once more and without the catalogue.

Each is a function from what happened (plain JSON, grouped) to the number that a reader should be told. A new metric
needs an entry here, or in `true_cohorts`: state it as its definition says, not as its measures do.
"""

from collections.abc import Callable, Iterable
from functools import partial
from math import ceil, exp, expm1, floor, log, log1p
from statistics import fmean
from typing import Any

from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from tests.metrics.listing import Item, corrected_of, order_of
from tests.metrics.retold import Told, is_home
from tests.metrics.seen import Seen, net
from tests.metrics.test_attention_in_world import POINTS, fate
from tests.metrics.test_context_in_world import is_rejection

Truth = Callable[[Seen], float | None]
"""None: what must not be told, for chance alone explains it."""
CAP = 50_000
SAYS_CLICK = 1 / (1 + exp(2.2))
COST, MARGIN, DISCOUNT = 5_000.0, 0.35, 0.1
"""What people told: the cost of personalization and of acquisition, the margin, and the discount of a year."""


def share(which: Iterable[object], of: Iterable[object] | None = None) -> float:
    """Return the share that is true; with `of`, the number of the first over that of the second."""
    flags = list(which)
    return fmean(map(bool, flags)) if of is None else len(flags) / len(list(of))


def quantile(values: Iterable[float], at: float) -> float:
    """Return the smallest value that this share of all do not exceed."""
    ordered = sorted(values)
    return ordered[ceil(at * len(ordered)) - 1]


def scores(seen: Seen, kind: str) -> list[float]:
    """Return the answers of one kind."""
    return [event["score"] for event in seen.of("feedback", kind=kind) if "score" in event]


def arm(seen: Seen, name: str) -> list[int]:
    """Return what each exposed session of an arm earned."""
    return [sum(one.values) for one in seen.exposures if one.arm == name]


def below_p99(values: list[int]) -> float:
    """Return the mean with all above the 99 % quantile taken for it."""
    cap = quantile(values, 0.99)
    return fmean(min(value, cap) for value in values)


def incremental_share(seen: Seen) -> float:
    """Return the share of what a personalized user spends on a day that one of the holdout does not."""
    own, base = (fmean(day[1] for day in seen.user_days_by_arm[of]) for of in ("personalized", "holdout"))
    return (own - base) / own


def weighted(seen: Seen, kind: str, verdict: Callable[[Told], bool]) -> float:
    """Return the share of positive answers, each weighing 1 / the probability of being asked."""
    answers = [(1 / e["asked_prob"], verdict(e)) for e in seen.of("feedback", kind=kind) if "asked_prob" in e]
    return sum(w for w, is_positive in answers if is_positive) / sum(w for w, _ in answers)


def gain(seen: Seen) -> float:
    """Return what personalization added to profit."""
    own, base = arm(seen, "personalized"), arm(seen, "holdout")
    return MARGIN * len(own) * (fmean(own) - fmean(base)) / 100


def cost_of_extra(seen: Seen) -> float | None:
    """Return the cost per session that would not have converted without personalization; None if there may be none."""
    own, base = ([bool(one.values) for one in seen.exposures if one.arm == of] for of in ("personalized", "holdout"))
    low, _ = confint_proportions_2indep(sum(own), len(own), sum(base), len(base), method="newcomb", compare="diff")
    return COST / (len(own) * (fmean(own) - fmean(base))) if low > 0 else None


def new_customers(seen: Seen) -> int:
    """Return how many people were said to be new customers."""
    return len(
        {e["user"] for e in seen.of("order", "conversion") if e.get("new_customer") or e.get("goal") == "activation"}
    )


def log_loss(seen: Seen) -> float:
    """Return the mean surprise of what was clicked, and not."""
    return -fmean(log(p if y else 1 - p) for p, y in seen.predicted)


def calibration(seen: Seen) -> tuple[float, float]:
    """Return the error of calibration over bins of the logit, and what a true model stays below."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for p, y in seen.predicted:
        bins.setdefault(sum(log(p / (1 - p)) >= edge - 6.5 for edge in range(14)), []).append((p, y))
    n = len(seen.predicted)
    error = sum(abs(sum(p - y for p, y in of)) for of in bins.values()) / n
    laws = [stats.binom(len(of), fmean(p for p, _ in of)) for of in bins.values()]
    misses = [_mean_deviation(law) for law in laws]
    variance = sum(law.var() - miss**2 for law, miss in zip(laws, misses, strict=True))
    return error, (sum(misses) + 1.6448536 * variance**0.5) / n


def _mean_deviation(law: Any) -> float:
    """Return how far a law is from its mean, on the mean."""
    middle = law.mean()
    return float(law.expect(lambda k: abs(k - middle)))


def auc(seen: Seen) -> float:
    """Return how likely a clicked item was predicted higher than another one."""
    clicked, others = ([p for p, y in seen.predicted if y is which] for which in (True, False))
    return float(stats.mannwhitneyu(clicked, others).statistic) / len(clicked) / len(others)


def at_position(low: int, high: int, seen: Seen) -> float:
    """Return the click-through rate of some positions."""
    return share(item.is_clicked for item in seen.items if low <= item.position <= high)


def corrected(name: str, seen: Seen) -> float:
    """Return clicks against the holdout's by position, of which those from 11 on are one."""

    def folded(lists: list[list[Item]]) -> list[list[Item]]:
        return [[item._replace(position=min(item.position, 11)) for item in one] for one in lists]

    return corrected_of(folded(seen.lists), folded(seen.holdout))[name]


def ordered(k: int, name: str, seen: Seen) -> float:
    """Return a metric of the order of lists, by its textbook definition."""
    return order_of(seen.lists, k)[name]


def per_user_day(of: Callable[[list[int]], float], seen: Seen) -> float:
    """Return the mean over people by day."""
    return fmean(map(of, seen.user_days))


def per_order(of: Callable[[Told, int], float], seen: Seen) -> float:
    """Return the mean over orders."""
    return fmean(of(order, back) for order, back in seen.orders)


def quoted(order: Told) -> list[Told]:
    """Return the lines that quote a decision."""
    return [line for line in order["lines"] if "decision" in line]


def plain(order: Told) -> list[int]:
    """Return the prices of the other lines."""
    return [line["price_minor"] for line in order["lines"] if "decision" not in line]


def recommended_minor(order: Told) -> int:
    """Return the part of an order's value that recommendations earned, in whole minor units."""
    lines = sum(line["price_minor"] for line in order["lines"])
    return net(order) * sum(line["price_minor"] for line in quoted(order)) // lines


def priced(seen: Seen) -> list[int]:
    """Return the value of each cart whose prices are in the reporting currency; people pay in one."""
    return [sum(add["price_minor"] for add in adds) for adds in seen.carts if is_home(adds[0])]


def upsold(order: Told) -> bool:
    """Say whether the dearest line quotes a decision, beside one that does not."""
    return bool(quoted(order) and plain(order)) and max(x["price_minor"] for x in quoted(order)) > max(plain(order))


def of_visits(of: str, seen: Seen) -> float:
    """Return the mean over visits of what a visit has."""
    return fmean(one[of] for one in seen.visits)


def decided(seen: Seen, **said: Any) -> float:
    """Return the share of decisions that say so, of those that say anything of it."""
    ((name, wanted),) = said.items()
    return share(event[name] == wanted for event in seen.of("decision") if name in event)


def of_mail(part: str, whole: str, seen: Seen) -> float:
    """Return the number of messages with one fate over that with another."""
    return sum(each.get(part, 0) for each in seen.messages) / sum(each.get(whole, 0) for each in seen.messages)


def of_offers(part: str, seen: Seen) -> float:
    """Return the share of offers shown with a fate."""
    return sum(each[part] for each in seen.offers) / sum(each["offers_shown"] for each in seen.offers)


def waits(seen: Seen) -> list[float]:
    """Return how many seconds each eligible signal waited, ten minutes at most."""
    return [
        min(used[0]["ts"] - signal["ts"], 600_000) / 1e3 if used else 600.0 for signal, _, used, _, _ in seen.signals
    ]


def ages(seen: Seen) -> list[float]:
    """Return how old context was when it was decided with, in seconds."""
    return [max(0, e["ts"] - e["context_ts"]) / 1e3 for e in seen.of("decision") if "context_ts" in e]


def proactive(seen: Seen) -> float:
    """Return the share of proactive decisions whose offer was taken."""
    names = {event["decision"] for event in seen.of("decision", proactive=True)}
    offered: dict[str, set[str]] = {}
    for event in seen.of("offer"):
        if event.get("decision") in names:
            offered.setdefault(event["decision"], set()).add(event["response"])
    return share(told & {"accepted", "redeemed"} for told in offered.values() if told != {"expired"})


def opt_outs(seen: Seen) -> int:
    """Return how many people refused personalization within a day of what context made for them."""
    made = [(d["user"], d["ts"]) for d in seen.contextual.values()]
    refused = seen.of("consent_change", scope="personalization", granted=False)
    return sum(any(u == e["user"] and 0 <= e["ts"] - ts <= 86_400_000 for u, ts in made) for e in refused)


def nps(seen: Seen) -> float:
    """Return promoters less detractors."""
    return fmean((score >= 9) - (score <= 6) for score in scores(seen, "nps"))


def people_with(kind: str, seen: Seen) -> float:
    """Return the share of active people who did such a thing."""
    return len({event["user"] for event in seen.of(kind)}) / len(seen.active)


def lead_quality(seen: Seen) -> float:
    """Return the share of leads that were called qualified."""
    leads, qualified = ({e["user"] for e in seen.of("conversion", goal=goal)} for goal in ("lead", "qualified"))
    return len(leads & qualified) / len(leads)


GOALS = ("purchase", "sign_up", "inquiry", "quote", "demo", "lead", "activation", "subscription")
ON_MAIL = {
    "message_open_rate": ("messages_opened", "messages_delivered"),
    "message_click_rate": ("messages_clicked", "messages_delivered"),
    "personalized_open_rate": ("personalized_messages_opened", "personalized_messages_delivered"),
    "blast_open_rate": ("blasts_opened", "blasts_delivered"),
    "personalized_click_rate": ("personalized_messages_clicked", "personalized_messages_delivered"),
    "blast_click_rate": ("blasts_clicked", "blasts_delivered"),
    "message_bounce_rate": ("messages_bounced", "messages"),
    "message_unsubscribe_rate": ("messages_unsubscribed", "messages_delivered"),
}
TRUTHS: dict[str, Truth] = {
    "ctr": lambda s: share(item.is_clicked for item in s.items),
    "session_ctr": lambda s: share(one.clicked for one in s.exposures),
    "conversion": lambda s: share(one.values for one in s.exposures),
    "attributed_revenue": lambda s: sum(sum(one.values) for one in s.exposures) / 100,
    "revenue_per_session": lambda s: fmean(sum(one.values) for one in s.exposures) / 100,
    "revenue_per_session_winsorised": lambda s: fmean(min(sum(one.values), CAP) for one in s.exposures) / 100,
    "conversions_per_session": lambda s: fmean(len(one.values) for one in s.exposures),
    "conversion_of_clickers": lambda s: share(one.values for one in s.exposures if one.clicked),
    "conversion_of_others": lambda s: share(one.values for one in s.exposures if not one.clicked),
    "relevance": lambda s: fmean(e["relevance"] for e in s.of("impression") if "relevance" in e),
    "interactions_per_session": lambda s: fmean(len(one.clicked) for one in s.exposures),
    "interactions_per_visit": partial(of_visits, "acts"),
    "pages_per_visit": partial(of_visits, "pages"),
    "searches_per_visit": partial(of_visits, "searches"),
    "searching_visits_share": lambda s: share(one["searches"] for one in s.visits),
    "visit_duration_median": lambda s: quantile((one["seconds"] for one in s.visits), 0.5),
    "visit_duration_p90": lambda s: quantile((one["seconds"] for one in s.visits), 0.9),
    "visit_duration": lambda s: expm1(fmean(log1p(floor(one["seconds"])) for one in s.visits)),
    "active_time_per_visit": lambda s: fmean(v["active_ms"] / 1e3 for v in s.visits if v["active_ms"] is not None),
    "active_time_median": lambda s: quantile(
        (v["active_ms"] / 1e3 for v in s.visits if v["active_ms"] is not None), 0.5
    ),
    "engagement_score": lambda s: fmean(one["points"] / 56 for one in s.visits),
    **{
        f"stayed_{at}s": lambda s, at=at: share(
            is_there for beats in s.views if (is_there := fate(beats, at * 1_000)) is not None
        )
        for at in POINTS
    },
    "dwell_median": lambda s: quantile((max(beat["elapsed_ms"] for beat in beats) / 1e3 for beats in s.views), 0.5),
    **{
        f"scrolled_{depth}": lambda s, depth=depth: share(
            max(deep) >= depth for beats in s.views if (deep := [b["scroll_pct"] for b in beats if "scroll_pct" in b])
        )
        for depth in (25, 50, 75, 100)
    },
    **{name: partial(of_mail, *parts) for name, parts in ON_MAIL.items()},
    "offer_acceptance": partial(of_offers, "offers_accepted"),
    "offer_redemption": partial(of_offers, "offers_redeemed"),
    "offer_dismissal": partial(of_offers, "offers_dismissed"),
    "offer_expiry": partial(of_offers, "offers_expired"),
    "active_users": lambda s: len(s.active),
    "feature_usage": partial(people_with, "feature_use"),
    "feature_adoption": partial(people_with, "feature_use"),
    "context_response": lambda s: share(u and u[0]["ts"] - d[0]["ts"] <= 5_000 for _, d, u, _, _ in s.signals),
    "context_missed": lambda s: share(not used for _, _, used, _, _ in s.signals),
    "adaptation_p50": lambda s: quantile(waits(s), 0.5),
    "adaptation_p95": lambda s: quantile(waits(s), 0.95),
    "adaptation_p99": lambda s: quantile(waits(s), 0.99),
    "context_change": lambda s: share(u[0]["changed"] for _, _, u, _, _ in s.signals if u and "changed" in u[0]),
    "signal_ctr": lambda s: share(clicks for _, _, _, clicks, _ in s.signals),
    "signal_conversion": lambda s: share(purchases for _, _, _, _, purchases in s.signals),
    "substitution_depth": partial(decided, depth="substitution"),
    "segment_depth": partial(decided, depth="segment"),
    "individual_depth": partial(decided, depth="individual"),
    "contextual_depth": partial(decided, depth="contextual"),
    "automation": partial(decided, automation="auto"),
    "context_age_p50": lambda s: quantile(ages(s), 0.5),
    "context_age_p95": lambda s: quantile(ages(s), 0.95),
    "stale_context": lambda s: share(age > 1_800 for age in ages(s)),
    "dated_context": lambda s: len(ages(s)) / len(s.of("decision")),
    "context_timely": lambda s: weighted(s, "context_relevance", lambda e: e["timely"] > 0),
    "context_appropriate": lambda s: weighted(s, "context_relevance", lambda e: e["appropriate"] > 0),
    "context_fitting": lambda s: weighted(s, "context_relevance", lambda e: min(e["timely"], e["appropriate"]) > 0),
    "context_answer_rate": lambda s: (
        sum(1 / e["asked_prob"] for e in s.of("feedback", kind="context_relevance")) / len(s.of("decision"))
    ),
    "context_ask_rate": lambda s: 1 / fmean(1 / e["asked_prob"] for e in s.of("feedback", kind="context_relevance")),
    "thumbs_up": lambda s: share(score > 0 for score in scores(s, "thumb")),
    "found_relevant": lambda s: share(score > 0 for score in scores(s, "relevance")),
    "hide_rate": lambda s: 1_000 * share(s.of("feedback", kind="hide"), s.of("impression")),
    "proactive_adoption": proactive,
    "context_rejections": lambda s: (
        1_000 * share((e for e in s.events if is_rejection(e) and e.get("decision") in s.contextual), s.contextual)
    ),
    "context_opt_outs": lambda s: 1_000 * opt_outs(s) / len(s.contextual),
    **{f"{goal}_rate": lambda s, goal=goal: share(goal in one.goals for one in s.exposures) for goal in GOALS},
    "new_customers": new_customers,
    "lead_quality": lead_quality,
    "aov": partial(per_order, lambda order, _: net(order) / 100),
    "aov_gross": partial(per_order, lambda order, _: order["total_minor"] / 100),
    "aov_after_refunds": partial(per_order, lambda order, back: (net(order) - back) / 100),
    "aov_winsorised": partial(per_order, lambda order, _: min(net(order), CAP) / 100),
    "order_value_median": lambda s: quantile((net(order) / 100 for order, _ in s.orders), 0.5),
    "order_value_p90": lambda s: quantile((net(order) / 100 for order, _ in s.orders), 0.9),
    "aov_below_p99": lambda s: below_p99([net(order) for order, _ in s.orders]) / 100,
    "lines_per_order": partial(per_order, lambda order, _: len(order["lines"])),
    "refund_rate": lambda s: share({e["order"] for e in s.of("refund")}, s.of("order")),
    "refunded_share": lambda s: sum(back for _, back in s.orders) / sum(net(order) for order, _ in s.orders),
    "recommended_revenue_share": lambda s: (
        sum(recommended_minor(o) for o, _ in s.orders) / sum(net(o) for o, _ in s.orders)
    ),
    "cross_sell_rate": lambda s: share(quoted(order) and plain(order) for order, _ in s.orders),
    "upsell_rate": lambda s: share(upsold(order) for order, _ in s.orders),
    "aov_recommended": lambda s: fmean(net(order) for order, _ in s.orders if quoted(order)) / 100,
    "aov_not_recommended": lambda s: fmean(net(order) for order, _ in s.orders if not quoted(order)) / 100,
    "revenue_per_user": partial(per_user_day, lambda day: day[1] / 100),
    "revenue_per_user_winsorised": partial(per_user_day, lambda day: min(day[1], CAP) / 100),
    "incremental_revenue_share": incremental_share,
    "buyer_rate": partial(per_user_day, lambda day: day[0] > 0),
    "purchases_per_user": partial(per_user_day, lambda day: day[0]),
    "cart_adds_per_user": partial(per_user_day, lambda day: day[2]),
    "cart_add_rate": partial(per_user_day, lambda day: day[2] > 0),
    "cart_size": lambda s: fmean(map(len, s.carts)),
    "cart_value": lambda s: fmean(priced(s)) / 100,
    "cart_value_median": lambda s: quantile(priced(s), 0.5) / 100,
    "recommended_add_share": lambda s: share("decision" in add for adds in s.carts for add in adds),
    **{
        f"{name}_at_{k}": partial(ordered, k, f"{name}_at_{k}")
        for name in ("hit_rate", "precision", "ndcg", "ndcg_given_click")
        for k in (5, 10)
    },
    "reciprocal_rank": partial(ordered, 5, "reciprocal_rank"),
    "reciprocal_rank_given_click": partial(ordered, 5, "reciprocal_rank_given_click"),
    **{f"ctr_at_position_{place}": partial(at_position, place, place) for place in range(1, 11)},
    "ctr_from_position_11": partial(at_position, 11, 1_000),
    "clicks_over_expected": partial(corrected, "clicks_over_expected"),
    "examination_corrected_ctr": partial(corrected, "examination_corrected_ctr"),
    "exploration_share": partial(decided, explore=True),
    "items_shown": lambda s: len({item.item for item in s.items}),
    "prediction_ratio": lambda s: sum(y for _, y in s.predicted) / sum(p for p, _ in s.predicted),
    "calibration_error": lambda s: calibration(s)[0],
    "calibration_noise": lambda s: calibration(s)[1],
    "brier_score": lambda s: fmean((p - y) ** 2 for p, y in s.predicted),
    "log_loss": log_loss,
    "normalised_entropy": lambda s: log_loss(s) / float(stats.entropy([y := share(y for _, y in s.predicted), 1 - y])),
    "prediction_auc": auc,
    "prediction_accuracy": lambda s: share((p >= SAYS_CLICK) == y for p, y in s.predicted),
    "prediction_base_rate": lambda s: share(y for _, y in s.predicted),
    "prediction_precision": lambda s: share(y for p, y in s.predicted if p >= SAYS_CLICK),
    "prediction_recall": lambda s: share(p >= SAYS_CLICK for p, y in s.predicted if y),
    "random_choice_ctr": lambda s: sum(min(w, 20) for w, y in s.chosen if y) / sum(min(w, 20) for w, _ in s.chosen),
    "random_choice_ctr_ipw": lambda s: fmean(min(w, 20) * y for w, y in s.chosen),
    "random_choice_weight": lambda s: fmean(min(w, 20) for w, _ in s.chosen),
    "random_choice_capped": lambda s: share(w >= 20 for w, _ in s.chosen),
    "random_choice_worth": lambda s: sum(w for w, _ in s.chosen) ** 2 / sum(w * w for w, _ in s.chosen),
    "nps": nps,
    "csat": lambda s: share(score >= 4 for score in scores(s, "csat")),
    "csat_weighted": lambda s: weighted(s, "csat", lambda e: e["score"] >= 4),
    "csat_points": lambda s: fmean(scores(s, "csat")),
    "rating": lambda s: fmean(scores(s, "rating")),
    "sentiment": lambda s: fmean(event["sentiment"] for event in s.of("feedback") if "sentiment" in event),
    "nps_answered": lambda s: len(scores(s, "nps")),
    "csat_answered": lambda s: len(scores(s, "csat")),
    "rating_answered": lambda s: len(scores(s, "rating")),
    "odd_answered": lambda s: len(
        [e for e in s.of("feedback") if e["kind"] in ("nps", "csat", "rating") and "score" not in e]
    ),
    "cac": lambda s: COST / new_customers(s),
    "cpa": lambda s: COST / sum(len(one.values) for one in s.exposures),
    "incremental_cpa": cost_of_extra,
    "cost_per_thousand": lambda s: 1_000 * COST / len(s.of("impression", arm="personalized")),
    "incremental_gain": gain,
    "roi": lambda s: (gain(s) - COST) / COST,
    "return_ratio": lambda s: sum(arm(s, "personalized")) / 100 / COST,
    "first_click_rate": lambda s: sum(bool(one.clicked) for one in s.exposures) / s.at_risk,
    "first_conversion_rate": lambda s: sum(bool(one.values) for one in s.exposures) / len(s.exposures),
    "first_relevance": lambda s: fmean(e["relevance"] for e in s.at_first_sight if "relevance" in e),
}
NEAR = {
    **dict.fromkeys(
        (
            "visit_duration_median", "visit_duration_p90", "active_time_median", "adaptation_p50", "adaptation_p95",
            "adaptation_p99", "context_age_p50", "context_age_p95", "order_value_median", "order_value_p90",
            "cart_value_median", "aov_below_p99",
        ),
        0.011,
    ),
    "items_shown": 0.1,
    "prediction_auc": 0.01,
    "random_choice_ctr": 0.02,
    "random_choice_ctr_ipw": 0.02,
    "random_choice_worth": 0.03,
}  # fmt: skip
"""How far a sketch may be from the truth, relative: quantiles 1 %, distinct counts, areas and weights by their bins."""
HELD = ("dwell_median",)
"""Told only between two points: the truth lies in the interval."""
