"""`lynceus`: the commands, and the one place where rooms are put together. Each imports what it needs when it runs."""

import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_app import answer_commands, input_commands, telemetry, watch_commands
from stream_app import settings as configuration
from stream_app.errors import LynceusError

if TYPE_CHECKING:
    from stream_app.settings import Settings


class _Commands(click.Group):
    """Shows what is wrong as one line, in the order of the commands as they are written here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LynceusError as error:
            click.echo(f"lynceus: {error}", err=True)
            ctx.exit(1)


def until_interrupted(stop: Callable[[], None]) -> None:
    """Call `stop` at the first SIGINT or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("lynceus"), prog_name="lynceus")
def main() -> None:
    """Lynceus watches personalization: exact, live metrics from interaction events.

    Settings come from LYNCEUS_* variables; `lynceus config` lists them.
    """


@main.command()
@click.option("--once", is_flag=True, help="Replay, count, print the result, and leave.")
@click.option("--json", "as_json", is_flag=True, help="Print the result of --once as one JSON object.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of Open Bandit files, <campaign>-<policy>.csv.gz (default: those that come with Lynceus).",
)
@click.option(
    "--kafka",
    type=click.Choice(["embedded", "apache"]),
    default="embedded",
    help="Without LYNCEUS_KAFKA__BOOTSTRAP: the built-in broker, or a real Apache Kafka (Java and Maven).",
)
@click.option("--scenario", default="steady", show_default=True, help="What the shop goes through, after 20 s.")
@click.option("--rate", type=click.FloatRange(0.1, 1000), default=40.0, show_default=True, help="Sessions a second.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the simulated shop.")
def demo(
    once: bool,
    as_json: bool,
    data: Path | None,
    kafka: str,
    scenario: str,
    rate: float,
    seed: int,
) -> None:
    """Real clicks, then a simulated shop, on a live wall: everything in one command."""
    from stream_app import demo as demonstration

    if as_json and not once:
        raise click.UsageError("--json goes with --once")
    plan = demonstration.Plan(data, kafka == "apache", scenario, rate, seed)
    if once:
        demonstration.once(plan, as_json=as_json)
    else:
        demonstration.live(plan)


@main.command()
def worker() -> None:
    """Count: read events from Kafka, keep the state in Redis."""
    settings = configuration.load()
    from faust.worker import Worker

    from stream_app.worker.app import create_app

    app = create_app(settings)
    telemetry.configure(settings.log_format, settings.log_level, app.instruments.logged)
    # Faust would set logging up a second time, and draw on the terminal.
    process = Worker(app, loglevel=settings.log_level.upper(), quiet=True, override_logging=False)
    process.spinner = None
    process.execute_from_commandline()


@main.command()
def serve() -> None:
    """Read: the live wall, the API and /metrics, from the state in Redis."""
    settings = telemetry.configured()
    from stream_app.serving.server import serve as run

    asyncio.run(
        _until_stopped(run, settings, lambda url: click.echo(f"wall {url}/wall   metrics {url}/metrics", err=True))
    )


