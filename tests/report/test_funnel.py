from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.report.contents import Dataset, Lines
from ml_images.report.funnel import Stage, by_weight, funnel


def test_every_stage_of_a_whole_report(report):
    lines = (("rows of labels", 1000), ("merged into another row of the same key", 3), ("rejected lines", 7))
    assert funnel(report) == (
        Stage("lines read", 1010, 2, lines),
        Stage("rows of labels, one a key", 1000, 1, (("ok", 900), ("not_found", 80), ("timeout", 20))),
        Stage("verified images", 900, 3, (("train", 801), ("val", 52), ("test", 43), ("no present label", 4))),
    )


def test_missing_parts_have_no_stage(report):
    assert funnel(replace(report, lines=None, outcomes=None, dataset=None)) == ()
    assert [stage.whole for stage in funnel(replace(report, outcomes=None))] == ["lines read"]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6), st.integers(-5, 5))
def test_a_stage_is_accepted_exactly_when_its_parts_add_up(counts, off):
    parts = tuple((f"part{i}", count) for i, count in enumerate(counts))
    if off == 0:
        assert Stage("all", sum(counts), 1, parts).total == sum(counts)
    else:
        with pytest.raises(ValueError, match="do not equal the sum of their parts"):
            Stage("all", sum(counts) + off, 1, parts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lines": Lines(1008, 1000, ())}, r"lines read: 1,008 .* 1,000 \(rows .* 1,000 \+ .*merged.* 0 \+"),
        ({"lines": Lines(1000, 1000, (), 1)}, r"lines read: 1,000 .* 1,001"),
        (
            {"lines": Lines(999, 999, ())},
            "that annotate wrote and rows of labels counted must be equal, got 999 and 1,000",
        ),
        ({"outcomes": {"ok": 900, "timeout": 99}}, "rows of labels, one a key: 1,000 .* 999"),
        ({"dataset": Dataset({"train": 800, "val": 50, "test": 45}, {})}, "verified images: 900 .* 895"),
        ({"tags_per_image": np.array([0, 250, 250, 250, 249])}, "tags_per_image must be equal, got 1,000 and 999"),
        ({"tags_per_image": np.array([0, 250, 250, 251, 249])}, "labels in tags_per_image .* 2,500 and 2,499"),
        ({"labels_per_class": np.array([[1000], [750], [500], [251], [0]])}, "labels_per_class .* 2,500 and 2,501"),
        ({"labels_per_class": np.array([[1000], [750], [500], [250]])}, "classes of the vocabulary .* 5 and 4"),
    ],
)
def test_numbers_that_do_not_add_up_are_refused_with_both_sides(report, change, message):
    with pytest.raises(ValueError, match=message):
        funnel(replace(report, **change))


def test_outcomes_come_with_ok_first_and_then_by_frequency():
    counts = {"timeout": 3, "not_found": 50, "ok": 4, "dns_error": 3, "empty": 0}
    assert by_weight(counts) == ["ok", "not_found", "dns_error", "timeout"]
