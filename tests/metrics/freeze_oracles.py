"""Writes oracles.json: what ir-measures and scikit-learn say of lists that a seed makes. Not a test; run by hand.

They are no dependencies of the project, and so have an environment of their own:

    python -m venv oracles && oracles/bin/pip install ir-measures==0.4.3 scikit-learn==1.9.0
    oracles/bin/python tests/metrics/freeze_oracles.py

The lists are frozen beside the answers: of each, the predicted click probabilities from the top, and the clicked
positions. A click makes an item relevant; the run is the list as shown. Lists without a click count, with 0.
"""

import json
from importlib.metadata import version
from math import exp
from pathlib import Path
from random import Random

import ir_measures
from ir_measures import RR, P, Qrel, ScoredDoc, Success, nDCG
from sklearn import metrics

LENGTH = 12
CUT_OFFS = (5, 10)
THRESHOLD = 1 / (1 + exp(2.2))
"""At and above it, predictions are taken for "click": the edge of a score bin."""


def sigmoid(logit):
    return 1 / (1 + exp(-logit))


def lists(seed, number, score):
    """Make lists in which clicks follow the predictions, and are rarer further down."""
    random = Random(seed)
    made = []
    for _ in range(number):
        predicted = [score(random) for _ in range(LENGTH)]
        clicked = [at + 1 for at, p in enumerate(predicted) if random.random() < 2.5 * p / (1 + at / 6)]
        made.append({"predicted": predicted, "clicked": clicked})
    return made


def ranked(made):
    """Return what ir-measures says: means over all lists, and over those with a click."""
    qrels, run = [], []
    for at, each in enumerate(made):
        for position in range(1, LENGTH + 1):
            qrels.append(Qrel(str(at), f"i{position}", int(position in each["clicked"])))
            run.append(ScoredDoc(str(at), f"i{position}", float(-position)))
    asked = [RR, *(of @ k for of in (nDCG, P, Success) for k in CUT_OFFS)]
    by_list = {}
    for found in ir_measures.iter_calc(asked, qrels, run):
        by_list.setdefault(str(found.measure), {})[int(found.query_id)] = found.value
    clicked = [at for at, each in enumerate(made) if each["clicked"]]
    means = {name: sum(of.get(at, 0.0) for at in range(len(made))) / len(made) for name, of in by_list.items()}
    given = {f"{name} given a click": sum(of[at] for at in clicked) / len(clicked) for name, of in by_list.items()}
    return means | given


def predicted(made):
    """Return what scikit-learn says of the predictions."""
    pairs = [(p, int(at + 1 in each["clicked"])) for each in made for at, p in enumerate(each["predicted"])]
    p, y = ([pair[place] for pair in pairs] for place in (0, 1))
    said = [int(each >= THRESHOLD) for each in p]
    return {
        "roc_auc_score": metrics.roc_auc_score(y, p),
        "brier_score_loss": metrics.brier_score_loss(y, p),
        "log_loss": metrics.log_loss(y, p),
        "accuracy_score": metrics.accuracy_score(y, said),
        "precision_score": metrics.precision_score(y, said),
        "recall_score": metrics.recall_score(y, said),
    }


if __name__ == "__main__":
    logs = {
        "any prediction": lists(1, 40, lambda random: round(sigmoid(random.gauss(-2.2, 1.2)), 6)),
        "a prediction a bin": lists(2, 40, lambda random: sigmoid((round(random.gauss(-22, 10)) + 0.5) / 10)),
        "few clicks": lists(3, 60, lambda random: round(sigmoid(random.gauss(-4, 1.2)), 6)),
    }
    packages = ("ir-measures", "pytrec-eval-terrier", "scikit-learn", "numpy")
    frozen = {
        "made by": "tests/metrics/freeze_oracles.py with " + ", ".join(f"{name} {version(name)}" for name in packages),
        "logs": {
            name: {"lists": made, "ranked": ranked(made), "predicted": predicted(made)} for name, made in logs.items()
        },
    }
    text = json.dumps(frozen, default=float)
    # A list a line: numbers that nobody reads one by one.
    text = text.replace(' {"predicted": [', '\n{"predicted": [').replace(' "ranked": {', '\n"ranked": {')
    Path(__file__).with_name("oracles.json").write_text(text + "\n", encoding="utf-8")
