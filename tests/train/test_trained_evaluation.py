from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from rank_threads import ThreadComm, on_ranks
from trained_builder import untrained, write_checkpoint

from ml_images.hierarchy.vocabulary import parse_vocabulary, to_table
from ml_images.labels.per_split import per_split_table
from ml_images.storage import tables
from ml_images.train import trained_evaluation
from ml_images.train.apply import probabilities
from ml_images.train.class_tables import read_class_names
from ml_images.train.comm import Comm, LocalComm
from ml_images.train.data import DataConfig
from ml_images.train.dataset import read_split
from ml_images.train.decode import BadImage, ChooseCrop, decode_crop
from ml_images.train.metrics import NO_FACTS, Scored
from ml_images.train.picture_model import PictureModel
from ml_images.train.trained import Trained, load_trained
from ml_images.train.trained_evaluation import class_facts, evaluate_trained, per_class_table, summarise

CPU = torch.device("cpu")


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    return load_trained(write_checkpoint(tmp_path, untrained()))


def evaluated(trained: Trained, dataset: Path, crops: int = 1, size: int = 32, comm: Comm | None = None) -> Scored:
    data = DataConfig(path=str(dataset), batch_size=5, image_size=size)
    split = read_split(str(dataset), "val")
    return evaluate_trained(trained, split, data, crops, comm or LocalComm(), CPU, NO_FACTS, "absent")


@pytest.mark.parametrize("loss", ["bce", "softmax"])
@pytest.mark.parametrize("crops", [1, 10])
def test_every_row_is_scored_as_predictions_are(crops: int, loss: str, dataset: Path, tmp_path: Path) -> None:
    """Average precision tells: a swapped row or view would change it, and so would ranking the logits of a softmax."""
    trained = load_trained(write_checkpoint(tmp_path, untrained(), loss={"name": loss}))
    found = evaluated(trained, dataset, crops)
    rows = pq.read_table(dataset / "split=val").to_pylist()
    logits = PictureModel(trained, CPU, crops=crops).logits([row["image"] for row in rows]).values
    scores = probabilities(logits.double(), trained)
    labels = np.zeros(scores.shape)
    known = np.ones(scores.shape, bool)
    for number, row in enumerate(rows):
        labels[number, row["classes"]] = row["confidences"]
        known[number, row["classes"]] = np.array(row["confidences"]) >= 0
    for number in range(6):
        seen = known[:, number]
        order = np.argsort(-scores[seen, number].numpy())
        right = labels[seen, number][order] > 0
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        assert found.average_precision[number] == pytest.approx(precision[right].mean(), abs=1e-9)
    assert found.images == len(rows) == 24


def test_ten_crops_and_other_sizes_change_the_scores(trained: Trained, dataset: Path) -> None:
    reports = [
        evaluated(trained, dataset, crops, size).report["calibration"] for crops, size in ((1, 32), (10, 32), (1, 48))
    ]
    assert len({str(report) for report in reports}) == 3


@pytest.mark.parametrize("crops", [1, 10])
def test_the_number_of_ranks_changes_nothing(crops: int, trained: Trained, dataset: Path) -> None:
    def on_rank(comm: ThreadComm) -> Scored:
        return evaluated(trained, dataset, crops, comm=comm)

    alone = evaluated(trained, dataset, crops)
    for found in on_ranks(2, on_rank):
        np.testing.assert_allclose(found.average_precision, alone.average_precision, atol=1e-9)
        assert found.report["single_label"] == alone.report["single_label"]


def test_a_picture_that_is_broken_in_one_view_is_left_out_of_all(
    trained: Trained, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataConfig(path=str(dataset), batch_size=5, image_size=32, bad_images="skip")
    split = read_split(str(dataset), "val")
    victim = pq.read_table(dataset / "split=val")["image"][7].as_py()

    def found(is_broken: Callable[[int], bool]) -> Scored:
        views: list[object] = []  # in the order in which they are first seen

        def decode(image: bytes, view: ChooseCrop, out: np.ndarray) -> None:
            if view not in views:
                views.append(view)
            if bytes(image) == victim and is_broken(views.index(view)):
                raise BadImage("a corner is missing")
            decode_crop(image, view, out)

        monkeypatch.setattr(trained_evaluation, "decode_crop", decode)
        return evaluate_trained(trained, split, data, 10, LocalComm(), CPU, NO_FACTS, "absent")

    everywhere = found(lambda view: True)
    for view in (0, 9):
        once = found(lambda number, view=view: number == view)
        assert once.images == everywhere.images == 23
        np.testing.assert_array_equal(once.average_precision, everywhere.average_precision)
        assert once.report == everywhere.report


def test_facts_are_those_that_the_data_set_has(
    make_dataset: Callable[..., Path], trained: Trained, tmp_path: Path
) -> None:
    dataset = make_dataset(train=(12,), val=(12,))
    split, train = read_split(str(dataset), "val"), read_split(str(dataset), "train")
    assert class_facts(split, train) == NO_FACTS
    text = "".join(f"n0000000{number}\t{parent}\tc{number}\n" for number, parent in enumerate((-1, 0, 0, 1, 1, 2)))
    vocabulary = to_table(parse_vocabulary(text.encode(), "v"))
    tables.write_part(f"{dataset}/_vocabulary", vocabulary)
    counts = {"train": np.array([5, 4, 3, 2, 1, 0]), "val": np.ones(6, np.int64), "test": np.zeros(6, np.int64)}
    tables.write_table(f"{tmp_path}/labels_per_split", "labels_per_split", per_split_table(counts))
    facts = class_facts(split, train)
    assert facts.training_images is not None
    assert facts.training_images.tolist() == [5, 4, 3, 2, 1, 0]
    assert facts.depths is not None
    assert facts.depths.tolist() == [0, 1, 1, 2, 2, 2]
    assert facts.leaves is not None
    assert facts.leaves.tolist() == [False, False, False, True, True, True]
    assert class_facts(split, None).training_images is None
    assert read_class_names(split) == ["c0", "c1", "c2", "c3", "c4", "c5"]


def test_classes_without_a_positive_have_no_average_precision(trained: Trained, dataset: Path) -> None:
    found = evaluated(trained, dataset)
    found.positives[2] = 0
    rows = per_class_table(found, 32, None).to_pylist()
    assert [row["name"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert rows[2]["average_precision"] is None
    assert rows[1]["average_precision"] == found.average_precision[1]
    assert "over 6 of 6 classes and 24 images" in summarise(found.report)
    assert "top-1" in summarise(found.report)
    classes = {"all": 6, "scored": 0, "no_positive": 6, "no_negative": 0, "all_unknown": 0}
    assert summarise(found.report | {"classes": classes}) == (
        "24 images without mAP: no class can be scored: of 6, 6 are without a positive image, 0 without a negative "
        "one, 0 without either"
    )
