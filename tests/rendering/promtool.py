"""Prometheus' own tool, on rules that are made up for a test."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stream_app.rendering.rule_tests import rule_tests


class Case(NamedTuple):
    """Rules, as Prometheus reads them, and tests of them."""

    rules: Sequence[dict[str, Any]]
    tests: Sequence[dict[str, Any]]


def path() -> str:
    """Return where promtool is, or nothing."""
    return shutil.which("promtool") or ""


def ran(*words: str | Path, folder: Path) -> tuple[int, str]:
    """Run promtool; return its exit code, and what it said."""
    done = subprocess.run(
        [path(), *map(str, words)],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=170,
        check=False,
    )
    return done.returncode, done.stdout


def passes(cases: Mapping[str, Case], folder: Path) -> dict[str, bool]:
    """Say of each case whether its tests pass on its rules. One process: half of its time is its start."""
    files = {}
    for number, (name, case) in enumerate(cases.items()):
        (folder / f"{number}.rules.yml").write_text(
            yaml.safe_dump({"groups": [{"name": "all", "rules": list(case.rules)}]}), encoding="utf-8"
        )
        tested = folder / f"{number}.test.yml"
        tested.write_text(yaml.safe_dump(rule_tests([f"{number}.rules.yml"], case.tests)), encoding="utf-8")
        files[tested.name] = name
    _, said = ran("test", "rules", *files, folder=folder)
    told = re.findall(r"^Unit Testing:  (\S+)\n  (SUCCESS|FAILED)", said, re.MULTILINE)
    assert list(files) == [file for file, _ in told], said
    return {files[file]: outcome == "SUCCESS" for file, outcome in told}
