"""The hierarchy in numbers, and what lies at each of its depths (edges of the longest way up to a root)."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.describe import describe_hierarchy
from ml_images.hierarchy.vocabulary import parents_of
from ml_images.labels.statistics import ORIGINS, TRAINABLE_ABOVE
from ml_images.report.contents import Report


def hierarchy(vocabulary: pa.Table) -> dict[str, Any]:
    """`describe_hierarchy` of a vocabulary by schemas.VOCABULARY, its roots with their names."""
    numbers = describe_hierarchy(find_ancestors(parents_of(vocabulary)))
    names = vocabulary["names"]
    roots = [{**root, "names": names[root["class"]].as_py()} for root in numbers["roots"]]
    return {**numbers, "roots": roots}


def depths(report: Report) -> list[dict[str, Any]]:
    """For each depth its classes, those of them with images, and the present labels by what put them there."""
    depth, images = report.vocabulary["depth"].to_numpy(), report.images_per_class
    leaves = np.ones(len(depth), bool)
    leaves[pc.list_flatten(report.vocabulary["parents"]).to_numpy()] = False
    rows = []
    for d in range(depth.max(initial=-1) + 1):
        here = depth == d
        by_origin = report.labels_per_class[here].sum(axis=0).tolist()
        rows.append(
            {
                "depth": d,
                "classes": int(here.sum()),
                "leaves": int(leaves[here].sum()),
                "with_images": int((images[here] > 0).sum()),
                f"more_than_{TRAINABLE_ABOVE}_images": int((images[here] > TRAINABLE_ABOVE).sum()),
                "labels": sum(by_origin),
                "labels_per_origin": dict(zip(ORIGINS, by_origin, strict=True)),
                "median_images_per_class": float(np.median(images[here])) if here.any() else None,
            }
        )
    return rows