@main.command()
@click.option(
    "--rate", type=click.FloatRange(0.01, 100_000), default=20.0, show_default=True, help="Sessions a second."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the simulated world.")
@click.option(
    "--scenario",
    "texts",
    multiple=True,
    metavar="NAME[=SIZE][@START[-END]][~RAMP]",
    help="What happens to it, e.g. drop@60s, spike=5@2m-3m~10s; may be given several times (default: steady).",
)
@click.option("--events", type=click.IntRange(0), help="Leave after so many records.")
@click.option(
    "--truth", type=click.Path(path_type=Path), help="Write what is true, and at the end what happened, there."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write JSON lines there, as fast as possible (- = stdout)."
)
@click.option("--start-ms", type=int, help="Event time of the beginning, with --out (default: now).")
@click.option("--control", type=click.Path(path_type=Path), help="A file of scenarios, followed while the world runs.")
def produce(
    rate: float,
    seed: int,
    texts: tuple[str, ...],
    events: int | None,
    truth: Path | None,
    out: Path | None,
    start_ms: int | None,
    control: Path | None,
) -> None:
    """Send the events of a simulated world whose truth is known: in real time to Kafka, or as JSON lines to a file.

    --truth - --events 0 prints what is true, and sends nothing.
    """
    from itertools import islice

    from producers.ledger import Ledger
    from producers.producing import Control, phases, publish, write
    from producers.transit import records
    from producers.truth import told
    from producers.world import World

    if start_ms is not None and out is None:
        raise click.UsageError("--start-ms goes with --out: what is sent happens now")
    if control is not None and out is not None:
        raise click.UsageError("--control follows a world that runs in real time, without --out")
    start_ms = time.time_ns() // 1_000_000 if start_ms is None else start_ms
    world = World(seed, phases(texts, start_ms))
    ledger = Ledger() if truth else None

    def tell() -> None:
        if truth is not None and ledger is not None:
            known = told(seed, world.population, world.schedule, start_ms, rate) | {"happened": ledger.told()}
            with click.open_file(str(truth), "w", encoding="utf-8") as told_there:
                told_there.write(json.dumps(known, indent=2) + "\n")

    if str(truth) != "-" or events == 0:
        tell()
    if events == 0:
        return
    stop = threading.Event()
    until_interrupted(stop.set)
    # Nobody may have been counted who does not leave, so the ledger is told of a record only as it is taken.
    leaving = islice(records(world, world.happenings(start_ms, rate), ledger), events)
    if out is not None:
        with click.open_file(str(out), "wb") as lines:
            report: dict[str, Any] = {"written": write(leaving, lines, stop)}
    else:
        from producers.publisher import Publisher

        with Publisher(telemetry.configured().kafka) as publisher:
            publish(leaving, publisher, stop, control=Control(control, world) if control else None)
        report = publisher.delivery()._asdict()
    tell()
    if str(out) != "-":
        _report(report)


@main.command()
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.option("--speed", type=click.FloatRange(0.001), help="Times the original pace (default: as fast as possible).")
@click.option(
    "--starts-at", metavar="TIME", help="Move the events: the first one happens `now`, or at a time of ISO 8601."
)
@click.option("--ends-at", metavar="TIME", help="Move the events: the last one happens then.")
@click.option("--resume", is_flag=True, help="Continue after the last event that an earlier replay has delivered.")
def replay(source: Path | None, speed: float | None, starts_at: str | None, ends_at: str | None, resume: bool) -> None:
    """Send recorded events: a folder of Open Bandit files (moved to end now), or a file of JSON lines (as they are)."""
    if starts_at and ends_at:
        raise click.UsageError("--starts-at and --ends-at are two moves; choose one")
    if resume and source is None:
        raise click.UsageError("--resume goes with a source of your own")
    settings = telemetry.configured()
    from stream_app import intake

    move = intake.Move(intake.time_ms(starts_at), intake.time_ms(ends_at))
    _report(intake.replay_into(settings.kafka, source, speed, move, is_resumed=resume))


@main.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "source", required=True, metavar="SOURCE", help="What wrote it: segment, ga4, snowplow, ...")
@click.option("--to-file", type=click.Path(path_type=Path), help="Write the events there, and send nothing.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="A secret in a file: user ids become pseudonyms under it, as in the SDK. Without it, they are such already.",
)
@click.option("--key-id", default="k1", show_default=True, help="The id of that secret: pseudonyms begin with it.")
@click.option("--resume", is_flag=True, help="Continue after the last line that an earlier import has delivered.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def import_(
    file: Path, source: str, to_file: Path | None, key_file: Path | None, key_id: str, resume: bool, as_json: bool
) -> None:
    """Send the events of a file that another system has written: JSON lines, a JSON array, gzip of either.

    What is refused is written to FILE.rejected.jsonl with its line, field and reason. docs/adapters.md says what
    becomes of what.
    """
    from stream_app import intake

    imported = intake.import_into(file, source, to_file, key_file, key_id=key_id, is_resumed=resume)
    click.echo(json.dumps(imported) if as_json else intake.summary(imported))


@main.command()
@click.option("--new-key", is_flag=True, help="Print a new key and its hash, and leave.")
@click.option("--browser", is_flag=True, help="With --new-key: a key that a page shows to everybody.")
def collect(new_key: bool, browser: bool) -> None:
    """Take events over HTTP: POST /v1/events, and /beacon.js for browsers."""
    if browser and not new_key:
        raise click.UsageError("--browser goes with --new-key")
    if new_key:
        from producers import collect_keys

        made = collect_keys.new_key(collect_keys.BROWSER if browser else collect_keys.SERVER)
        setting = f"{configuration.PREFIX}COLLECTOR__{'BROWSER_' if browser else ''}KEY_HASHES"
        click.echo(f"key   {made.key}\nhash  {made.hash}\n")
        click.echo(f"Give the key to the sender; it is not kept. Add the hash to {setting}.", err=True)
        return
    settings = telemetry.configured()
    from producers.collector import collect as run

    words = "events {0}/v1/events   beacon {0}/beacon.js"
    asyncio.run(_until_stopped(run, settings, lambda url: click.echo(words.format(url), err=True)))


@main.group()
def topics() -> None:
    """Kafka topics."""


