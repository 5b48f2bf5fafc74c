import json
from pathlib import Path

import pytest

from ml_images.report.job import JobReport, counts_table


def test_counts_are_aligned_with_thousands_apart() -> None:
    assert counts_table("images by outcome", {"ok": 1_234_567, "not_found": 9}) == (
        "images by outcome\n  ok                 1,234,567\n  not_found                  9"
    )


def test_what_is_printed_is_also_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = JobReport("annotate", str(tmp_path), {"closure": "none"})
    report.counts["lines"] = {"read": 3, "rejected": 1}
    report.finish(classes=7)
    told = capsys.readouterr().out
    assert "rejected" in told
    assert f"written to {tmp_path}" in told
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["job"] == "annotate"
    assert content["counts"] == {"lines": {"read": 3, "rejected": 1}}
    assert content["config"] == {"closure": "none"}
    assert content["classes"] == 7
    assert {"commit", "versions", "platform", "written_at", "seconds", "started_at"} <= content.keys()
