"""Feedback: weights of who was asked, shares of who answered, and what people reject unasked."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.events import (
    AnyEvent,
    Consent,
    ConsentChange,
    Decision,
    DecisionItem,
    Feedback,
    Impression,
    Offer,
)
from stream_app.metrics import decisions, engagement, feedback, reactions
from stream_app.metrics.feedback import is_appropriate, is_fitting, is_timely, weight_micros
from stream_app.metrics.fixed_point import MICROS
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from stream_app.statistics.means import mean
from stream_app.statistics.poisson import poisson_rate
from stream_app.statistics.proportions import wilson
from tests.metrics.counted import T0, Amounts, amounts, plan_of, state_of, state_restarted, totals

FAMILIES = (feedback.FAMILY, reactions.FAMILY, decisions.FAMILY, engagement.FAMILY)
PLAN = plan_of(*FAMILIES)
MEASURES = [measure for family in FAMILIES for measure in family.measures]
INDEX = {measure.name: at for at, measure in enumerate(MEASURES)}
METRIC = {metric.name: metric for family in FAMILIES for metric in family.metrics}
DAY = 86_400_000
WHO: dict[str, Any] = {"user": "u", "surface": "home", "arm": "personalized"}


def said(number: int, kind: str = "context_relevance", at_ms: int = 0, **told: Any) -> Feedback:
    """Return feedback."""
    return Feedback(**{**WHO, "id": f"f{number}", "ts": T0 + at_ms, "kind": kind, **told})


def decided(number: int, at_ms: int = 0, **told: Any) -> Decision:
    """Return a decision called d and its number, contextual unless told otherwise."""
    items = (DecisionItem(item="i", position=1),)
    more = {"id": f"d{number}", "depth": "contextual", **told}
    return Decision(**{**WHO, "ts": T0 + at_ms, "decision": f"d{number}", "items": items, **more})


def offered(number: int, response: str, at_ms: int = 0, **told: Any) -> Offer:
    """Return an answer to an offer of the decision of that number."""
    more = {"id": f"o{number}{response}", "decision": f"d{number}", **told}
    return Offer(**{**WHO, "ts": T0 + at_ms, "offer": "o", "response": response, **more})


def opted_out(number: int, at_ms: int, **told: Any) -> ConsentChange:
    """Return a withdrawal of consent to personalization."""
    more = {"id": f"x{number}", "user": "u", "scope": "personalization", "granted": False, **told}
    return ConsentChange(ts=T0 + at_ms, arm="personalized", **more)


def estimate(name: str, events: list[AnyEvent]) -> Estimate | None:
    """Return a metric after these events."""
    found = totals(state_of(PLAN, events))
    return lower(METRIC[name], [found.get(measure.name, 0) for measure in MEASURES], INDEX)


def test_a_survey_by_hand() -> None:
    """One was asked with 50 %, one with 5 %: the second stands for ten times as many, and found it timely."""
    answers = [
        said(1, timely=-1.0, appropriate=1.0, asked_prob=0.5),
        said(2, timely=1.0, appropriate=0.0, asked_prob=0.05),
    ]
    found = {name: estimate(name, [*answers]) for name in ("context_timely", "context_appropriate", "context_fitting")}
    assert [pytest.approx(20 / 22), pytest.approx(2 / 22), pytest.approx(0)] == [
        each.value for each in found.values() if each
    ]
    effective = 22**2 / (20**2 + 2**2)
    timely = found["context_timely"]
    assert timely is not None
    # The popular share of answers does not care who was asked.
    assert wilson(1, 2).value != timely.value
    expected = wilson(20, 22, design_effect=22 / effective)
    assert pytest.approx((expected.low, expected.high)) == (timely.low, timely.high)


def test_the_answer_rate_does_not_fall_when_fewer_are_asked() -> None:
    """4 answers of 100 decisions, each asked with 20 %: a fifth would answer; 4 % is how many were asked and did."""
    events: list[AnyEvent] = [decided(number) for number in range(100)]
    events += [said(number, timely=1.0, asked_prob=0.2) for number in range(4)]
    assert (mean(100, 20, 100, lowest=0.0, highest=1.0), 0.2) == (
        estimate("context_answer_rate", events),
        (estimate("context_ask_rate", events) or Estimate(0, 0, 0, 0)).value,
    )


@pytest.mark.parametrize(
    ("weight", "probability"),
    [
        (MICROS, None),
        (MICROS, 1.0),
        (2 * MICROS, 0.5),
        (3_333_333, 0.3),
        (1_000 * MICROS, 1e-3),
        (1_000 * MICROS, 1e-300),
    ],
)
def test_how_much_an_answer_weighs(weight: int, probability: float | None) -> None:
    """As many as it stands for, in millionths, at most a thousand; one where nobody said."""
    assert weight == weight_micros(said(0, asked_prob=probability))


@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        ((True, None, True), {"timely": 1.0}),
        ((None, True, True), {"appropriate": 0.5}),
        ((True, True, True), {"timely": 1.0, "appropriate": 1.0}),
        ((True, False, False), {"timely": 1.0, "appropriate": 0.0}),
        ((False, False, False), {"timely": -1.0, "appropriate": -1.0}),
        ((None, None, None), {}),
        ((None, None, None), {"kind": "relevance", "timely": 1.0, "appropriate": 1.0}),
    ],
)
def test_what_an_answer_says(verdicts: tuple[bool | None, ...], told: dict[str, Any]) -> None:
    """Timely, appropriate, and all that it states; 0 is an answer and not positive."""
    answer = said(0, **told)
    assert verdicts == (is_timely(answer), is_appropriate(answer), is_fitting(answer))


def test_thumbs_relevance_and_hides() -> None:
    """Two of three thumbs up, one of two found it relevant, 3 hides in 2,000 impressions are 1.5 per 1,000."""
    told = [("thumb", 1.0), ("thumb", 1.0), ("thumb", -1.0), ("thumb", None), ("relevance", 1.0), ("relevance", 0.0)]
    events: list[AnyEvent] = [said(number, kind, score=score) for number, (kind, score) in enumerate(told)]
    events += [said(100 + number, "hide") for number in range(3)]
    events += [
        Impression(id=f"i{n}", ts=T0, decision=f"d{n}", item="i", position=1, **WHO)
        for n in range(2_000)
    ]  # fmt: skip
    assert [wilson(2, 3), wilson(1, 2), poisson_rate(3, 2.0, 2_000)] == [
        estimate(name, events) for name in ("thumbs_up", "found_relevant", "hide_rate")
    ]


def test_proactive_offers_by_hand() -> None:
    """Of five proactive decisions four were shown and two taken; other offers are nobody's."""
    events: list[AnyEvent] = [decided(n, proactive=True, depth=None) for n in range(5)]
    events += [decided(9, proactive=False, depth=None), offered(9, "accepted"), offered(8, "accepted", decision=None)]
    events += [offered(0, "shown"), offered(0, "accepted"), offered(1, "redeemed")]
    events += [offered(2, "dismissed"), offered(3, "shown"), offered(3, "expired"), offered(4, "expired")]
    assert wilson(2, 4) == estimate("proactive_adoption", events)


