"""The table `cooccurrence` as a matrix: its triangle mirrored, cell (a, b) the images with both classes."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Int64 = npt.NDArray[np.int64]


def to_symmetric(table: pa.Table, num_classes: int) -> tuple[Int64, Int64, Int64]:
    """(rows, columns, counts), int64, of all cells that are not 0, sorted by both.

    Raises InputError for a class outside the vocabulary.
    """
    a, b, counts = (table.column(name).to_numpy().astype(np.int64) for name in ("class_a", "class_b", "count"))
    most = max(a.max(), b.max()) if len(a) else -1
    if most >= num_classes:
        raise InputError(f"cooccurrence table: class {most} is not among {num_classes} classes: it is of other labels")
    above = a != b
    rows, columns = np.concatenate((a, b[above])), np.concatenate((b, a[above]))
    order = np.argsort(rows * num_classes + columns)
    return rows[order], columns[order], np.concatenate((counts, counts[above]))[order]


def to_scipy(table: pa.Table, num_classes: int) -> "csr_array":
    """The symmetric matrix (num_classes, num_classes) of int64, of the whole table `cooccurrence`.

    Raises InputError without scipy, and for a class outside the vocabulary.
    """
    try:
        from scipy.sparse import csr_array
    except ImportError as error:
        raise InputError("a scipy matrix needs scipy, which is not installed: pip install scipy") from error
    rows, columns, counts = to_symmetric(table, num_classes)
    indptr = np.searchsorted(rows, np.arange(num_classes + 1))
    return csr_array((counts, columns, indptr), shape=(num_classes, num_classes))
