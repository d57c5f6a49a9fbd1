"""Faust's own watch over commits: it does not speak here, for the commits are not Faust's."""

import logging

import pytest
from faust.types import TP

from stream_app.settings import Settings
from stream_app.worker.app import create_app


async def test_faust_does_not_complain_of_commits_that_are_not_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """Hours after the start it says nothing of a partition for which it never committed anything itself."""
    app = create_app(Settings())
    with caplog.at_level(logging.INFO):
        app.consumer.verify_event_path(1e9, TP("lynceus.events", 0))
    assert [] == caplog.records
    await app.redis.aclose()
