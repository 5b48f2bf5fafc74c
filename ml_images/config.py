"""Command lines and YAML files become one frozen dataclass; the only module that knows OmegaConf.

Layers, later ones win: defaults of the schema, YAML files from left to right, `key=value` words. Whatever is wrong ends
in an InputError of one line that names the key, what was given, what is accepted and the nearest spelling.
"""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ml_images.errors import InputError

T = TypeVar("T")


def load(schema: type[T], argv: Sequence[str], *, program: str, doc: str = "") -> T:
    """`argv` (YAML files and key=value words) as an instance of the dataclass `schema`.

    Prints help and exits with 0 on `-h` or `--help`. Raises InputError for anything that `schema` does not accept.
    """
    if any(word in ("-h", "--help", "help") for word in argv):
        print(help_text(schema, program, doc), flush=True)
        raise SystemExit(0)
    merged = OmegaConf.structured(schema)
    fields = dict(_leaves(schema))
    for origin, key, value in _assignments(argv, fields):
        _check_key(key, origin, fields)
        merged = _assign(merged, key, value, fields)
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        name = missing[0]
        raise InputError(f"option '{name}' is required: {_help_of(fields[name][1])}; give it as {name}=...")
    try:
        return typing.cast(T, OmegaConf.to_object(merged))
    except ValueError as error:  # a rule in some __post_init__
        raise InputError(_one_line(error)) from error


def to_dict(config: Any) -> dict[str, Any]:
    """The resolved configuration as plain values, for report.json; what only its owner should know is left out."""
    values: dict[str, Any] = _masked(dataclasses.asdict(config))
    return values


# As Spark's own spark.redaction.regex: Hadoop's settings of a store hold its keys.
_SECRET = re.compile(r"secret|password|token|access[.]?key", re.IGNORECASE)


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _masked(item, str(key)) for key, item in value.items()}
    return "***" if isinstance(value, str) and value and _SECRET.search(name) else value


