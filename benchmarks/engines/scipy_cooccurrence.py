"""scipy, pairs of classes by XᵀX: chunks of rows as sparse matrices, their products added up.

    python benchmarks/engines/scipy_cooccurrence.py LABELS OUTPUT PROCESSES

CPU seconds for a million closed rows, most of them distinct, on two busy cores (scipy 1.17.1): the upper triangle of
a float32 product added to a sparse sum 3.1 (kept), without taking the triangle 3.5, of an int32 product 4.1; a dense
sum 4.0 to 6.0 and 500 MB a process. Products of chunks are exact in float32 below 2^24 rows; the sum is of integers.
"""

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from clock import Clock
from scipy import sparse

CHUNK_ROWS = 1 << 20


def chunks(files: list[Path]) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
    """(counts of labels, classes) of about CHUNK_ROWS rows at a time."""
    counts, classes, rows = [], [], 0
    for file in files:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(1 << 16, columns=["classes"], use_threads=False):
                column = batch.column(0)
                counts.append(np.diff(column.offsets.to_numpy()))
                classes.append(column.flatten().to_numpy())
                rows += len(batch)
                if rows >= CHUNK_ROWS:
                    yield np.concatenate(counts), np.concatenate(classes)
                    counts, classes, rows = [], [], 0
    if rows:
        yield np.concatenate(counts), np.concatenate(classes)


def count(files: list[Path], num_classes: int) -> sparse.csr_array:
    """The upper triangle of the pair counts of some files."""
    total = sparse.csr_array((num_classes, num_classes), dtype=np.int64)
    for counts, classes in chunks(files):
        offsets = np.concatenate([[0], np.cumsum(counts)])
        ones = np.ones(len(classes), np.float32)
        labels = sparse.csr_array((ones, classes, offsets), shape=(len(counts), num_classes))
        total += sparse.triu(labels.T @ labels, format="csr").astype(np.int64)
    return total


def main(labels: str, output: str, processes: int) -> None:
    clock = Clock()
    clock.ready()
    files = sorted(Path(labels).glob("*.parquet"))
    num_classes = pq.read_metadata(next((Path(labels).parent / "vocabulary").glob("*.parquet"))).num_rows
    if processes == 1:
        total = count(files, num_classes)
    else:
        shares = [(files[number::processes], num_classes) for number in range(processes)]
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            total = sum(pool.starmap(count, shares))
    pairs = total.tocoo()
    columns = {"class_a": pairs.row.astype(np.int32), "class_b": pairs.col.astype(np.int32), "count": pairs.data}
    Path(output).mkdir(parents=True)
    pq.write_table(pa.table(columns), f"{output}/part.parquet", compression="zstd")
    clock.done()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
