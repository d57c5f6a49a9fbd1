"""The frozen answers of gbstats and ssrm-test; freeze_oracles.py says how they were made."""

import json
from pathlib import Path

ORACLES = json.loads(Path(__file__).with_name("oracles.json").read_text(encoding="utf-8"))
