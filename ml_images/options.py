"""How an options dataclass declares a field together with its one line of help."""

from dataclasses import MISSING, field
from typing import Any


def option(default: Any = MISSING, help: str = "") -> Any:
    """A dataclass field with a help text; without a default the option is required."""
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})
