"""Which families of metrics a worker counts."""

import pytest

from stream_app.errors import LynceusError
from stream_app.metrics import conversion, engagement, messages
from stream_app.metrics.catalogue import FAMILIES, PLAN
from stream_app.settings import CountingSettings
from stream_app.worker.app import counted


def test_all_of_them_by_default() -> None:
    """Without a word about it every family is counted, and naming all of them is the same."""
    named = counted(CountingSettings(families=",".join(family.name for family in FAMILIES)))
    assert (PLAN, PLAN.meanings) == (counted(CountingSettings()), named.meanings)


def test_what_was_shown_is_counted_in_any_case() -> None:
    """Two families bring their measures, and records, and no others; impressions and clicks are always there."""
    plan = counted(CountingSettings(families="conversion,messages"))
    chosen = (engagement.FAMILY, conversion.FAMILY, messages.FAMILY)
    assert [measure.column for family in chosen for measure in family.measures] == list(plan.columns)
    assert ((messages.SENT,), None) == (plan.kinds, plan.place_of("orders"))


def test_an_unknown_family_is_refused() -> None:
    """The message names the nearest, and where it was said."""
    with pytest.raises(LynceusError, match=r"'massages'.*'messages'.*LYNCEUS_COUNTING__FAMILIES"):
        counted(CountingSettings(families="massages"))
