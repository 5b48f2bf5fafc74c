import json
from typing import Any, TypedDict

import pytest

from ml_images.errors import InputError
from ml_images.storage.json_shape import parse_json


class Inner(TypedDict):
    count: int


class Base(TypedDict):
    inner: Inner


class Outer(Base, total=False):
    by_name: dict[str, Inner]
    texts: list[str]
    share: float
    note: str | None


WHOLE: dict[str, Any] = {
    "inner": {"count": 0, "more": True},
    "by_name": {"a.b": {"count": 2**63 - 1}},
    "texts": ["", "x"],
    "share": 1,
    "note": None,
    "unknown": {},
}


@pytest.mark.parametrize("told", [WHOLE, {"inner": {"count": 3}}, WHOLE | {"note": "n", "share": 0.5}])
def test_what_has_the_shape_is_given_back(told: dict[str, Any]) -> None:
    assert parse_json(json.dumps(told).encode(), Outer, "f") == told


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ([], r"f holds \[\], an object is expected"),
        ({}, r"f lacks inner"),
        ({"inner": {}}, r"f lacks inner\.count"),
        ({"inner": 5}, r"f holds 5 as inner, an object is expected"),
        ({"inner": {"count": "12"}}, r'f holds "12" as inner\.count, a whole number from 0 to 9223372036854775807 is'),
        ({"inner": {"count": None}}, r"f holds null as inner\.count"),
        ({"inner": {"count": True}}, r"f holds true as inner\.count"),
        ({"inner": {"count": 1.0}}, r"f holds 1\.0 as inner\.count"),
        ({"inner": {"count": -1}}, r"f holds -1 as inner\.count"),
        ({"inner": {"count": 2**63}}, r"f holds 9223372036854775808 as inner\.count"),
        (WHOLE | {"by_name": {"a.b": {"count": []}}}, r"f holds \[\] as by_name\[a\.b\]\.count"),
        (WHOLE | {"by_name": ["a"]}, r'f holds \["a"\] as by_name, an object'),
        (WHOLE | {"texts": ["x", 7]}, r"f holds 7 as texts\[1\], a text is expected"),
        (WHOLE | {"texts": "x"}, r'f holds "x" as texts, a list'),
        (WHOLE | {"share": "a"}, r'f holds "a" as share, a number'),
        (WHOLE | {"share": False}, r"f holds false as share"),
        (WHOLE | {"note": 1}, r"f holds 1 as note, a text"),
        (WHOLE | {"by_name": {"a\nb": 1}}, r"f holds 1 as by_name\[a b\], an object"),
        ({"inner": "x" * 1000}, r'f holds "x{59}\.\.\. as inner, an object'),
    ],
)
def test_what_has_not_is_one_line_that_names_the_field(told: object, says: str) -> None:
    with pytest.raises(InputError, match=f"^{says}") as caught:
        parse_json(json.dumps(told).encode(), Outer, "f")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b'{"a": "\xff"}', b"[" * 100_000], ids=["none", "cut", "latin-1", "deep"])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(InputError, match=r"^f is not JSON: "):
        parse_json(text, Outer, "f")
