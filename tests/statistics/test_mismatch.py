"""Sample-ratio mismatch and multiplicity: against ssrm-test and statsmodels, and under peeking."""

from decimal import Decimal, getcontext
from fractions import Fraction
from math import inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln
from statsmodels.stats.multitest import multipletests

from benchmarks.peeking import false_mismatches
from stream_app.statistics.mismatch import Mismatch, log_bayes_factor, mismatches
from stream_app.statistics.multiplicity import benjamini_hochberg, e_bh
from tests.statistics.frozen import ORACLES

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@pytest.mark.parametrize("frozen", ORACLES["mismatches"])
def test_the_bayes_factor_equals_ssrm_test(frozen: dict) -> None:
    """The log of the Bayes factor is that of the package by the authors of the test."""
    found = log_bayes_factor(frozen["counts"], frozen["shares"], frozen["concentration"])
    assert pytest.approx(frozen["log_bayes_factor"], rel=1e-8, abs=1e-8) == found


@given(st.lists(st.integers(0, 60), min_size=2, max_size=4), st.integers(1, 8))
def test_the_bayes_factor_is_a_ratio_of_rising_factorials(counts: list[int], a: int) -> None:
    """With whole prior counts the factor is a fraction, computed here without any rounding."""
    k, n = len(counts), sum(counts)

    def rising(z: int, m: int) -> int:
        return int(np.prod([z + i for i in range(m)], dtype=object)) if m else 1

    exact = Fraction(int(np.prod([rising(a, c) for c in counts], dtype=object)) * k**n, rising(a * k, n))
    expected = log(exact.numerator) - log(exact.denominator)
    assert pytest.approx(expected, rel=1e-9, abs=1e-10) == log_bayes_factor(counts, [1.0] * k, a * k)


def test_a_hundred_million_users_do_not_round_the_evidence_away() -> None:
    """Where log-gamma functions of 1e9 cancel to nothing, the evidence still has ten digits."""
    getcontext().prec = 60

    def log_gamma(z: Decimal) -> Decimal:  # Stirling's series; at 1e4 and more its first five terms give 40 digits
        terms = [Decimal(1) / 12, Decimal(-1) / 360, Decimal(1) / 1260, Decimal(-1) / 1680, Decimal(5) / 5940]
        half_log_two_pi = Decimal("0.91893853320467274178032973640561763986139747363778341281715")
        return (z - Decimal("0.5")) * z.ln() - z + half_log_two_pi + sum(
            c / z ** (2 * i + 1) for i, c in enumerate(terms)
        )  # fmt: skip

    counts, prior = [90_003_000, 10_000_100], [Decimal(900_000), Decimal(100_000)]
    shares = [Decimal("0.9"), Decimal("0.1")]
    total, n = sum(prior), sum(counts)
    expected = log_gamma(total) - log_gamma(total + n)
    for c, p, w in zip(counts, prior, shares, strict=True):
        expected += log_gamma(p + c) - log_gamma(p) - c * w.ln()
    found = log_bayes_factor(counts, (0.9, 0.1), 1_000_000)
    naive = gammaln(1e6) - gammaln(1e6 + n)
    for c, p, w in zip(counts, (9e5, 1e5), (0.9, 0.1), strict=True):
        naive += gammaln(p + c) - gammaln(p) - c * log(w)
    assert pytest.approx(float(expected), rel=1e-9) == found
    assert abs(naive - float(expected)) > 1e-8  # what the definition, typed in, would have lost


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=5))
def test_the_order_of_arms_and_the_scale_of_shares_do_not_matter(counts: list[int]) -> None:
    """Arms exchanged with their shares, and shares given as percent, are the same evidence."""
    shares = [i + 1.0 for i in range(len(counts))]
    other = log_bayes_factor(counts[::-1], [100 * w for w in shares[::-1]])
    assert pytest.approx(log_bayes_factor(counts, shares), abs=1e-9) == other


def test_nobody_is_no_evidence() -> None:
    """Before the first user the Bayes factor is one."""
    assert 0.0 == pytest.approx(log_bayes_factor((0, 0), (0.9, 0.1)), abs=1e-12)