@topics.command()
def ensure() -> None:
    """Create the topics that are missing."""
    settings = telemetry.configured()
    from producers.topics import ensure_topics

    created = ensure_topics(settings.kafka)
    click.echo(f"created {', '.join(created)}" if created else "all topics are there")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def inspect(as_json: bool) -> None:
    """Show what is stored of each partition."""
    from stream_app.worker import operations

    reports = _on_redis(lambda redis, settings: operations.inspect(redis, settings))
    if as_json:
        click.echo(json.dumps([report._asdict() for report in reports], indent=2))
        return
    for r in reports:
        outcomes = ", ".join(f"{number:,} {name}" for name, number in r.outcomes.items() if number)
        click.echo(
            f"partition {r.partition}: offset {r.offset:,} of {r.end_offset:,}, owner {r.owner or 'none'}, "
            f"{r.panes} panes, {r.hours} hours, {r.slices} slices, {r.stored_bytes:,} bytes; "
            f"{outcomes or 'nothing counted yet'}"
        )


@main.group()
def partition() -> None:
    """Decide about a partition that is refused (stop its workers first, or let them be fenced)."""


@partition.command()
@click.argument("number", type=int)
@click.option("--yes", is_flag=True, required=True, help="Yes, this log continues those counts.")
def adopt(number: int, yes: bool) -> None:
    """Keep the counts, and continue them on the log that is there now, from its start."""
    from stream_app.worker import operations

    del yes
    _on_redis(lambda redis, settings: operations.adopt(redis, settings, number))
    click.echo(f"partition {number}: its next owner continues on the present log")


@partition.command()
@click.argument("number", type=int)
@click.option("--yes", is_flag=True, required=True, help="Yes, forget this partition's counts.")
def reset(number: int, yes: bool) -> None:
    """Forget the counts, and count from the log's start."""
    from stream_app.worker import operations

    del yes
    _on_redis(lambda redis, settings: operations.reset(redis, settings, number))
    click.echo(f"partition {number}: its next owner counts from the log's start")


for asking in (*answer_commands.COMMANDS, *watch_commands.COMMANDS, *input_commands.COMMANDS):
    main.add_command(asking)


@main.command()
@click.option("--check", is_flag=True, help="Write nothing; fail where a file is not what would be written.")
@click.option("--to", type=click.Path(path_type=Path), help="Write rules and Alertmanager's configuration there.")
@click.option("--page", metavar="URL", help="With --to: the webhook that pages somebody.")
@click.option("--ticket", metavar="URL", help="With --to: the webhook that writes a ticket.")
@click.option("--wall", metavar="URL", help="With --to: the webhook that shows everything.")
@click.option("--watchdog", metavar="URL", help="With --to: the webhook that pages when it hears nothing.")
@click.option("--runbooks", metavar="URL", help="With --to: the folder of the runbooks (default: docs/runbooks).")
@click.option("--boards", metavar="URL", help="With --to: the server whose wall alerts link to.")
def render(check: bool, to: Path | None, **places: str | None) -> None:
    """Write what is generated from the catalogue.

    In a checkout: docs/metrics.md, the runbooks' index, rules, scraping, Alertmanager. With --to: the rules and
    Alertmanager's configuration, for your own receivers.
    """
    from stream_app import generating

    if to is None and (given := [name for name, url in places.items() if url]):
        raise click.UsageError(f"--{given[0]} goes with --to")
    click.echo(
        generating.for_installation(to, places, is_checked=check) if to else generating.in_checkout(is_checked=check)
    )


@main.command()
def schema() -> None:
    """Print the JSON Schema of the events."""
    from stream_app.core import codec

    click.echo(json.dumps(codec.schema(), indent=2, ensure_ascii=False))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--example", is_flag=True, help="Print .env.example: every setting with its default.")
def config(as_json: bool, example: bool) -> None:
    """Print the settings in effect, secrets masked."""
    if example:
        click.echo(configuration.example(), nl=False)
        return
    effective = configuration.shown(configuration.load())
    if as_json:
        click.echo(json.dumps(effective, indent=2))
    else:
        for name, value in effective.items():
            click.echo(f"{name}={value}")


async def _until_stopped(
    run: Callable[["Settings", asyncio.Event, Callable[[str], None]], Awaitable[None]],
    settings: "Settings",
    on_ready: Callable[[str], None],
) -> None:
    """Run a serving process until the first SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop, on_ready)


def _on_redis(operate: Callable[[Any, "Settings"], Awaitable[Any]]) -> Any:
    """Run one operation on the configured Redis, after checking that it can be the state of record."""
    settings = telemetry.configured()
    from stream_app.worker import store

    async def run() -> Any:
        redis = store.connect(settings.redis)
        try:
            await store.check(redis, settings.redis.url)
            return await operate(redis, settings)
        finally:
            await redis.aclose()

    return asyncio.run(run())


def _report(figures: Mapping[str, Any]) -> None:
    click.echo(json.dumps({name: value for name, value in figures.items() if value is not None}), file=sys.stdout)
