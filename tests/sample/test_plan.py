import pytest

from ml_images import outcomes
from ml_images.errors import InputError
from ml_images.sample.faults import FAULTS
from ml_images.sample.plan import LISTS, Item, plan

BASE = "http://127.0.0.1:8765/"


def test_keys_and_files_are_distinct_and_every_list_is_used() -> None:
    items = plan(1, BASE, 480)
    assert len({item.key for item in items}) == len({item.path for item in items}) == len(items)
    assert {item.list_name for item in items} == set(LISTS)


def test_every_expected_outcome_is_one_that_a_download_can_have() -> None:
    assert {item.outcome for item in plan(1, BASE, 64)} <= set(outcomes.BY_NAME)


def test_every_fault_is_met_and_faults_are_few() -> None:
    kinds = [item.kind for item in plan(1, BASE, 480)]
    assert all(kinds.count(kind) == fault.rows for kind, fault in FAULTS.items())
    assert 15 <= sum(fault.rows for fault in FAULTS.values()) <= 25


def test_more_images_leave_the_first_ones_and_the_faults_as_they_were() -> None:
    def by_key(items: list[Item]) -> dict[str, Item]:
        return {item.key: item for item in items}

    few, many = by_key(plan(1, BASE, 64)), by_key(plan(1, BASE, 200))
    assert few.items() <= many.items()
    assert len(many) - len(few) == 136


@pytest.mark.parametrize("images", [63, 0, 1_000_001])
def test_too_few_or_too_many_images_are_refused(images: int) -> None:
    with pytest.raises(InputError, match=f"images must be from 64 .* to 1000000, got {images}"):
        plan(1, BASE, images)
