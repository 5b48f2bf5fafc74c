from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.hierarchy.vocabulary import Vocabulary, parse_vocabulary, to_table
from ml_images.labels.statistics import ORIGINS
from ml_images.report.depths import depths, hierarchy


def test_labels_and_classes_of_each_depth(report):
    counted = depths(report)
    assert [row["classes"] for row in counted] == [1, 1, 2, 1]
    assert [row["leaves"] for row in counted] == [0, 0, 1, 1]
    assert [row["with_images"] for row in counted] == [1, 1, 1, 1]
    assert [row["labels"] for row in counted] == [1000, 750, 500, 250]
    assert [row["labels_per_origin"]["given"] for row in counted] == [1000, 0, 0, 0]
    assert [row["labels_per_origin"]["ancestor"] for row in counted] == [0, 750, 500, 250]
    assert [row["median_images_per_class"] for row in counted] == [1000, 750, 250, 250]


@given(st.lists(st.sets(st.integers(0, 7), max_size=3), min_size=1, max_size=8), st.data())
def test_depths_add_up_over_any_hierarchy(report, above, data):
    parents = tuple(tuple(sorted(p for p in chosen if p < c)) for c, chosen in enumerate(above))
    names = tuple((f"class {c}",) for c in range(len(parents)))
    vocabulary = to_table(Vocabulary(tuple(f"n{c}" for c in range(len(parents))), names, parents))
    size = len(parents) * len(ORIGINS)
    counts = np.array(data.draw(st.lists(st.sampled_from([0, 0, 50, 100, 101]), min_size=size, max_size=size))).reshape(
        len(parents), -1
    )
    counted = depths(replace(report, vocabulary=vocabulary, labels_per_class=counts))
    images = counts.sum(axis=1)
    totals = {
        "classes": len(parents),
        "leaves": sum(not any(c in up for up in parents) for c in range(len(parents))),
        "with_images": int((images > 0).sum()),
        "more_than_100_images": int((images > 100).sum()),
        "labels": int(counts.sum()),
    }
    assert {name: sum(row[name] for row in counted) for name in totals} == totals
    for number, origin in enumerate(ORIGINS):
        assert sum(row["labels_per_origin"][origin] for row in counted) == counts[:, number].sum()


@pytest.mark.real_data
def test_the_published_hierarchy_has_the_published_numbers(shared_data):
    data = (shared_data / "ml-images" / "dictionary_and_semantic_hierarchy.txt").read_bytes()
    numbers = hierarchy(to_table(parse_vocabulary(data, "dictionary")))
    assert (numbers["nodes"], numbers["leaves"], numbers["longest_path"]) == (11_166, 9_219, 16)
    assert numbers["mean_depth_of_all"] == pytest.approx(7.47107, abs=5e-6)
    assert numbers["mean_depth_of_leaves"] == pytest.approx(7.5857, abs=5e-5)
    assert [(root["names"][0], root["nodes"], root["leaves"]) for root in numbers["roots"]] == [
        ("thing", 67, 53),
        ("matter", 1_046, 875),
        ("object", 10_038, 8_281),
        ("atmospheric phenomenon", 15, 10),
    ]
