"""Writes oracles.json: what gbstats and ssrm-test say of shops that a seed makes. Not a test; run by hand.

Both need numpy < 2 and so an environment of their own:

    python -m venv oracles && oracles/bin/pip install gbstats==0.8.0 ssrm-test==0.1.5 "numpy<2"
    oracles/bin/python tests/statistics/freeze_oracles.py

The inputs are frozen beside the answers, as other versions of numpy may draw other shops from the same seed.
"""

import json
from pathlib import Path

import numpy as np
import ssrm_test.constants as names
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import (
    RatioStatistic,
    RegressionAdjustedStatistic,
    SampleMeanStatistic,
    compute_theta,
)
from ssrm_test.ssrm_test import sequential_posteriors

MADE_BY = "tests/statistics/freeze_oracles.py with gbstats 0.8.0, ssrm-test 0.1.5, numpy 1.26.4, scipy 1.17.1"
COUNTS = [
    ([900, 100], [0.9, 0.1]),
    ([9000, 1100], [0.9, 0.1]),
    ([50100, 49400], [0.5, 0.5]),
    ([3, 0], [0.5, 0.5]),
    ([70000, 20000, 10500], [0.7, 0.2, 0.1]),
    ([900000, 101000], [0.9, 0.1]),
]


def moments(y, x):
    return [int(v) for v in (len(y), y.sum(), x.sum(), (y * y).sum(), (x * x).sum(), (x * y).sum())]


def arm(seed, users, rate):
    rng = np.random.default_rng(seed)
    impressions = rng.poisson(9, users) + 1
    clicks = rng.binomial(impressions, rng.beta(2, 2 / rate - 2, users))
    return moments(clicks, impressions)


def ratio(m):
    return RatioStatistic(
        n=m[0],
        m_statistic=SampleMeanStatistic(n=m[0], sum=m[1], sum_squares=m[3]),
        d_statistic=SampleMeanStatistic(n=m[0], sum=m[2], sum_squares=m[4]),
        m_d_sum_of_products=m[5],
    )


def lifts():
    for seed, (nt, nc, rt, rc) in enumerate(
        [
            (18_000, 2_000, 0.0375, 0.03),
            (900, 100, 0.12, 0.1),
            (5_000, 5_000, 0.05, 0.05),
            (300_000, 30_000, 0.031, 0.03),
        ]
    ):
        treated, base = arm(2 * seed, nt, rt), arm(2 * seed + 1, nc, rc)
        arms = ratio(base), ratio(treated)
        fixed = TwoSidedTTest(*arms, FrequentistConfig(difference_type="relative")).compute_result()
        sequential = []
        for n_star in (5_000, 168_000):
            config = SequentialConfig(difference_type="relative", sequential_tuning_parameter=n_star)
            found = SequentialTwoSidedTTest(*arms, config).compute_result()
            sequential.append({"n_star": n_star, "low": found.ci[0], "high": found.ci[1], "p_value": found.p_value})
        yield {
            "treated": treated, "base": base, "value": fixed.expected, "standard_error": fixed.uplift.stddev,
            "sequential": sequential,
        }  # fmt: skip


def adjusted(m, theta=0.0):
    return RegressionAdjustedStatistic(
        n=m[0],
        post_statistic=SampleMeanStatistic(n=m[0], sum=m[1], sum_squares=m[3]),
        pre_statistic=SampleMeanStatistic(n=m[0], sum=m[2], sum_squares=m[4]),
        post_pre_sum_of_products=m[5],
        theta=theta,
    )


def cuped():
    for seed in (11, 12):
        arms = []
        for k, (users, effect) in enumerate(((4_000, 0.3), (3_500, 0.0))):
            rng = np.random.default_rng(seed * 10 + k)
            taste = rng.gamma(2, 2, users)
            before, now = rng.poisson(taste), rng.poisson(taste + effect)
            arms.append(moments(now, before))
        treated, base = arms
        theta = compute_theta(adjusted(base), adjusted(treated))
        config = FrequentistConfig(difference_type="absolute")
        found = TwoSidedTTest(adjusted(base, theta), adjusted(treated, theta), config).compute_result()
        yield {"treated": treated, "base": base, "value": found.expected, "standard_error": found.uplift.stddev}


def mismatches():
    for counts, shares in COUNTS:
        for concentration in (10_000, 100):
            last = sequential_posteriors(np.array([counts]), np.array(shares), None, concentration)[-1]
            yield {
                "counts": counts, "shares": shares, "concentration": concentration,
                "log_bayes_factor": last[names.LOG_BAYES_FACTOR],
            }  # fmt: skip


if __name__ == "__main__":
    oracles = {"made by": MADE_BY, "lifts": list(lifts()), "cuped": list(cuped()), "mismatches": list(mismatches())}
    text = json.dumps(oracles, indent=1, default=float)
    Path(__file__).with_name("oracles.json").write_text(text + "\n", encoding="utf-8")
