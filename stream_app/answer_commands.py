"""The commands that answer from what was counted: which metrics there are, what one is, what context is good for."""

import asyncio
from collections.abc import Callable
from typing import Final

import click

from stream_app import settings as configuration
from stream_app import telemetry
from stream_app.core.slices import DIMENSIONS


def _by_dimension(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each dimension."""
    for dimension in reversed(DIMENSIONS):
        command = click.option(f"--{dimension}", metavar="VALUE", help=f"Of this {dimension} only.")(command)
    return command


@click.command()
@click.argument("name", required=False)
@click.option("--family", metavar="NAME", help="Of this family only.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def metrics(name: str | None, family: str | None, as_json: bool) -> None:
    """List the metrics there are, or show all about one."""
    from stream_app import answers

    click.echo(answers.listed(configuration.load(), name, family, as_json=as_json))


@click.command()
@click.argument("metric")
@click.option("--window", metavar="NAME", help="1m 5m 15m 1h 24h 7d 28d, or all that is kept (default: 5m).")
@_by_dimension
@click.option("--against", metavar="ARM", help="Hold the arm (default: personalized) against this one.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, as /v1/query answers.")
def query(metric: str, window: str | None, against: str | None, as_json: bool, **where: str | None) -> None:
    """Answer one metric from the state in Redis: value, interval, count, and how far to trust it."""
    settings = telemetry.configured()
    from stream_app import answers

    asked = {"metric": metric, "window": window, "against": against, **where}
    given = {name: value for name, value in asked.items() if value is not None}
    click.echo(asyncio.run(answers.answered(settings, given, as_json=as_json)))


@click.command()
@click.option("--surface", metavar="VALUE", help="Of this surface only.")
@click.option("--window", metavar="NAME", help="1m 5m 15m 1h 24h 7d 28d, or all that is kept (default: 24h).")
@click.option("--json", "as_json", is_flag=True, help="As JSON, as /v1/context answers.")
def context(surface: str | None, window: str | None, as_json: bool) -> None:
    """Say what context is good for: what it adds between arms, step by step, and the index of relevance."""
    settings = telemetry.configured()
    from stream_app import answers

    given = {name: value for name, value in (("surface", surface), ("window", window)) if value is not None}
    click.echo(asyncio.run(answers.of_context(settings, given, as_json=as_json)))


COMMANDS: Final = (metrics, query, context)
