import re
import time
from typing import Any

import pytest

from ml_images.spark import progress


def test_where_nobody_watches_a_plain_line_says_how_far_it_is(
    spark: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PLAIN_LINE_S", 0.3)
    monkeypatch.setattr(progress, "on_terminal", lambda: False)
    with progress.TaskProgress(spark.sparkContext, "count things"):
        assert spark.range(0, 100, 1, 4).count() == 100
        time.sleep(0.8)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(re.fullmatch(r"count things: \d+ of \d+ tasks, \d+ active, \d+ s", line) for line in lines)
    done, total = map(int, re.findall(r"\d+", lines[-1])[:2])
    assert done == total >= 4


def test_on_a_terminal_a_bar_moves_and_leaves_nothing(
    spark: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "POLL_S", 0.1)
    monkeypatch.setattr(progress, "on_terminal", lambda: True)
    with progress.TaskProgress(spark.sparkContext, "count more"):
        assert spark.range(0, 100, 1, 4).count() == 100
        time.sleep(0.5)
    shown = capsys.readouterr().err
    assert "count more" in shown and "task" in shown
    assert shown.endswith("\r")


def test_stderr_of_a_test_is_no_terminal() -> None:
    assert not progress.on_terminal()
