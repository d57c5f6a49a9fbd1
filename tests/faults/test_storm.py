"""All faults of real processes mixed by a seed; `make chaos MINUTES=10 SEED=n` runs it for longer."""

import shutil
from pathlib import Path

from tests.faults import chaos


def test_chaos(tmp_path: Path, kafka_cache: Path) -> None:
    """100,000 records, thirty faults of twenty kinds by seed: nothing is lost, nothing doubled, all of it counted."""
    summary = chaos.run(3, tmp_path, events=105_000, faults=31)
    assert summary.is_exact, str(summary)
    assert summary.verdict.records >= 100_000
    assert summary.faults.total() >= 30
    shutil.rmtree(tmp_path, ignore_errors=True)
