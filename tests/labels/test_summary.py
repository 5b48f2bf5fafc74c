import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.labels.summary import gini, summarize


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any))
def test_gini_is_the_mean_difference_of_all_pairs(values):
    slow = sum(abs(a - b) for a in values for b in values) / (2 * len(values) * sum(values))
    assert gini(*np.unique(values, return_counts=True)) == pytest.approx(slow, abs=1e-12)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_a_quantile_is_the_smallest_value_that_its_share_does_not_exceed(values):
    for q, quantile in summarize(*np.unique(values, return_counts=True))["quantiles"].items():
        percent = round(100 * float(q))
        enough = [v for v in values if 100 * sum(w <= v for w in values) >= percent * len(values)]
        assert quantile == min(enough)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_values_that_do_not_occur_change_nothing(values):
    among_all = summarize(np.arange(12), np.bincount(values, minlength=12))
    assert among_all == summarize(*np.unique(values, return_counts=True))
    assert (among_all["min"], among_all["max"], among_all["n"]) == (min(values), max(values), len(values))
    assert among_all["mean"] == pytest.approx(np.mean(values))


def test_nothing_has_no_summary():
    nothing = summarize(np.arange(3), np.zeros(3, int))
    assert (nothing["n"], nothing["total"], nothing["mean"], nothing["max"], nothing["gini"]) == (
        0,
        0,
        None,
        None,
        None,
    )
