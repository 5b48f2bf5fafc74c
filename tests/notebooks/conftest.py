"""Reads notebooks in Databricks' source format and runs them in this process; stand-ins for what Databricks adds."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

HEADER = "# Databricks notebook source\n"
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@dataclass(frozen=True)
class Cell:
    magic: str  # "" for Python, else the word behind the percent sign: md, pip, ...
    source: str
    line: int  # of its first line in the file, 1-based


def read_cells(text: str) -> list[Cell]:
    """The cells of a notebook that are not blank. ValueError where the text is not in the format."""
    if not text.startswith(HEADER):
        raise ValueError(f"a notebook begins with {HEADER.strip()!r}, got {text.splitlines()[:1]}")
    cells, start = [], 1
    lines = ["", *text.splitlines()[1:], "# COMMAND ----------"]
    for end, line in enumerate(lines):
        if line != "# COMMAND ----------":
            continue
        block = lines[start:end]
        first = next((i for i, one in enumerate(block) if one.strip()), None)
        if first is not None:
            cells.append(_cell(block[first:], start + first + 1))
        start = end + 1
    return cells


def _cell(lines: list[str], line: int) -> Cell:
    text = "\n".join(lines).rstrip()
    marked = [one.startswith("# MAGIC") for one in text.splitlines()]
    if not any(marked):
        return Cell("", text, line)
    if not all(marked):
        raise ValueError(f"line {line}: a cell is '# MAGIC' in every line or in none")
    plain = re.sub(r"^# MAGIC ?", "", text, flags=re.M)
    word = re.match(r"%(\w+)\s?", plain)
    if word is None:
        raise ValueError(f"line {line}: '# MAGIC' without a %word")
    return Cell(word[1], plain[word.end() :], line)


class Widgets:
    """Like dbutils.widgets: a value that was given wins over the default; a widget that nobody made is an error."""

    def __init__(self, given: dict[str, str]):
        self._given, self._made = given, dict[str, str]()

    def text(self, name: str, default: str, label: str = "") -> None:
        self._made[name] = self._given.get(name, default)

    def get(self, name: str) -> str:
        return self._made[name]


@dataclass
class Shown:
    """What a notebook showed, in order: tables as given to display(), HTML as given to displayHTML()."""

    tables: list[Any] = field(default_factory=list)
    html: list[str] = field(default_factory=list)


def run(text: str, name: str, spark: object, **widgets: str) -> Shown:
    shown = Shown()
    namespace: dict[str, Any] = {
        "__name__": "__main__",
        "spark": spark,
        "dbutils": SimpleNamespace(widgets=Widgets(widgets)),
        "display": shown.tables.append,
        "displayHTML": shown.html.append,
    }
    for cell in read_cells(text):
        if cell.magic == "":  # the lines before it make tracebacks point into the file
            exec(compile("\n" * (cell.line - 1) + cell.source, name, "exec"), namespace)
        elif cell.magic not in ("md", "pip", "restart_python"):
            raise ValueError(f"{name}:{cell.line}: %{cell.magic} is not run here")
    return shown


@pytest.fixture(scope="session")
def cells_of() -> Callable[[str], list[Cell]]:
    return read_cells


@pytest.fixture(scope="session")
def run_text() -> Callable[..., Shown]:
    return run


@pytest.fixture
def run_notebook(spark: object) -> Callable[..., Shown]:
    """run_notebook("explore_hierarchy", annotations=...) -> Shown"""
    return lambda name, **widgets: run((NOTEBOOKS / f"{name}.py").read_text(), f"{name}.py", spark, **widgets)
