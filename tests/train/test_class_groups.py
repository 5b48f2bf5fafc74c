import numpy as np

from ml_images.train.class_groups import frequency_bands, group_means


def test_a_band_for_each_power_of_ten() -> None:
    bands, names = frequency_bands(np.array([0, 1, 10, 11, 100, 101, 1000, 1001, 10_000, 100_000, 100_001]))
    assert [names[band] for band in bands] == [
        "0",
        *["1-10"] * 2,
        *["11-100"] * 2,
        *["101-1,000"] * 2,
        *["1,001-10,000"] * 2,
        "10,001-100,000",
        "100,001-",
    ]


def test_means_are_over_the_scored_classes_and_groups_without_classes_are_left_out() -> None:
    precision = np.array([0.5, np.nan, 1.0, 0.25])
    prior = np.array([0.1, 0.0, 0.2, 0.3])
    scored = np.array([True, False, True, True])
    told = group_means(np.array([0, 0, 0, 2]), ["a", "b", "c", "d"], precision, prior, scored)
    assert [group["group"] for group in told] == ["a", "c"]
    assert (told[0]["classes"], told[0]["scored"], told[0]["mean_average_precision"]) == (3, 2, 0.75)
    assert told[1] == {"group": "c", "classes": 1, "scored": 1, "mean_average_precision": 0.25, "prior": 0.3}
    assert group_means(np.array([0]), ["a"], precision[1:2], prior[1:2], scored[1:2])[0]["prior"] is None