def test_a_broken_split_is_found_and_a_kept_one_is_not() -> None:
    """Each stratification has its own evidence and the threshold of all: users on phones are split wrongly."""
    strata = {"users": (90_000, 10_000), "phone": (45_000, 3_900), "impressions": (900_500, 101_500)}
    found = mismatches(strata, (0.9, 0.1), 0.001, design_effects={"impressions": 10.0})
    assert {"phone"} == {name for name, mismatch in found.items() if mismatch.is_found}
    assert {log(3 / 0.001)} == {mismatch.log_threshold for mismatch in found.values()}
    assert log_bayes_factor((90_050, 10_150), (0.9, 0.1)) == pytest.approx(found["impressions"].log_evidence)


def test_without_strata_there_is_nothing_to_find() -> None:
    """No stratification, no mismatch; a mismatch at the threshold is one."""
    assert ({}, True) == (mismatches({}, (0.9, 0.1)), Mismatch(7.0, 7.0).is_found)


def test_hourly_looks_find_no_mismatch_in_a_kept_split() -> None:
    """Four weeks of hourly looks: the Bayes factor stays within its 5 %, the chi-square test does not."""
    chi, bayes = false_mismatches(np.random.default_rng(6), 150, 0.05)
    assert (True, True) == (bayes <= 0.05, chi > 0.3)


def test_clustered_impressions_need_their_design_effect() -> None:
    """Impressions of 10 a user, split as promised: without the design effect they look broken, with it they do not."""
    rng = np.random.default_rng(8)
    held = np.cumsum(10 * rng.binomial(100, 0.1, (150, 336)), axis=1)
    total = np.arange(1, 337) * 1_000

    def ever(effect: float) -> float:
        return float(np.mean([
            any(
                log_bayes_factor((h, n - h), (0.1, 0.9), 1_000, effect) > -log(0.05)
                for h, n in zip(row[::8], total[::8].tolist(), strict=True)
            )
            for row in held.tolist()
        ]))  # fmt: skip

    assert (True, True) == (ever(10.0) <= 0.05, ever(1.0) > 0.3)


@given(p_values)
def test_adjusted_p_values_equal_statsmodels(values: list[float]) -> None:
    """The Benjamini-Hochberg adjustment is the one that statsmodels computes."""
    expected = multipletests(values, method="fdr_bh")[1]
    assert pytest.approx(expected.tolist(), abs=1e-12, rel=0) == benjamini_hochberg(values)


@given(p_values, st.sampled_from([0.01, 0.05, 0.2]))
def test_e_bh_is_bh_of_inverse_e_values(values: list[float], alpha: float) -> None:
    """Rejecting by e-values is rejecting by p-values 1/e, which is how e-BH is defined."""
    log_e = [-log(p) if p > 0 else inf for p in values]
    near = any(abs(p - alpha * k / len(values)) < 1e-12 for p in values for k in range(1, len(values) + 1))
    expected = multipletests(values, alpha=alpha, method="fdr_bh")[0].tolist()
    assert near or expected == e_bh(log_e, alpha)


def test_no_findings_among_none() -> None:
    """Nothing tested, nothing found; evidence of nothing rejects nothing."""
    assert ([], [], [False, False]) == (benjamini_hochberg([]), e_bh([]), e_bh([-inf, 0.0]))


@pytest.mark.parametrize("call", [
    lambda: log_bayes_factor((1, 2), (1.0,)), lambda: log_bayes_factor((1, -2), (0.5, 0.5)),
    lambda: log_bayes_factor((1, 2), (1.0, 0.0)), lambda: log_bayes_factor((1, 2), (0.5, 0.5), design_effect=0),
    lambda: mismatches({}, (0.5, 0.5), 0), lambda: e_bh([1.0], 0), lambda: benjamini_hochberg([1.5]),
])  # fmt: skip
def test_what_cannot_be_is_refused(call) -> None:
    """Negative counts, missing shares, certainties of 0 and p-values above 1 raise, with the value."""
    with pytest.raises(ValueError, match=r"fit|between"):
        call()


def test_the_expected_share_of_false_findings_is_kept() -> None:
    """Of 40 hypotheses, 30 true: with evidence of likelihood ratios, false ones among those found stay within 10 %."""
    rng = np.random.default_rng(9)
    shares = []
    for _ in range(400):
        z = rng.normal(np.where(np.arange(40) < 30, 0.0, 4.0), 1.0)
        found = np.array(e_bh((3 * z - 4.5).tolist(), 0.1))
        shares.append(found[:30].sum() / max(1, found.sum()))
    assert float(np.mean(shares)) <= 0.1
