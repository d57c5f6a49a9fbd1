"""Mutants of the alerts: each comparison turned round, or its threshold moved. The alerts' own examples must notice.

python -m tests.rendering.mutate            all of them; fails when one survives
python -m tests.rendering.mutate Lynceus... those of some alerts
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stream_app.metrics.alert import Alert
from stream_app.metrics.alerts import ALERTS
from stream_app.rendering.places import PLACES
from stream_app.rendering.rule_tests import alert_tests
from stream_app.rendering.rules import rule
from tests.rendering import promtool

TURNED = {">": "<", "<": ">", ">=": "<", "<=": ">", "==": "!=", "!=": "=="}
# Whatever is not a comparison of an expression comes first: labels in braces, and text.
_TOKEN = re.compile(r'"[^"]*"|\{[^}]*\}|>=|<=|==|!=|>|<')
_ZERO = re.compile(r"\s*0(?![.\d])")


def mutants(expr: str) -> Iterator[tuple[str, str]]:
    """Yield what was changed, and the changed expression."""
    for found in _TOKEN.finditer(expr):
        operator = found[0]
        if operator not in TURNED:
            continue
        before, after = expr[: found.start()], expr[found.end() :]
        yield f"{operator} turned at {found.start()}", f"{before}{TURNED[operator]}{after}"
        if zero := _ZERO.match(after):
            for moved in ("1", "-1"):
                yield f"0 moved to {moved} at {found.start()}", f"{before}{operator} {moved}{after[zero.end() :]}"
        else:
            for factor in ("2", "0.5"):
                yield f"threshold times {factor} at {found.start()}", f"{before}{operator} {factor} * {after.lstrip()}"


def survivors(alert: Alert, folder: Path) -> list[str]:
    """Return the changes that the alert's examples do not notice; the unchanged alert must pass."""
    tests = list(alert_tests(alert, PLACES))
    whole = rule(alert, PLACES)
    cases = {what: promtool.Case([whole | {"expr": expr}], tests) for what, expr in mutants(whole["expr"])}
    passed = promtool.passes({"unchanged": promtool.Case([whole], tests)} | cases, folder)
    assert passed.pop("unchanged"), f"{alert.name} does not do what its examples say"
    return [what for what, is_unnoticed in passed.items() if is_unnoticed]


def main() -> None:
    """Try all mutants of the alerts that are named, or of all."""
    chosen = [alert for alert in ALERTS if alert.name in sys.argv[1:] or len(sys.argv) == 1]
    tried, surviving = 0, 0
    for alert in chosen:
        with tempfile.TemporaryDirectory() as folder:
            left = survivors(alert, Path(folder))
        tried += len(list(mutants(alert.expr)))
        surviving += len(left)
        for what in left:
            sys.stderr.write(f"{alert.name}: nobody notices: {what}\n")
    sys.stderr.write(f"{tried} mutants of {len(chosen)} alerts, {surviving} survived\n")
    sys.exit(surviving > 0)


if __name__ == "__main__":
    main()
