"""Has a JSON text the shape that a type tells? Asked once, where it is read, so that nobody has to who uses it."""

import json
from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from ml_images.errors import InputError

_MOST = (1 << 63) - 1  # what Arrow and Parquet count with
_SHOWN = 60  # letters of a value that is not what it should be

_WORDS: dict[Any, str] = {
    str: "a text",
    int: f"a whole number from 0 to {_MOST}",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def parse_json(text: bytes, kind: Any, name: str) -> Any:
    """What a text says that is to be a `kind`: str, int (none below 0), float, list[X], dict[str, X], a TypedDict,
    which may hold more than it tells, or one of these | None.

    name: of what is read. InputError of one line names it, the field, what is there, and what was expected.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not JSON: {error}") from error
    for misfit in _misfits(told, kind, ""):
        raise InputError(f"{name} {' '.join(misfit.split())}")
    return told


def _misfits(value: Any, kind: Any, field: str) -> Iterator[str]:
    if NoneType in get_args(kind):
        if value is None:
            return
        kind = next(one for one in get_args(kind) if one is not NoneType)
    plain = dict if is_typeddict(kind) else get_origin(kind) or kind
    if not _is_plain(value, plain):
        shown = json.dumps(value)
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        yield f"holds {shown}{f' as {field}' if field else ''}, {_WORDS[plain]} is expected"
    elif is_typeddict(kind):
        for name, inner in get_type_hints(kind).items():
            place = f"{field}.{name}" if field else name
            if name in value:
                yield from _misfits(value[name], inner, place)
            elif name in kind.__required_keys__:
                yield f"lacks {place}"
    elif plain is dict:
        for name, inner in value.items():
            yield from _misfits(inner, get_args(kind)[1], f"{field}[{name}]")
    elif plain is list:
        for number, inner in enumerate(value):
            yield from _misfits(inner, get_args(kind)[0], f"{field}[{number}]")


def _is_plain(value: Any, plain: Any) -> bool:
    if isinstance(value, bool):  # which Python counts among the numbers
        return False
    if plain is int:
        return isinstance(value, int) and 0 <= value <= _MOST
    return isinstance(value, (int, float) if plain is float else plain)
