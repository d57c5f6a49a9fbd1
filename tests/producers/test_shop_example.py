"""The example shop records what it shows and what is clicked, and a changed link records nothing."""

import re

import pytest

from examples.shop import create_app
from producers.sdk import Tracker
from producers.tokens import TokenError
from stream_app.core.events import Assignment, Click, Conversion, Decision, Impression
from stream_app.settings import KafkaSettings
from tests.producers import landed


def test_a_visit_is_recorded_from_decision_to_click(mock_kafka_settings: KafkaSettings) -> None:
    """A page with three links is a decision with three impressions; following one is its click, and a conversion."""
    with Tracker(kafka=mock_kafka_settings, token_keys=[b"k" * 16]) as tracker:
        app = create_app(tracker)
        app.testing = True
        with app.test_client() as browser:
            page = browser.get("/?user=u-42").get_data(as_text=True)
            links = re.findall(r'href="([^"]+)"', page)
            status = browser.get(links[1]).status_code
            with pytest.raises(TokenError, match="was changed"):
                browser.get(links[1] + "x")
        report = tracker.flush()
    mine = [event for event in landed.events(mock_kafka_settings) if event.user == "u-42"]
    impressions = [event for event in mine if isinstance(event, Impression)]
    clicked = next(event for event in mine if isinstance(event, Click))
    assert (len(links), status, report.delivered) == (3, 302, 7)
    assert [type(event) for event in mine] == [Assignment, Decision, *[Impression] * 3, Click, Conversion]
    assert (clicked.decision, clicked.item, clicked.position) == (impressions[1].decision, impressions[1].item, 2)
