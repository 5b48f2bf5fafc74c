import sys

import numpy as np
import pyarrow as pa
import pytest

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.labels.matrices import to_scipy

TABLE = pa.table([[0, 0, 1, 3], [0, 3, 1, 3], [5, 2, 7, 4]], schema=schemas.COOCCURRENCE)
DENSE = np.zeros((5, 5), np.int64)
DENSE[[0, 0, 3, 1, 3], [0, 3, 0, 1, 3]] = [5, 2, 2, 7, 4]


def test_the_triangle_is_mirrored_and_classes_without_images_have_rows() -> None:
    matrix = to_scipy(TABLE, 5)
    assert matrix.dtype == np.int64 and matrix.has_sorted_indices
    assert np.array_equal(matrix.toarray(), DENSE)


def test_no_pairs_are_an_empty_matrix() -> None:
    assert to_scipy(schemas.COOCCURRENCE.empty_table(), 3).shape == (3, 3)


def test_too_few_classes_are_refused() -> None:
    with pytest.raises(InputError, match="class 3 is not among 3 classes"):
        to_scipy(TABLE, 3)


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(InputError, match="pip install scipy"):
        to_scipy(TABLE, 5)
