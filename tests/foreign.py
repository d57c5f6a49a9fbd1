"""Records of other systems, as their makers' public documentation shows them; each file names where."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "producers" / "foreign"


def records(source: str) -> dict[str, Any]:
    """Return the records of a source by name."""
    content: dict[str, Any] = json.loads((FOLDER / f"{source}.json").read_text(encoding="utf-8"))["records"]
    return content
