from pathlib import Path

import pyarrow as pa
import torch

from ml_images import schemas
from ml_images.storage import tables
from ml_images.train.cooccurrence import sparse_tensor


def test_the_table_is_a_symmetric_sparse_tensor(tmp_path: Path) -> None:
    table = pa.table([[0, 0, 1, 3], [0, 3, 1, 3], [5, 2, 7, 4]], schema=schemas.COOCCURRENCE)
    tables.write_table(str(tmp_path / "t"), "cooccurrence", table)
    tensor = sparse_tensor(str(tmp_path / "t"), 5)
    wanted = torch.zeros(5, 5, dtype=torch.int64)
    for a, b, n in ((0, 0, 5), (0, 3, 2), (3, 0, 2), (1, 1, 7), (3, 3, 4)):
        wanted[a, b] = n
    assert tensor.is_sparse and tensor.is_coalesced()
    assert torch.equal(tensor.to_dense(), wanted)
    assert torch.equal(tensor.to_sparse_csr().to_dense(), wanted)
