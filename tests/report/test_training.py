import json
from pathlib import Path

import pytest

from ml_images.errors import InputError
from ml_images.report.contents import TrainingPoint
from ml_images.report.training import read_training


def test_each_line_is_a_point_and_the_last_prior_counts(tmp_path: Path) -> None:
    lines = [
        {"step": 3, "loss": 2.0, "validation": {"mean_average_precision": 0.4, "prior": 0.2}},
        {"step": 6, "loss": 1.0},
        {"step": 9, "loss": 0.5, "validation": {"mean_average_precision": 0.7, "prior": 0.3}},
    ]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    training = read_training(str(tmp_path))
    assert training.points == (TrainingPoint(3, 2.0, 0.4), TrainingPoint(6, 1.0, None), TrainingPoint(9, 0.5, 0.7))
    assert training.prior_map == 0.3


@pytest.mark.parametrize("line", ["{", "[]", '{"step": 1}'])
def test_a_line_of_something_else_is_named_by_its_number(line: str, tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"step": 1, "loss": 1.0}\n' + line + "\n")
    with pytest.raises(InputError, match=r"history.jsonl:2 is not a line that train.py wrote"):
        read_training(str(tmp_path))
