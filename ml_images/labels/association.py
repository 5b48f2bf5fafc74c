"""What a count of a pair says about its classes: conditional shares, lift and pointwise mutual information.

With N images, n_a and n_b of them with the classes and n_ab with both: P(a|b) = n_ab / n_b, P(b|a) = n_ab / n_a,
lift = n_ab N / (n_a n_b), PMI = log2(lift) in bits (Church and Hanks 1990). N is all label rows, those without a
present label included. Nothing is smoothed: what is rare has large values by chance, which `min_count` is for.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images import schemas
from ml_images.labels.sums import Int64, Sums

# float32: the counts are there for whoever needs more than 7 digits.


def measure(sums: Sums, images_per_class: Int64, num_images: int, min_count: int) -> pa.Table:
    """By schemas.PAIRS, in the order given: the pairs of two different classes with at least `min_count` images."""
    kept = (sums.class_a != sums.class_b) & (sums.counts >= min_count)
    a, b, counts = (column[kept] for column in sums)
    with_a, with_b = images_per_class[a], images_per_class[b]
    lift = counts * (num_images / with_a) / with_b  # in floats: the product of counts may not fit into 64 bits
    return pa.table(
        [a, b, counts, _float32(counts / with_b), _float32(counts / with_a), _float32(np.log2(lift)), _float32(lift)],
        schema=schemas.PAIRS,
    )


def _float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return values.astype(np.float32)