def test_rejections_are_those_of_contextual_decisions() -> None:
    """A hide, a thumb down and a dismissed offer of contextual decisions; none of others, nor thumbs up."""
    events: list[AnyEvent] = [
        decided(0),
        decided(1),
        decided(2, depth="individual", signal="s"),
        decided(3, depth="segment"),
    ]
    events += [said(0, "hide", decision="d0"), said(1, "thumb", decision="d0", score=-1.0), offered(1, "dismissed")]
    events += [said(2, "thumb", decision="d2", score=1.0), said(3, "hide", decision="d3"), said(4, "hide")]
    assert poisson_rate(3, 0.003, 3) == estimate("context_rejections", events)


def test_a_reaction_may_overtake_its_decision_and_ends_up_with_it() -> None:
    """What arrives first waits; all of it is at home where the decision is."""
    told: list[AnyEvent] = [
        decided(0, 20_000, proactive=True, surface="cart"), offered(0, "accepted", 30_000),
        said(0, "hide", decision="d0"),
    ]  # fmt: skip
    found = [amounts(state_of(PLAN, events)) for events in (told, told[::-1], [told[1], told[0], told[2]])]
    assert found[0] == found[1] == found[2]
    assert {(20_000, "cart")} == {at[:2] for at in found[0] if at[3] in ("adopted_decisions", "contextual_negatives")}


