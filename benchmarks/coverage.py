"""How often each interval that is served covers the truth: `make coverage`, a few minutes of one core.

    python -m benchmarks.coverage                                        # what docs/coverage.md shows
    python -m benchmarks.coverage --only nps --draws 50000 --seed 7
    python -m benchmarks.coverage --json benchmarks/results/coverage.json --page docs/coverage.md

A row draws samples from a world whose true value is known, and lets the product answer as it is served. Exits with 1
when a row does not keep what is asked of it: 94 to 96 % at usual sizes, at least 95 % where an interval is wider by
design. Corners (few, heavy-tailed, clustered) are shown and not judged.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np

from benchmarks import covered_arms, covered_lists, covered_means, covered_shares
from benchmarks.covered import METRIC, Coverage, Row, coverage, holds

ROWS: Final = (*covered_shares.ROWS, *covered_means.ROWS, *covered_lists.ROWS, *covered_arms.ROWS)
DRAWS: Final = 20_000
_BEGIN, _END = "<!-- coverage: begin -->", "<!-- coverage: end -->"
_ASKED: Final = {"nominal": "94 to 96 %", "at least": "at least", "corner": "shown"}


def run(row: Row, draws: int, seed: int) -> Coverage:
    """Return what becomes of a row; its random numbers are its own, so it is the same alone and among others."""
    rng = np.random.default_rng([seed, crc32(f"{row.subject}: {row.world}".encode())])
    return coverage(row, rng, max(200, round(draws * row.share)))


def told(row: Row, found: Coverage) -> dict[str, Any]:
    """Return what is written of a row."""
    return {
        "interval": row.subject,
        "world": row.world,
        "asked": row.kind,
        "nominal": row.nominal,
        "coverage": round(found.rate, 5),
        "error": round(found.error, 5),
        "too_low": round(found.above / found.answered, 5),
        "too_high": round(found.below / found.answered, 5),
        "draws": found.drawn,
        "answered": found.answered,
        "holds": holds(row, found),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of docs/coverage.md."""
    lines = [
        "| interval | world | asked | nominal | covers | +- | all too low | all too high | draws |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        name = f"[`{row['interval']}`](metrics.md#{row['interval']})" if row["interval"] in METRIC else row["interval"]
        figures = " | ".join(f"{row[of]:.2%}".replace("%", " %") for of in ("coverage", "error", "too_low", "too_high"))
        asked = f"{_ASKED[row['asked']]} | {100 * row['nominal']:.0f} %"
        none = "" if row["draws"] == row["answered"] else f", {row['answered']:,} answered"
        lines.append(f"| {name} | {row['world']} | {asked} | {figures} | {row['draws']:,}{none} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"of a row; what is dear gets fewer ({DRAWS:,})")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="rows whose interval has this in its name")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--page", type=Path, help="also write the table there, between its two marks")
    args = parser.parse_args()
    found = []
    for row in ROWS:
        if args.only in row.subject:
            found.append(told(row, run(row, args.draws, args.seed)))
            one = found[-1]
            sys.stdout.write(
                f"{'' if one['holds'] else '!!'}\t{one['coverage']:.2%} +- {one['error']:.2%}\t{one['asked']}"
                f" {one['nominal']:.0%}\t{one['draws']:,}\t{row.subject}: {row.world}\n"
            )
            sys.stdout.flush()
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    if args.page:
        text = args.page.read_text()
        before, rest = text.split(_BEGIN)
        args.page.write_text(f"{before}{_BEGIN}\n{table(found)}\n{_END}{rest.split(_END)[1]}")
    return int(not all(row["holds"] for row in found))


if __name__ == "__main__":
    sys.exit(main())
