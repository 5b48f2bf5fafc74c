import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ml_images.errors import StorageError
from ml_images.schemas import UNKNOWN
from ml_images.train import score_store
from ml_images.train.comm import LocalComm
from ml_images.train.evaluation import Evaluation, evaluate, score
from ml_images.train.losses import multilabel_bce
from ml_images.train.metrics import ClassFacts
from ml_images.train.reader import Batch, SparseTargets


class Brightness(nn.Module):
    """Scores for two classes: bright, dark. Remembers whether it was in training mode."""

    def forward(self, images: Tensor) -> Tensor:
        self.was_training = self.training
        bright = images.mean(dim=(1, 2, 3))
        return torch.stack([bright, -bright], dim=1)


def batch(values: list[int], targets: list[list[float]]) -> Batch:
    images = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    cells = [(c, confidence) for row in targets for c, confidence in enumerate(row)]
    offsets = torch.arange(0, len(cells) + 1, 2)
    classes, confidences = torch.tensor([c for c, _ in cells]), torch.tensor([confidence for _, confidence in cells])
    keys, mask = [str(value) for value in values], torch.ones(len(values), dtype=torch.bool)
    return Batch(keys, np.arange(len(values)), images, SparseTargets(offsets, classes, confidences), mask)


def scored(model: nn.Module, batches: list[Batch]) -> Evaluation:
    return evaluate(model, batches, 2, multilabel_bce, LocalComm(), torch.device("cpu"))


def test_batches_of_any_length_are_one_ranking() -> None:
    values, targets = [250, 10, 200, 30, 120], [[1.0, 0.0], [0.0, 1.0], [1.0, UNKNOWN], [0.0, 1.0], [0.0, 0.0]]
    one = scored(Brightness(), [batch(values, targets)])
    many = scored(Brightness(), [batch(values[:3], targets[:3]), batch(values[3:], targets[3:])])
    assert one.mean_average_precision == many.mean_average_precision == 1.0
    assert one.loss == pytest.approx(many.loss)
    assert (one.rows, one.classes_scored, one.classes_without_positives) == (5, 2, 0)
    assert one.prior == pytest.approx((2 / 5 + 2 / 4) / 2)


def test_the_model_is_evaluated_in_evaluation_mode_and_given_back_in_training_mode() -> None:
    model = Brightness().train()
    scored(model, [batch([1], [[1.0, 0.0]])])
    assert model.was_training is False
    assert model.training


def test_classes_without_a_positive_are_counted() -> None:
    result = scored(Brightness(), [batch([1, 9], [[0.0, 1.0], [0.0, 0.0]])])
    assert (result.classes_scored, result.classes_without_positives) == (1, 1)
    assert "1 classes without a positive" in str(result)


def test_no_rows_at_all_give_no_number() -> None:
    result = scored(Brightness(), [])
    assert result.mean_average_precision is result.prior is None
    assert (result.rows, result.loss) == (0, 0.0)


def test_what_pads_a_batch_counts_for_nothing() -> None:
    values, targets = [250, 10, 200], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    padded = batch([*values, 0, 0], [*targets, [1.0, 1.0], [0.0, 0.0]])
    padded = padded._replace(mask=torch.tensor([True, True, True, False, False]))
    alone = padded._replace(mask=torch.zeros(5, dtype=torch.bool))
    assert scored(Brightness(), [padded, alone]) == scored(Brightness(), [batch(values, targets)])


def test_rows_without_finite_scores_are_counted() -> None:
    class Overflowing(Brightness):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return torch.where(logits.abs().amax(dim=1, keepdim=True) > 1.7, logits * 1e38 * 1e38, logits)

    values, targets = [250, 10, 200, 255], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    padded = batch(values, targets)._replace(mask=torch.tensor([True, True, True, False]))
    found = scored(Overflowing(), [padded])
    assert (found.rows, found.not_finite) == (3, 2) and np.isfinite(found.loss)
    assert scored(Brightness(), [padded]).not_finite == 0


def test_classes_that_an_image_does_not_list_may_be_unknown() -> None:
    values, targets = [250, 10, 200], [[1.0, 0.0], [0.0, 1.0], [1.0, UNKNOWN]]
    told = batch(values, targets)
    listed = told.targets.confidences != 0  # nothing says any more where a class is absent
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), listed.view(-1, 2).sum(dim=1).cumsum(0)])
    sparse = SparseTargets(offsets, told.targets.classes[listed], told.targets.confidences[listed])
    found = {
        unlisted: evaluate(
            Brightness(),
            [told._replace(targets=sparse)],
            2,
            multilabel_bce,
            LocalComm(),
            torch.device("cpu"),
            unlisted=unlisted,
        )
        for unlisted in ("absent", "unknown")
    }
    assert found["absent"].loss == pytest.approx(scored(Brightness(), [told]).loss)
    assert found["unknown"].loss < found["absent"].loss
    assert [found[name].report["cells"]["known"] for name in ("absent", "unknown")] == [5, 3]


def test_the_whole_report_comes_along_in_plain_json() -> None:
    values, targets = [250, 10, 200], [[1.0, 0.0], [0.0, 1.0], [0.0, UNKNOWN]]
    facts = ClassFacts(training_images=np.array([7, 70]))
    result = evaluate(
        Brightness(), [batch(values, targets)], 2, multilabel_bce, LocalComm(), torch.device("cpu"), facts=facts
    )
    told = json.loads(json.dumps(dataclasses.asdict(result)))["report"]
    assert told["mean_average_precision"] == result.mean_average_precision == 1.0
    assert [group["group"] for group in told["per_training_images"]] == ["1-10", "11-100"]
    assert told["single_label"] == {"images": 2, "top_1": 1.0, "top_5": 1.0}


def test_what_targets_do_not_name_is_absent_or_unknown_as_asked() -> None:
    """Image 0 has class 0, image 1 lacks it, image 2 does not say and scores highest."""
    targets = SparseTargets(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 0]), torch.tensor([1.0, 0.0]))
    batches = [(torch.tensor([[2.0, 0.0], [1.0, 0.0], [3.0, 0.0]]), targets, torch.ones(3, dtype=torch.bool))]
    absent = score(batches, 2, LocalComm())
    unknown = score(batches, 2, LocalComm(), unlisted="unknown")
    assert (absent.average_precision[0], absent.known.tolist()) == (0.5, [3, 3])
    assert (unknown.average_precision[0], unknown.known.tolist()) == (1.0, [2, 0])
    assert unknown.report["classes"]["all_unknown"] == 1


def test_scores_that_do_not_fit_into_memory_go_to_the_scratch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [
        (torch.tensor([[2.0], [1.0]]), SparseTargets(*map(torch.tensor, ([0, 1, 1], [0], [1.0]))), torch.ones(2) > 0)
    ]
    monkeypatch.setattr(score_store, "TILE_BYTES", 1)
    monkeypatch.setattr(score_store, "KEPT_BYTES", 0)
    assert score(batches * 3, 1, LocalComm(), scratch=tmp_path).average_precision.tolist() == [1.0]
    with pytest.raises(StorageError, match="cannot write"):
        score(batches, 1, LocalComm(), scratch=tmp_path / "missing")
