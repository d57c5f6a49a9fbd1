"""The commands for figures that no event can give: telling one, and listing what was told."""

import asyncio
from typing import Any, Final

import click

from stream_app import telemetry


@click.command("input")
@click.argument("key")
@click.argument("value", type=float)
@click.option("--from", "starts", required=True, metavar="TIME", help="A date, ISO 8601 with its zone, or ms.")
@click.option("--to", "ends", required=True, metavar="TIME", help="The first moment for which it is not told.")
@click.option("--scope", help="Of what: acquisition, personalization, acquisition/channel=email, ...")
@click.option("--currency", metavar="CODE", help="Of a cost (default: the reporting currency).")
@click.option("--author", help="Whose figure it is.")
@click.option("--source", help="Where it comes from: a report, a ledger.")
@click.option("--id", "id_", help="Replaces what was told under it (default: by key, scope and time).")
def input_(key: str, value: float, id_: str | None, **more: Any) -> None:
    """Tell a figure that no event can give: cost, margin_rate, unit_cost, benchmark, market_share, discount_rate."""
    settings = telemetry.configured()
    from stream_app import telling

    click.echo(telling.line(telling.tell(settings, telling.Said(key, value, id=id_, **more))))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def inputs(as_json: bool) -> None:
    """List what people told, with author and date."""
    settings = telemetry.configured()
    from stream_app import telling

    click.echo(telling.shown(asyncio.run(telling.known(settings)), as_json=as_json))


COMMANDS: Final = (input_, inputs)
