"""The co-occurrence counts as a torch tensor."""

import torch

from ml_images.labels.matrices import to_symmetric
from ml_images.storage import tables


def sparse_tensor(location: str, num_classes: int) -> torch.Tensor:
    """The symmetric matrix (num_classes, num_classes) of int64 counts in the table `cooccurrence`: sparse COO.

    Coalesced; `.to_sparse_csr()` makes CSR of it. Raises InputError for what is no such table or of more classes.
    """
    rows, columns, counts = (
        torch.from_numpy(values) for values in to_symmetric(tables.read_table(location, "cooccurrence"), num_classes)
    )
    size = (num_classes, num_classes)
    return torch.sparse_coo_tensor(torch.stack((rows, columns)), counts, size, is_coalesced=True, check_invariants=True)