def help_text(schema: type, program: str, doc: str) -> str:
    """Usage, the document string of the entry point (with its examples) and a table of all options."""
    rows = []
    for name, (kind, spec) in _leaves(schema):
        default = "required" if _is_required(spec) else _default_of(spec)
        rows.append((name, _type_name(kind), default, _help_of(spec)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"usage: {program} [file.yaml ...] [key=value ...]", "", doc.strip(), "", "options:"]
    for name, kind, default, text in rows:
        lines.append(f"  {name:<{widths[0]}}  {kind:<{widths[1]}}  {default:<{widths[2]}}  {text}".rstrip())
    return "\n".join(lines)


def _leaves(schema: type, prefix: str = "") -> Iterator[tuple[str, tuple[Any, dataclasses.Field[Any]]]]:
    """Dotted name -> (type, field) of every option below `schema`."""
    hints = typing.get_type_hints(schema)
    for spec in dataclasses.fields(schema):
        kind = hints[spec.name]
        if dataclasses.is_dataclass(kind):
            yield from _leaves(typing.cast(type, kind), f"{prefix}{spec.name}.")
        else:
            yield prefix + spec.name, (kind, spec)


def _assignments(argv: Sequence[str], fields: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(where it was given, dotted key, value) for each assignment in `argv`, files first, in the order given."""
    words = []
    for word in argv:
        if word.endswith((".yaml", ".yml")) and "=" not in word:
            yield from ((word, key, value) for key, value in _flatten(_read_yaml(word), fields))
        elif "=" in word and not word.startswith("-"):
            words.append(word)
        else:
            raise InputError(f"'{word}' is neither a .yaml file nor key=value; --help lists the options")
    for word in words:
        key, _, text = word.partition("=")
        yield "command line", key.strip(), _value_of(text, key.strip(), fields)


def _value_of(text: str, key: str, fields: Mapping[str, Any]) -> Any:
    """What a word of the command line says. Texts and lists of texts are what they are, unless they are quoted: in YAML
    `*.txt` is an alias, 0123 is 83, and a name ends before ' #'."""
    kind = fields[key][0] if key in fields else str if _free_key(key, fields) else None
    if not text or (kind is str and text[0] not in "'\""):
        return text
    if kind == list[str] and not {"'", '"'} & set(text):
        if not (text.startswith("[") and text.endswith("]")):
            return [text]
        return [item.strip() for item in text[1:-1].split(",") if item.strip()]
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{key}: cannot read '{text}' as a value ({_one_line(error)})") from error


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"configuration file '{path}' does not exist") from error
    except IsADirectoryError as error:
        raise InputError(f"configuration file '{path}' is a directory") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"configuration file '{path}' is not YAML: {_one_line(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"configuration file '{path}' holds a {type(content).__name__}, expected 'key: value' lines")
    return content


def _flatten(tree: Mapping[Any, Any], fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in fields:
            yield from _flatten(value, fields, f"{name}.")
        else:
            yield name, value


def _check_key(key: str, origin: str, fields: Mapping[str, Any]) -> None:
    if key in fields or _free_key(key, fields):
        return
    near = difflib.get_close_matches(key, fields, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise InputError(f"unknown option '{key}' ({origin}); {hint}accepted: {', '.join(fields)}")


def _free_key(key: str, fields: Mapping[str, Any]) -> str | None:
    """The name of the dict option that takes `key` (spark.spark.executor.memory -> spark), if there is one."""
    for name, (kind, _) in fields.items():
        if typing.get_origin(kind) is dict and key.startswith(f"{name}."):
            return name
    return None


def _assign(merged: Any, key: str, value: Any, fields: Mapping[str, Any]) -> Any:
    owner = _free_key(key, fields)
    if owner is not None:
        return OmegaConf.merge(merged, _nest(owner, {key[len(owner) + 1 :]: _verbatim(str(value))}))
    kind, spec = fields[key]
    if typing.get_origin(kind) is list and not isinstance(value, list):
        value = [value]  # lists=one.txt
    # OmegaConf turns 2.5 into 2 and true into 1 where an integer is asked for; a user meant something else.
    bad = (isinstance(value, float) and kind is int) or (isinstance(value, bool) and kind in (int, float))
    try:
        if not bad:
            return OmegaConf.merge(merged, _nest(key, _verbatim(value)))
    except OmegaConfBaseException:
        pass  # the message below says the same in one line
    raise InputError(f"option '{key}': {value!r} was given, accepted is {_type_name(kind)} ({_help_of(spec)})")


def _verbatim(value: Any) -> Any:
    """What OmegaConf takes for `value` as it is: unless it is told, it puts other options in the place of ${...}."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if isinstance(value, list):
        return [_verbatim(item) for item in value]
    if isinstance(value, dict):
        return {key: _verbatim(item) for key, item in value.items()}
    return value


def _nest(key: str, value: Any) -> dict[str, Any]:
    """{'a': {'b': value}} for the dotted key 'a.b'."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return typing.cast(dict[str, Any], value)


def _type_name(kind: Any) -> str:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return "|".join(str(arg) for arg in args)
    if origin in (typing.Union, types.UnionType):
        return "|".join("null" if arg is type(None) else _type_name(arg) for arg in args)
    if origin is list:
        return f"[{_type_name(args[0])}, ...]"
    if origin is dict:
        return "key: value"
    return {int: "integer", float: "number", str: "text", bool: "true|false"}.get(kind, str(kind))


def _is_required(spec: dataclasses.Field[Any]) -> bool:
    return spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING


def _default_of(spec: dataclasses.Field[Any]) -> str:
    if spec.default_factory is not dataclasses.MISSING:
        return str(spec.default_factory())
    if isinstance(spec.default, bool):
        return str(spec.default).lower()
    return "null" if spec.default is None else str(spec.default)


def _help_of(spec: dataclasses.Field[Any]) -> str:
    return str(spec.metadata.get("help", ""))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