def test_an_opt_out_within_a_day_of_context() -> None:
    """It counts up to 24 hours after the last contextual decision, once for each opt-out, at the opt-out."""
    events: list[AnyEvent] = [
        decided(0), opted_out(1, DAY), opted_out(2, DAY + 1), opted_out(3, DAY + 2, granted=True),
        decided(4, 2 * DAY), opted_out(5, 2 * DAY + 9), opted_out(6, 2 * DAY + 10, scope="analytics"),
    ]  # fmt: skip
    found = amounts(state_of(PLAN, events))
    assert [DAY // 10_000 * 10_000, 2 * DAY] == sorted(
        int(str(at[0])) for at in found if at[3] == "contextual_opt_outs"
    )


def test_an_opt_out_may_overtake_its_decision() -> None:
    """A decision before the opt-out that arrives after it still counts; one that was made after it does not."""
    found = [
        totals(state_of(PLAN, events)).get("contextual_opt_outs", 0)
        for events in ([opted_out(0, 100), decided(1, 50)], [opted_out(0, 100), decided(1, 101)])
    ]
    assert [1, 0] == found


def test_without_consent() -> None:
    """Who denies analytics is joined by the decision alone: rejections count, opt-outs are not looked for."""
    denied = Consent(analytics=False)
    events = [
        decided(0, consent=denied),
        said(0, "hide", decision="d0", consent=denied),
        opted_out(1, 5, consent=denied),
    ]
    found = totals(state_of(PLAN, events))
    assert (1, 0) == (found["contextual_negatives"], found.get("contextual_opt_outs", 0))


@st.composite
def happened(draw: st.DrawFn) -> list[AnyEvent]:
    """Whatever people say of six decisions; none of them is made after an opt-out."""
    told: list[AnyEvent] = []
    for number in range(draw(st.integers(0, 6))):
        more = draw(
            st.sampled_from([{}, {"proactive": True}, {"depth": "segment"}, {"depth": None, "proactive": True}])
        )
        told.append(decided(number, draw(st.integers(0, 50_000)), user=f"u{number % 2}", **more))
    for number in range(draw(st.integers(0, 8))):
        at_ms, of = draw(st.integers(0, 90_000)), draw(st.integers(0, 6))
        probability = draw(st.sampled_from([None, 0.05, 0.3, 1.0]))
        match draw(st.integers(0, 3)):
            case 0:
                verdict = draw(st.sampled_from([None, -1.0, 0.0, 1.0]))
                told.append(said(number, at_ms=at_ms, timely=verdict, appropriate=1.0, asked_prob=probability))
            case 1:
                kind = draw(st.sampled_from(["hide", "thumb", "relevance"]))
                told.append(said(number, kind, at_ms, decision=f"d{of}", score=draw(st.sampled_from([-1.0, 1.0]))))
            case 2:
                response = draw(st.sampled_from(["shown", "accepted", "dismissed", "redeemed", "expired"]))
                told.append(offered(of, response, at_ms, id=f"o{number}"))
            case _:
                told.append(opted_out(number, 60_000, id=f"x{number % 2}", user=f"u{number % 2}"))
    return told


@settings(deadline=None, max_examples=80)
@given(happened(), st.integers(0, 20), st.randoms(use_true_random=False))
def test_order_duplicates_and_restarts_do_not_matter(told: list[AnyEvent], cut: int, chance: Any) -> None:
    """However it arrives, what people say adds up to the same."""
    expected = amounts(state_of(PLAN, told))
    mixed = [*told, *told]
    chance.shuffle(mixed)
    assert expected == amounts(state_of(PLAN, mixed))
    assert expected == amounts(state_restarted(PLAN, told, cut % (len(told) + 1)))


@settings(deadline=None, max_examples=60)
@given(happened(), happened())
def test_partitions_add_up(one: list[AnyEvent], other: list[AnyEvent]) -> None:
    """What two partitions have counted adds up to what one would have, for nobody and no decision is in both."""
    renamed = [_elsewhere(event) for event in other]
    parts: Amounts = amounts(state_of(PLAN, one)) + amounts(state_of(PLAN, renamed))
    assert parts == amounts(state_of(PLAN, [*one, *renamed]))


def _elsewhere(event: AnyEvent) -> AnyEvent:
    """Return the event as one of another person, about another decision."""
    decision = getattr(event, "decision", None)
    told = {"id": f"{event.id}-", "user": f"{event.user}-"} | ({"decision": f"{decision}-"} if decision else {})
    return msgspec.structs.replace(event, **told)
