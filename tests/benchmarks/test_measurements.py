"""What the report says about growth."""

import importlib
from pathlib import Path

import pytest

pytest.importorskip("psutil")
pytest.importorskip("duckdb")


def test_the_cost_of_added_rows_is_told_apart_from_what_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    bench, measure = importlib.import_module("bench"), importlib.import_module("measure")
    growth = importlib.import_module("measurements").growth

    def result(rows: int, seconds: float) -> object:
        return bench.Result("ours", rows, [bench.Run(1.0, seconds, 0.0, measure.Measured())])

    # 2 s, and half a second a million
    told = growth([result(1_000_000, 2.5), result(2_000_000, 3.0), result(4_000_000, 4.0)])
    assert "0.50 s from 1,000,000 to 2,000,000 rows, 0.50 s from 2,000,000 to 4,000,000 rows" in told
    assert told.endswith("the line through all: 0.50 s and 2.0 s fixed.")
