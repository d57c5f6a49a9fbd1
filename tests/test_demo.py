"""`lynceus demo`: a week of real clicks counted exactly, the same figures wherever one looks, and nothing left."""

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil
import pytest
from playwright.sync_api import Page, sync_playwright
from prometheus_client.parser import text_string_to_metric_families

from stream_app import demo
from stream_app.core.cells import OUTCOMES
from stream_app.embedded import KAFKA_API_VERSION, MockKafka, RedisServer
from stream_app.errors import LynceusError
from stream_app.ports import free_port
from stream_app.settings import KafkaSettings
from stream_app.statistics.proportions import wilson
from tests.commands import Ran, environ_of, lynceus, run
from tests.conftest import CHROMIUM, unavailable

pytestmark = pytest.mark.redis

PATIENCE_S = 300.0
RECORDS = 20_115
ONCE = ("demo", "--once", "--json")
Shown = dict[tuple[str, str], tuple[int, int]]
"""(surface, arm) -> impressions, clicks"""
T = TypeVar("T")


def ports() -> dict[str, str]:
    """Return ports that no other demonstration has."""
    return {"LYNCEUS_SERVER__PORT": str(free_port()), "LYNCEUS_WORKER__METRICS_PORT": str(free_port())}


@pytest.fixture(scope="module")
def own_servers() -> Iterator[dict[str, str]]:
    """Yield the settings of a Kafka and a Redis that outlive the demonstration."""
    topics = KafkaSettings()
    single = (topics.dead_letters_topic, topics.late_topic, topics.inputs_topic, topics.verdicts_topic)
    wanted = {topics.events_topic: 8, **dict.fromkeys(single, 1)}
    try:
        with MockKafka(wanted) as kafka, RedisServer() as redis:
            yield {
                "LYNCEUS_KAFKA__BOOTSTRAP": kafka.bootstrap,
                "LYNCEUS_KAFKA__API_VERSION": KAFKA_API_VERSION,
                "LYNCEUS_KAFKA__SESSION_TIMEOUT_S": "3",
                "LYNCEUS_REDIS__URL": redis.url,
                "LYNCEUS_COUNTING__FAMILIES": "engagement",  # the whole catalogue is counted by the one beside it
            }
    except LynceusError as error:
        unavailable(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty folder to run in; `temporary` beside it takes what is temporary."""
    work = tmp_path_factory.mktemp("demo") / "work"
    work.mkdir()
    return work


@pytest.fixture(scope="module")
def ran(own_servers: dict[str, str], folder: Path) -> dict[str, Ran]:
    """Run once with everything built in, and twice over servers that stay."""
    with ThreadPoolExecutor() as pool:
        embedded = pool.submit(run, ONCE, ports(), folder)
        first = run(ONCE, own_servers | ports(), folder)
        second = run(ONCE, own_servers | ports(), folder)
        return {"embedded": embedded.result(), "first": first, "second": second}


def result(ran: Ran) -> dict[str, Any]:
    """Return the one object that was printed."""
    assert (0, 1) == (ran.status, len(ran.stdout.splitlines())), ran
    return dict(json.loads(ran.stdout))


PUBLISHED = [("bts", "personalized", 10_000, 69, 0.0069, 0.00546, 0.00872),
             ("random", "holdout", 10_000, 46, 0.0046, 0.00345, 0.00613)]  # fmt: skip
OUTCOME_OF = {"embedded": "counted", "first": "counted", "second": "duplicate"}


@pytest.mark.parametrize("which", OUTCOME_OF)
def test_a_week_of_real_clicks(which: str, ran: dict[str, Ran]) -> None:
    """Every record is counted once, however often it is replayed; rates and intervals are those of the data."""
    printed = result(ran[which])
    outcomes = dict.fromkeys(OUTCOMES, 0) | {OUTCOME_OF[which]: RECORDS}
    slices = [
        {
            "surface": "men",
            "arm": arm,
            "policy": policy,
            "impressions": shown,
            "clicks": clicks,
            "ctr": pytest.approx({"value": value, "low": low, "high": high, "n": shown}, abs=5e-6),
        }
        for policy, arm, shown, clicks, value, low, high in PUBLISHED
    ]
    assert printed.pop("events_per_second") > 0
    assert {"records": RECORDS, "outcomes": outcomes, "slices": slices} == printed


def test_once_leaves_nothing(ran: dict[str, Ran], folder: Path) -> None:
    """Nothing is written into the working directory, and what was temporary is gone."""
    assert len(ran) == 3
    assert ([], []) == (list(folder.iterdir()), list(folder.with_name("temporary").iterdir()))


def bandit_file(path: Path, rows: int, clicks: int) -> None:
    """Write a log of one row an hour, the first ones clicked."""
    lines = ["timestamp,item_id,position,click,propensity_score"]
    lines += [f"2024-03-01 {hour:02}:00:00+00:00,item-{hour % 3},1,{int(hour < clicks)},0.25" for hour in range(rows)]
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def test_own_files_are_replayed(tmp_path: Path) -> None:
    """`--data` takes any campaign and any policy; a policy that is no arm is counted as none."""
    work, data = tmp_path / "work", tmp_path / "data"
    work.mkdir()
    data.mkdir()
    files = {"men-greedy.csv": (5, 0), "women-bts.csv": (12, 3), "women-random.csv.gz": (10, 1)}
    for name, (rows, clicks) in files.items():
        bandit_file(data / name, rows, clicks)
    any_ports = {"LYNCEUS_SERVER__PORT": "0", "LYNCEUS_WORKER__METRICS_PORT": "0"}
    printed = result(run((*ONCE, "--data", "../data"), any_ports, work))
    slices = [
        {
            "surface": surface,
            "arm": arm,
            "policy": policy,
            "impressions": shown,
            "clicks": clicks,
            "ctr": pytest.approx(msgspec.to_builtins(wilson(clicks, shown)), abs=1e-12),
        }
        for (surface, policy, arm), (shown, clicks) in zip(
            (("men", "greedy", "none"), ("women", "bts", "personalized"), ("women", "random", "holdout")),
            files.values(),
            strict=True,
        )
    ]
    counted = dict.fromkeys(OUTCOMES, 0) | {"counted": 31}
    assert printed.pop("events_per_second") > 0
    assert {"records": 31, "outcomes": counted, "slices": slices} == printed
    assert ([], []) == (list(work.iterdir()), list((tmp_path / "temporary").iterdir()))


class Ends:
    """Its destructor is where Ctrl-C arrives."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)  # which runs the handler before it returns


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_a_destructor_swallows_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python ignores what is raised in a destructor, Ctrl-C too: the demonstration would run on."""
    monkeypatch.setattr(demo, "AGAIN_AFTER_S", 0.05)
    before = signal.getsignal(signal.SIGINT)
    came = None
    try:
        with demo.Interrupts() as interrupts, interrupts.repeated():
            Ends()
            came = "not yet"
            threading.Event().wait(PATIENCE_S)
            came = "never"
    except KeyboardInterrupt:
        assert (came, (0.0, 0.0), before) == (
            "not yet",
            signal.getitimer(signal.ITIMER_REAL),
            signal.getsignal(signal.SIGINT),
        )
    else:
        pytest.fail(f"the interrupt came {came}")


class Live:
    """A running `lynceus demo`. Mutable state: the process."""

    def __init__(self, directory: Path) -> None:
        work = directory / "work"
        work.mkdir()
        self.work, self.temporary, self.log = work, directory / "temporary", directory / "demo.log"
        given = ports()
        self.url = f"http://127.0.0.1:{given['LYNCEUS_SERVER__PORT']}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                # A small shop and rare refreshes: who compares three places at one moment needs it to last.
                lynceus("demo", "--rate", "1", "--seed", "1"),
                cwd=work,
                env=environ_of(given | {"LYNCEUS_SERVER__REFRESH_INTERVAL_S": "2"}, self.temporary),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.began = time.monotonic()

    def until(self, read: Callable[[], T | None], what: str) -> T:
        """Return what `read` returns once it returns something."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := read()) is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"never came: {what}; {self.log.read_text()}"
            time.sleep(0.1)  # the server is polled, as a dashboard would
        return found

    def get(self, path: str) -> str | None:
        """Return a page, or None while there is none."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return None

    def view(self) -> dict[str, Any] | None:
        """Return the view once it has a window."""
        view: dict[str, Any] = json.loads(self.get("/v1/view") or "{}")
        return view if view.get("end_ms") else None


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """Yield a demonstration that has just been started; end it, whatever happens."""
    started = Live(tmp_path)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()  # its children die with it
            started.process.wait()


def of_view(view: dict[str, Any], window: str) -> Shown:
    return {
        (row["surface"], row["arm"]): (row["measures"]["impressions"], row["measures"]["clicks"])
        for row in view["windows"][window]["rows"]
        if "all" not in (row["surface"], row["arm"])
    }


def of_metrics(page: str, window: str) -> tuple[int, Shown]:
    """Return the window's end (ms) and what it shows."""
    samples = {
        (s.name.removeprefix("lynceus_window_"), s.labels.get("surface", ""), s.labels.get("arm", "")): s.value
        for family in text_string_to_metric_families(page)
        for s in family.samples
        if s.labels.get("window") == window
    }
    shown = {
        (surface, arm): (int(value), int(samples["clicks", surface, arm]))
        for (name, surface, arm), value in samples.items()
        if name == "impressions"
    }
    return round(samples["end_timestamp_seconds", "", ""] * 1000), shown


def of_wall(page: Page) -> tuple[int, Shown]:
    """Return the end of what the wall shows (ms), and its table."""
    end, rows = page.evaluate("""() => [
        Number(document.documentElement.dataset.endMs),
        [...document.querySelectorAll("#arms tbody td")]
          .map((cell) => [cell.firstElementChild?.dataset ?? {}, cell.dataset])
          .filter(([{ metric }]) => metric === "ctr")
          .map(([{ surface, arm }, { impressions, clicks }]) => [surface, arm, Number(impressions), Number(clicks)]),
    ]""")
    return int(end), {(s, a): (shown, clicks) for s, a, shown, clicks in rows if "all" not in (s, a)}


def is_closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return True
    return False


@pytest.mark.browser
def test_the_same_numbers_at_the_same_moment_then_nothing(live: Live, chromium_path: str) -> None:
    """API, /metrics and the wall agree on one view, the wall's chart moves, and Ctrl-C leaves nothing behind."""
    live.until(live.view, "a first view with figures")
    print(f"first figures after {time.monotonic() - live.began:.1f} s")  # noqa: T201  # a figure to look at
    men = {("men", arm): (shown, clicks) for _, arm, shown, clicks, *_ in PUBLISHED}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.goto(f"{live.url}/wall?window=28d")
        page.wait_for_selector("html[data-end-ms]:not([data-end-ms=''])")
        picture = "() => document.querySelector('#trend-chart canvas')?.toDataURL() ?? ''"
        end, canvas = of_wall(page)[0], page.evaluate(picture)

        def moment() -> tuple[Shown, Shown, Shown] | None:
            before, text = live.view(), live.get("/metrics")
            wall_end, wall = of_wall(page)
            after = live.view()
            assert before is not None
            assert text is not None
            assert after is not None
            metrics_end, metrics = of_metrics(text, "28d")
            api = of_view(before, "28d")
            is_one = before["end_ms"] == metrics_end == wall_end == after["end_ms"] and api == of_view(after, "28d")
            return (api, metrics, wall) if is_one and men.items() <= api.items() else None

        api, metrics, wall = live.until(moment, "all of men in a view that API, /metrics and wall show")
        live.until(
            lambda: (of_wall(page)[0] > end and page.evaluate(picture) != canvas) or None, "another update on the chart"
        )
        browser.close()
    assert (api, men, men) == (
        metrics,
        {key: wall[key] for key in men},
        {key: metrics[key] for key in men},
    )

    process = psutil.Process(live.process.pid)
    family = [process, *process.children(recursive=True)]
    listening = {
        one.laddr.port for member in family for one in member.net_connections("tcp") if one.status == psutil.CONN_LISTEN
    }
    os.kill(live.process.pid, signal.SIGINT)
    status = live.process.wait(PATIENCE_S)
    _, alive = psutil.wait_procs(family, timeout=5)
    said = live.log.read_text()
    assert len(family) >= 4, "this process, Redis, the worker, the server"
    assert (0, [], [], [], [], "stopped; nothing is left behind", False) == (
        status,
        alive,
        [port for port in listening if not is_closed(port)],
        list(live.work.iterdir()),
        list(live.temporary.iterdir()),
        said.splitlines()[-1],
        re.search("Traceback|error", said) is not None,
    )
