"""What a partition counted in the spreads, and the same from the raw events by plain counting."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import exp, log, log2
from typing import Any, NamedTuple

from stream_app.core.cells import unpack_rows
from stream_app.core.histograms import read_key
from stream_app.core.processor import Partition
from stream_app.metrics.catalogue import HISTOGRAMS

Pair = tuple[str, str]
BinsBy = dict[Pair, dict[str, dict[int, int]]]
WINDOW_MS = 600_000


def bins_of(state: Partition) -> BinsBy:
    """Return all bins that are not 0, by surface and arm and by the name of the histogram."""
    state.bins.settle()
    names = {histogram.number: histogram.name for histogram in HISTOGRAMS}
    sums: BinsBy = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    for tier in (state.bins.cells.panes, state.bins.cells.hours):
        for rows in tier.values():
            for packed, (amount,) in (unpack_rows(rows) if isinstance(rows, bytes) else rows).items():
                key = read_key(packed)
                sums[state.slices.slices[key.slice_number][:2]][names[key.histogram]][key.bin] += amount
    return {
        pair: {name: {b: n for b, n in bins.items() if n} for name, bins in by_name.items()}
        for pair, by_name in sums.items()
    }


class Item(NamedTuple):
    """An item of a list: where it was first seen, what was stated, whether it was clicked in time."""

    position: int
    item: str
    predicted: float | None
    propensity: float | None
    is_clicked: bool


def lists_of(records: Iterable[bytes]) -> dict[Pair, list[list[Item]]]:
    """Return the lists by surface and arm, from the JSON of what arrived: group, sort out, join."""
    met: set[str] = set()
    shown: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    clicks: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in map(json.loads, records):
        if event["id"] in met or event.get("bot") or event.get("test"):
            continue
        met.add(event["id"])
        if event["type"] == "impression":
            shown[event["decision"]].setdefault(event["item"], event)
        elif event["type"] == "click":
            clicks[event["decision"], event["item"]].append(event["ts"])
    found: dict[Pair, list[list[Item]]] = defaultdict(list)
    for decision, items in shown.items():
        first = next(iter(items.values()))
        found[first["surface"], first.get("arm", "none")].append([
            Item(
                event["position"], item, event.get("predicted"), event.get("propensity"),
                any(-10_000 <= at - event["ts"] <= WINDOW_MS for at in clicks[decision, item]),
            )
            for item, event in items.items()
        ])  # fmt: skip
    return dict(found)


def order_of(lists: Iterable[list[Item]], k: int) -> dict[str, float]:
    """Return the metrics of order by their textbook definitions, in floating point."""
    clicked = [sorted(item.position for item in one if item.is_clicked) for one in lists]
    seen = [[item.position for item in one if item.position <= k] for one in lists]
    ranks = [1 / places[0] if places else 0.0 for places in clicked]
    gains = [_ndcg(places, k) for places in clicked]
    some = [at for at, places in enumerate(clicked) if places]
    return {
        f"hit_rate_at_{k}": sum(any(p <= k for p in places) for places in clicked) / len(clicked),
        f"precision_at_{k}": sum(p <= k for places in clicked for p in places) / sum(map(len, seen)),
        f"ndcg_at_{k}": sum(gains) / len(gains),
        f"ndcg_given_click_at_{k}": sum(gains) / len(some),
        "reciprocal_rank": sum(ranks) / len(ranks),
        "reciprocal_rank_given_click": sum(ranks) / len(some),
    }


def accuracy_of(items: Iterable[Item], threshold: float) -> dict[str, float]:
    """Return the metrics of predictions by their definitions, over the impressions that state one."""
    known = [(item.predicted, item.is_clicked) for item in items if item.predicted is not None]
    n, clicks = len(known), sum(y for _, y in known)
    said = [y for p, y in known if p >= threshold]
    loss = -sum(log(p if y else 1 - p) for p, y in known) / n
    rate = clicks / n
    pairs = [(p, q) for p, y in known if y for q, z in known if not z]
    found = {
        "prediction_ratio": clicks / sum(p for p, _ in known),
        "brier_score": sum((p - y) ** 2 for p, y in known) / n,
        "log_loss": loss,
        "normalised_entropy": loss / -(rate * log(rate) + (1 - rate) * log(1 - rate)),
        "calibration_error": _ece(known),
        "prediction_accuracy": sum((p >= threshold) == y for p, y in known) / n,
        "prediction_base_rate": rate,
        "prediction_recall": sum(said) / clicks,
        "prediction_auc": sum((p > q) + (p == q) / 2 for p, q in pairs) / len(pairs),
    }
    return found | ({"prediction_precision": sum(said) / len(said)} if said else {})


def random_choice_of(items: Iterable[Item], among: float | None = None) -> float:
    """Return the self-normalised value of a random choice with weights cut at 20, by its definition."""
    known = [(item.propensity, item.is_clicked) for item in items if item.propensity is not None]
    of = among or sum(1 / p for p, _ in known) / len(known)
    weights = [min(1 / of / p, 20.0) for p, _ in known]
    return sum(w for w, (_, y) in zip(weights, known, strict=True) if y) / sum(weights)


def corrected_of(lists: Iterable[list[Item]], holdout: Iterable[list[Item]]) -> dict[str, float]:
    """Return what is told against the holdout."""
    own, reference = _by_position(lists), _by_position(holdout)
    rates = {p: c / n for p, (n, c) in reference.items()}
    clicks = sum(c for _, c in own.values())
    return {
        "clicks_over_expected": clicks / sum(n * rates[p] for p, (n, _) in own.items()),
        "examination_corrected_ctr": sum(
            c * (min(rates[1] / rates[p], 20) if rates[p] else 20) for p, (_, c) in own.items()
        )
        / sum(n for n, _ in own.values()),
    }


def _by_position(lists: Iterable[list[Item]]) -> Mapping[int, tuple[int, int]]:
    seen: dict[int, tuple[int, int]] = {}
    for one in lists:
        for item in one:
            n, c = seen.get(item.position, (0, 0))
            seen[item.position] = n + 1, c + item.is_clicked
    return seen


def _ndcg(clicked: list[int], k: int) -> float:
    if not clicked:
        return 0.0
    gain = sum(1 / log2(p + 1) for p in clicked if p <= k)
    return gain / sum(1 / log2(p + 1) for p in range(1, min(len(clicked), k) + 1))


def _ece(known: list[tuple[float, bool]]) -> float:
    edges = [1 / (1 + exp(-(edge - 6.5))) for edge in range(14)]
    bins: dict[int, float] = defaultdict(float)
    for p, y in known:
        bins[sum(p >= edge for edge in edges)] += p - y
    return sum(map(abs, bins.values())) / len(known)
