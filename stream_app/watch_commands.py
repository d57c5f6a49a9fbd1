"""The commands about the watch: what it says, what it would have said, and what it can see."""

import asyncio
from pathlib import Path
from typing import Any, Final

import click

from stream_app import telemetry


@click.command()
@click.option("--impressions", type=click.FloatRange(0, min_open=True), help="Of the surface, a day, in both arms.")
@click.option("--holdout", metavar="SHARE", help="Of the impressions, e.g. 10% (default: 10%).")
@click.option("--ctr", metavar="SHARE", help="Clicks per impression of the holdout, e.g. 3%.")
@click.option("--lift", metavar="SHARE", help="Of the personalized arm's click rate over it (default: 25%).")
@click.option(
    "--drop", "drops", metavar="SHARE", multiple=True, help="Of the click rate that is lost (20% 33% 50% 80%)."
)
@click.option("--within", metavar="TIME", help="Also tell the least holdout that sees it in time, e.g. 60m.")
@click.option("--budget", type=float, default=1.0, show_default=True, help="False alarms a year, over all series.")
@click.option("--series", type=int, default=3, show_default=True, help="Surfaces times the rates watched of each.")
@click.option("--margin", metavar="SHARE", default="5%", show_default=True, help="By which the lift may breathe.")
@click.option("--live", metavar="URL", help="Take the traffic from a running server, e.g. http://127.0.0.1:8080.")
@click.option("--surface", metavar="NAME", help="With --live: of which surface.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def plan(live: str | None, surface: str | None, as_json: bool, **told: Any) -> None:
    """Tell how large a holdout must be, and how long until a drop of the click rate is seen."""
    from stream_app import planning

    if bool(live) != bool(surface):
        raise click.UsageError("--live and --surface go together")
    found = planning.asked(live, surface, told)
    click.echo(planning.as_json(found) if as_json else planning.as_table(found))


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--topic", metavar="NAME", help="A topic instead of a file, from its beginning to where it ends now.")
@click.option("--budget", type=float, help="False alarms a year, over all series (default: as the server's settings).")
@click.option("--series", type=int, help="Surfaces times the rates watched of each (default: likewise).")
@click.option("--margin", metavar="SHARE", help="By which the lift may breathe, e.g. 5% (default: likewise).")
@click.option("--settle", metavar="TIME", help="Nothing is said of a surface before, e.g. 1d (default: likewise).")
@click.option(
    "--share", "shares", metavar="ARM=SHARE", multiple=True, help="What an arm was promised: holdout=10% (likewise)."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def backtest(file: Path | None, topic: str | None, as_json: bool, **told: Any) -> None:
    """Run the watch over recorded events, and print what it would have said: when, where, why, how much, how sure."""
    if (file is None) == (topic is None):
        raise click.UsageError("name a file of JSON lines, or a topic with --topic")
    from stream_app import backtest_report

    settings = telemetry.configured()
    found = backtest_report.ran(settings, file, topic, backtest_report.policy_of(settings.verdicts, told))
    show = backtest_report.as_json if as_json else backtest_report.as_table
    click.echo(show(str(file or topic), *found))


@click.command()
@click.option("--surface", metavar="VALUE", help="Of this surface only.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, as /v1/verdicts answers.")
def verdicts(surface: str | None, as_json: bool) -> None:
    """Say whether personalization helps, since when not and why; and what was said before."""
    settings = telemetry.configured()
    from stream_app import verdicts as saying

    click.echo(asyncio.run(saying.answered(settings, surface, as_json=as_json)))


COMMANDS: Final = (plan, backtest, verdicts)
