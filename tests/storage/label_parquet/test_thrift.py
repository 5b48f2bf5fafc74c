import pytest

from ml_images.storage.label_parquet.thrift import boolean, i8, i32, i64, listing, string, struct, varint


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (1 << 35, "808080808001")]
)
def test_varints_hold_seven_bits_a_byte_lowest_first(number: int, expected: str) -> None:
    assert varint(number).hex() == expected


@pytest.mark.parametrize(("number", "expected"), [(0, "00"), (-1, "01"), (1, "02"), (-64, "7f"), (64, "8001")])
def test_integers_are_zigzag(number: int, expected: str) -> None:
    assert i32(number).payload.hex() == i64(number).payload.hex() == expected


def test_a_struct_names_its_fields_by_the_step_from_the_last_one() -> None:
    value = struct({1: i32(1), 3: string("ab"), 4: None, 5: boolean(True), 7: boolean(False), 15: i8(-1)})
    assert value.payload.hex() == "150228026162212283ff00"


def test_lists_of_fifteen_and_more_have_their_size_in_a_varint() -> None:
    assert listing([i32(1)] * 14).payload.hex() == "e5" + "02" * 14
    assert listing([i32(1)] * 15).payload.hex() == "f50f" + "02" * 15
    assert listing([struct({})]).payload.hex() == "1c00"
