"""Logs: one line an event, ours and the libraries' alike, counted, and without what may be secret."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from stream_app import telemetry

CANARY = "canary-5ac7e1"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Put logging back as it was: it belongs to the whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in telemetry.QUIET}
    yield
    root.handlers, root.level = handlers, level
    for name, at in levels.items():
        logging.getLogger(name).setLevel(at)
    structlog.reset_defaults()


def lines(captured: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured.readouterr().err.splitlines()]


def fresh() -> Any:
    """Return a logger of ours; one that was used before keeps its former configuration."""
    return structlog.get_logger("lynceus.test")


def test_an_event_is_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours and the standard library's messages have the same keys: event, level, timestamp, and what was given."""
    telemetry.configure("json", "info")
    fresh().info("claimed", partition=3)
    logging.getLogger("another.library").warning("odd: %s", "thing")
    ours, theirs = lines(capsys)
    assert ours.pop("timestamp").endswith("Z")
    assert theirs.pop("timestamp").endswith("Z")
    assert {"event": "claimed", "level": "info", "partition": 3} == ours
    assert {"event": "odd: thing", "level": "warning"} == theirs


def test_no_terminal_means_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`auto` writes for programs where nobody looks on."""
    telemetry.configure("auto", "info")
    fresh().info("claimed")
    assert ["claimed"] == [line["event"] for line in lines(capsys)]


def test_a_person_gets_text(capsys: pytest.CaptureFixture[str]) -> None:
    """`console` writes one line of text."""
    telemetry.configure("console", "info")
    fresh().info("claimed", partition=3)
    text = capsys.readouterr().err
    assert (1, True, False) == (len(text.splitlines()), "claimed" in text, text.startswith("{"))


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_shows_no_values(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback names files and lines; the values of variables, among them secrets, it does not show."""
    telemetry.configure(form, "info")
    password = CANARY
    try:
        [][len(password)]
    except IndexError:
        fresh().exception("failed")
        logging.getLogger("another.library").exception("failed too")
    text = capsys.readouterr().err
    assert (2, False) == (text.count("test_telemetry.py"), CANARY in text)
    if form == "json":
        events = [json.loads(line) for line in text.splitlines()]
        assert [("failed", True), ("failed too", True)] == [(e["event"], "Traceback" in e["exception"]) for e in events]


def test_the_level_is_the_least_that_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """What is below the level is not written."""
    telemetry.configure("json", "warning")
    for level in ("debug", "info", "warning", "error"):
        getattr(fresh(), level)(level)
    assert ["warning", "error"] == [line["event"] for line in lines(capsys)]


def test_routine_of_the_libraries_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Each library is heard from its own level on, whatever ours is."""
    telemetry.configure("json", "debug")
    for name, level in telemetry.QUIET.items():
        logging.getLogger(f"{name}.part").log(level - 1, "routine of %s", name)
        logging.getLogger(f"{name}.part").log(level, "trouble of %s", name)
    assert [f"trouble of {name}" for name in telemetry.QUIET] == [line["event"] for line in lines(capsys)]


def test_warnings_and_errors_are_counted() -> None:
    """Every warning and error that is written is told to the counter, once, by its level."""
    told: list[str] = []
    telemetry.configure("json", "info", told.append)
    fresh().info("nothing")
    fresh().warning("odd")
    fresh().error("wrong")
    logging.getLogger("another.library").critical("very wrong")
    assert ["warning", "error", "error"] == told


def test_configured_twice_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The second configuration replaces the first."""
    for _ in range(2):
        telemetry.configure("json", "info")
    fresh().info("claimed")
    assert ["claimed"] == [line["event"] for line in lines(capsys)]
