"""Views of the simulated world, against a recount of the heartbeats that were delivered."""

import pytest

from stream_app.metrics import attention
from stream_app.statistics.proportions import wilson
from tests.metrics.families import estimate
from tests.metrics.retold import Place, Told, grouped, place, summed
from tests.metrics.worlds import WORLDS, of_family, run

POINTS = (5, 15, 30, 60, 120, 300, 600)


def views(events: list[Told]) -> list[tuple[Place, list[Told]]]:
    """Return the heartbeats of each view, and where the first to arrive counts."""
    return [(place(beats[0]), beats) for beats in grouped(events, lambda e: (e["user"], e["view"]), "engagement")]


def fate(beats: list[Told], at_ms: int) -> bool | None:
    """Say whether a view lasted so long: if any heartbeat came as late, it did; None where nobody knows."""
    longest = max(beats, key=lambda beat: (beat["elapsed_ms"], beat["final"]))
    if longest["elapsed_ms"] >= at_ms:
        return True
    is_over = longest["final"] or longest.get("next_checkin_ms", at_ms + 1) <= at_ms
    return False if is_over else None


def amounts(beats: list[Told]) -> dict[str, int]:
    """Return what a view adds."""
    depths = [beat["scroll_pct"] for beat in beats if "scroll_pct" in beat]
    lasted = {at: fate(beats, at * 1_000) for at in POINTS}
    return {
        "views": 1,
        **{f"views_reached_{at}s": int(lasted[at] is True) for at in POINTS},
        **{f"views_known_{at}s": int(lasted[at] is not None) for at in POINTS},
        "scrolled_views": int(bool(depths)),
        **{f"views_scrolled_{depth}": int(bool(depths) and max(depths) >= depth) for depth in (25, 50, 75, 100)},
    }


@pytest.mark.parametrize("name", WORLDS)
def test_views_are_those_of_a_recount(name: str) -> None:
    """Every measure by surface and arm is that of the delivered heartbeats, to the unit."""
    events, state = run(name)
    found = views(events)
    assert len(found) > 400
    assert summed((where, amounts(beats)) for where, beats in found) == of_family(state, [attention.FAMILY])


@pytest.mark.parametrize("name", WORLDS)
def test_the_shares_are_those_of_the_views(name: str) -> None:
    """The share that lasts and the median are those of views one by one; the world's median of 18 s is in between."""
    events, state = run(name)
    fates = [fate(beats, 30_000) for _, beats in views(events)]
    known = [one for one in fates if one is not None]
    middle = estimate("dwell_median", state)
    assert wilson(sum(known), len(known)) == estimate("stayed_30s", state)
    assert middle is not None
    assert (15.0, 30.0, True) == (middle.low, middle.high, 16 < middle.value < 22)
