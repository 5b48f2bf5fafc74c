import pytest

from ml_images import config
from ml_images.train.resolution import ResolutionConfig, image_size


def test_pictures_grow_in_the_epochs_that_are_given() -> None:
    schedule = ResolutionConfig(sizes=[224, 299], from_epochs=[0, 3])
    assert [image_size(schedule, 64, epoch) for epoch in range(5)] == [224, 224, 224, 299, 299]


def test_without_a_schedule_they_stay_as_they_are() -> None:
    assert image_size(ResolutionConfig(), 64, 7) == 64


def test_options_come_from_words() -> None:
    found = config.load(ResolutionConfig, ["sizes=[128,160,192]", "from_epochs=[0,2,9]"], program="x")
    assert image_size(found, 64, 8) == 160


@pytest.mark.parametrize(
    ("sizes", "epochs", "line"),
    [
        ([224], [], r"must be of one length, got \[224\] and \[\]"),
        ([16], [0], r"resolution.sizes must be >= 32 .*, got \[16\]"),
        ([64, 96], [1, 2], r"resolution.from_epochs must begin with 0 and rise, got \[1, 2\]"),
        ([64, 96, 99], [0, 5, 5], r"must begin with 0 and rise, got \[0, 5, 5\]"),
    ],
)
def test_impossible_schedules_are_refused(sizes: list[int], epochs: list[int], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        ResolutionConfig(sizes, epochs)
