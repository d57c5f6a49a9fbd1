"""The layering rule: which room may import what, and what a pure room may never do."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Room -> what it may import beside the standard library, itself and what is shared.
# core also takes xxhash: keys of ids must be the same in every process, which the built-in hash is not.
ROOMS = {
    "stream_app/core": {"msgspec", "xxhash"},
    "stream_app/metrics": {"msgspec", "stream_app.core"},
    "stream_app/statistics": {"msgspec", "stream_app.core", "stream_app.metrics"},
    "stream_app/rendering": {"stream_app.core", "stream_app.metrics", "yaml"},
    "stream_app/worker": {
        "stream_app.core", "stream_app.metrics.catalogue", "faust", "aiokafka", "redis", "structlog",
        "prometheus_client", "xxhash",
    },
    # The server brings verdicts to Kafka itself (aiokafka): nobody else is there who could.
    "stream_app/serving": {
        "stream_app.core", "stream_app.metrics", "stream_app.statistics", "stream_app.decisions.contract", "redis",
        "aiohttp", "aiohttp_sse", "aiokafka", "prometheus_client", "msgspec", "structlog",
    },
    # What other services import, or copy into their own tree: not even our settings.
    "stream_app/decisions": {"redis"},
    # The collector is a server: it takes bodies apart without decoding them twice (msgspec), says how it is
    # (prometheus_client), and logs outages (structlog).
    "producers": {
        "stream_app.core.events", "stream_app.core.codec", "kafka", "aiohttp", "msgspec", "prometheus_client",
        "structlog",
    },
}  # fmt: skip
VENDORED = "stream_app/decisions"
SHARED = {"stream_app.settings", "stream_app.telemetry", "stream_app.errors", "stream_app.connection"}
PURE = ("stream_app/core", "stream_app/metrics", "stream_app/statistics", "stream_app/rendering")
IMPURE_MODULES = {
    "asyncio", "datetime", "io", "logging", "os", "pathlib", "random", "secrets", "socket", "subprocess", "tempfile",
    "threading", "time", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "exec", "eval"}


def modules(room: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / room).rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room they reach into"
            # `from a.b import c` may mean the module a.b.c: both readings must be allowed.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(name: str, allowed: set[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    """Imports point one way."""
    own = room.replace("/", ".")
    allowed = ROOMS[room] | {own} | (set() if room in (*PURE, VENDORED) else SHARED)
    strangers = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, tree in modules(room)
        for name in imports(tree)
        if name.split(".")[0] not in sys.stdlib_module_names and not is_within(name, allowed)
    }
    assert strangers == set()


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_touches_nothing(room: str) -> None:
    """No clock, file, environment, random source or log in core, metrics, statistics and rendering."""
    found = set()
    for path, tree in modules(room):
        name = path.relative_to(ROOT)
        found |= {f"{name}: {module}" for module in imports(tree) if module.split(".")[0] in IMPURE_MODULES}
        found |= {
            f"{name}: {node.func.id}()"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS
        }
    assert found == set()


def test_only_the_worker_knows_faust() -> None:
    """Faust could be replaced by rewriting one room."""
    knowing = {
        str(path.relative_to(ROOT))
        for room in ("stream_app", "producers")
        for path, tree in modules(room)
        if any(name.split(".")[0] in {"faust", "mode"} for name in imports(tree))
    }
    assert {name for name in knowing if not name.startswith("stream_app/worker/")} <= {"stream_app/cli.py"}


def test_core_knows_no_metric_by_name() -> None:
    """What is counted is the catalogue's business: no metric's name appears in core's code."""
    from stream_app.metrics.catalogue import METRICS

    # Some are also the names of an event, a field, a kind of feedback.
    names = {metric.name for metric in METRICS} - {"conversion", "relevance", "nps", "csat", "rating"}
    literals = {
        node.value
        for _, tree in modules("stream_app/core")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert names & literals == set()


@pytest.mark.parametrize("room", ["stream_app", "producers", "tests", "benchmarks"])
def test_files_stay_short(room: str) -> None:
    """One idea per module: no file over 500 lines."""
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / room).rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert long == {}


def test_an_init_holds_one_docstring() -> None:
    """There is exactly one way to import a thing."""
    fat = [
        str(path.relative_to(ROOT))
        for room in ("stream_app", "producers")
        for path, tree in modules(room)
        if path.name == "__init__.py" and len(tree.body) != 1
    ]
    assert fat == []
