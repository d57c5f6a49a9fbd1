"""docs/sdk.md names every option with its default and every counter, and its code is right."""

import ast
import re
from pathlib import Path

from producers.aio import AsyncTracker
from producers.buffer import DeliveryRules
from producers.options import Options
from producers.report import DeliveryReport
from producers.sdk import Tracker

PAGE = (Path(__file__).parent.parent.parent / "docs" / "sdk.md").read_text(encoding="utf-8")


def table(header: str) -> dict[str, str]:
    """Return the first two columns of the table whose first column has this header."""
    body = PAGE.partition(f"| {header} |")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", body, re.MULTILINE))


def test_every_option_is_documented_with_its_default() -> None:
    """The table has the options in the order of the code; numbers are the defaults that are in effect."""
    documented = table("option")
    defaults = DeliveryRules()._asdict()
    numbers = {name: str(value) for name, value in defaults.items() if isinstance(value, int | float)}
    assert list(Options.__annotations__) == list(documented)
    assert numbers == {name: documented[name] for name in numbers}


def test_every_counter_is_documented() -> None:
    """The table has the fields of the report, in order."""
    assert list(DeliveryReport._fields) == list(table("counter"))


def test_the_code_of_the_page_calls_what_exists() -> None:
    """Every example parses, and every method that it calls on a tracker is one."""
    calls = set()
    for block in re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL):
        tree = compile(block, "docs/sdk.md", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        calls |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tracker"
        }
    assert {name for name in calls if not (hasattr(Tracker, name) and hasattr(AsyncTracker, name))} == set()
    assert {"assign", "decide", "impression", "click"} <= calls


def test_both_faces_have_the_same_methods() -> None:
    """What Tracker can do, AsyncTracker can."""
    methods = [{name for name in dir(face) if not name.startswith("_")} for face in (Tracker, AsyncTracker)]
    assert methods[0] | {"start"} == methods[1]
