import ast
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ml_images.errors import InputError
from ml_images.hierarchy.vocabulary import Vocabulary, to_table
from ml_images.labels.association import measure
from ml_images.labels.sums import Sums
from ml_images.schemas import COOCCURRENCE, LABELS, REJECTS
from ml_images.storage import tables

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))
NAMES = [path.stem for path in NOTEBOOKS]

# thing: animal: (cat, dog, pet with a deep family of cats); sofa. Class 9 is on no image.
CLASSES = ["thing", "animal", "cat", "dog", "sofa", "wild cat", "big cat", "lion", "lioness", "unicorn"]
PARENTS = [(), (0,), (1,), (1,), (0,), (1,), (5,), (6,), (7,), (1,)]
ROWS = [(0, 1, 2), (0, 1, 2, 4), (0, 1, 3, 4), (0, 1, 3, 4), (0, 1, 5, 6, 7, 8)] * 20


@pytest.fixture(scope="session")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What jobs/annotate.py leaves: 100 rows of two lists."""
    folder = tmp_path_factory.mktemp("annotations")
    ids, names = tuple(f"n{c}" for c in range(len(CLASSES))), tuple((name,) for name in CLASSES)
    tables.write_table(f"{folder}/vocabulary", "vocabulary", to_table(Vocabulary(ids, names, tuple(PARENTS))))
    rows = {
        "key": [f"k{i}" for i in range(len(ROWS))],
        "source": ["lists/train.txt" if i < 60 else "lists/val.txt" for i in range(len(ROWS))],
        "classes": ROWS,
        "confidences": [[1.0] * len(row) for row in ROWS],
        "origins": [[1] * (len(row) - 1) + [0] for row in ROWS],
    }
    tables.write_table(f"{folder}/labels", "labels", pa.Table.from_pydict(rows, schema=LABELS))
    reject = {"source": "lists/val.txt", "line": 3, "text": "k 99:1", "reason": "bad_class"}
    rejects = pa.Table.from_pylist([reject, {**reject, "line": 9}], schema=REJECTS)
    tables.write_table(f"{folder}/rejects", "rejects", rejects)
    return str(folder)


@pytest.fixture(scope="session")
def cooccurrences(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What jobs/cooccur.py leaves of the same rows."""
    folder = tmp_path_factory.mktemp("cooccurrences")
    labels = np.zeros((len(ROWS), len(CLASSES)), np.int64)
    for row, classes in zip(labels, ROWS, strict=True):
        row[list(classes)] = 1
    together = np.triu(labels.T @ labels)
    a, b = (side.astype(np.int32) for side in np.nonzero(together))
    sums = Sums(a, b, together[a, b])
    tables.write_table(f"{folder}/cooccurrence", "cooccurrence", pa.table(list(sums), schema=COOCCURRENCE))
    tables.write_table(f"{folder}/pairs", "pairs", measure(sums, labels.sum(axis=0), len(ROWS), 10))
    return str(folder)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_cells_hold_no_logic(path: Path, cells_of: Callable[..., Any]) -> None:
    """Only imports, assignments and calls; every statement is then a line of what the notebook does."""
    for cell in cells_of(path.read_text()):
        if cell.magic == "":
            for node in ast.walk(ast.parse(cell.source)):
                allowed = (ast.Module, ast.Import, ast.ImportFrom, ast.alias, ast.Assign, ast.Expr, ast.Call, ast.Name)
                allowed += (ast.Attribute, ast.Subscript, ast.Constant, ast.Tuple, ast.List, ast.Starred)
                allowed += (ast.keyword, ast.expr_context)
                line = cell.line + getattr(node, "lineno", 1) - 1
                assert isinstance(node, allowed), f"{path.name}:{line}: {type(node).__name__}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_notebooks_have_databricks_format_and_explain_themselves(path: Path, cells_of: Callable[..., Any]) -> None:
    cells = cells_of(path.read_text())
    assert cells[0].magic == "md" and cells[0].source.startswith("# ")
    assert [cell.magic for cell in cells].count("pip") == 1
    for before, cell in itertools.pairwise(cells):
        if cell.magic == "" and "display" in cell.source:
            assert before.magic == "md", f"line {cell.line}: nothing says what is shown"


def test_there_are_three() -> None:
    assert NAMES == ["explore_cooccurrence", "explore_hierarchy", "explore_statistics"]


def test_statistics(run_notebook: Callable[..., Any], annotations: str) -> None:
    shown = run_notebook("explore_statistics", annotations=annotations)
    readme, numbers, rejected, sources, frequent, rarest, depths = shown.tables
    told = {(row.quantity, row.over): row.value for row in readme.itertuples()}
    assert told["tags per image", "labels of all rows / all rows"] == pytest.approx(4.2)
    assert told["images", "val rows"] == 40
    values = dict(zip(numbers["number"], numbers["value"], strict=True))
    assert (values["rows"], values["labels: present"], values["classes: without images"]) == ("100", "420", "1")
    assert "tags per image: over rows: gini" in values
    assert rejected.values.tolist() == [["bad_class", 2, "lists/val.txt", 3, "k 99:1"]]
    assert sources[["source", "rows"]].values.tolist() == [["lists/train.txt", 60], ["lists/val.txt", 40]]
    assert frequent["names"].tolist()[:2] == [["thing"], ["animal"]]
    assert frequent["images"].tolist() == [100, 100, 60, 40, 40, 20, 20, 20, 20]
    assert rarest.empty
    assert depths["classes"].tolist() == [1, 2, 4, 1, 1, 1]
    assert depths["labels_per_origin given"].sum() == 100
    (figures,) = shown.html
    assert "Tags per image: 100 rows with 4.20 tags on average" in figures
    assert "from 100 to 20 over 9 classes with images" in figures


def test_hierarchy(run_notebook: Callable[..., Any], annotations: str) -> None:
    shown = run_notebook("explore_hierarchy", annotations=annotations)
    numbers, shallow, named_after, claimed, same_names, only_child = shown.tables
    values = dict(zip(numbers["number"], numbers["value"], strict=True))
    assert (values["nodes"], values["leaves"], values["longest path"]) == ("10", "5", "5")
    assert len(shallow) == len(claimed) == len(same_names) == 0
    assert named_after[["name", "others"]].values.tolist() == [["cat", "wild cat, big cat"]]
    assert only_child["name"].tolist() == ["wild cat", "big cat", "lion"]
    tree, sizes = shown.html
    assert "Radial tree of 10 classes: 1 roots, 5 leaves" in tree
    assert "<title>animal: 7 below</title>" in tree
    assert "thing 9, animal 7, wild cat 3" in sizes


def test_cooccurrence(run_notebook: Callable[..., Any], annotations: str, cooccurrences: str) -> None:
    places = {"annotations": annotations, "cooccurrences": cooccurrences}
    shown = run_notebook("explore_cooccurrence", **places)
    (heat,) = shown.html
    assert "dog with sofa: 100.0% (40 of 40)" in heat
    assert "cat with sofa: 50.0% (20 of 40)" in heat
    assert "dog with cat" not in heat
    (pairs,) = shown.tables
    assert pairs[["name_a", "name_b", "count"]].values.tolist() == [["dog", "sofa", 40]]
    none = run_notebook("explore_cooccurrence", **places, min_count="41", num_classes="2")
    assert none.tables[0].empty
    assert "Heat map of the 2 most frequent classes" in none.html[0]


def test_a_forgotten_widget_is_told_by_a_usable_line(run_notebook: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="/vocabulary' does not exist"):
        run_notebook("explore_hierarchy")


def test_the_reader_tells_cells_apart(cells_of: Callable[..., Any]) -> None:
    text = "# Databricks notebook source\n# MAGIC %md\n# MAGIC # Title\n# MAGIC\n# MAGIC text\n\n"
    text += "# COMMAND ----------\n\na = 1  # MAGIC\n\nb = 2\n# COMMAND ----------\n"
    text += "# COMMAND ----------\n# MAGIC %pip install ..\n"
    cells = [(cell.magic, cell.source, cell.line) for cell in cells_of(text)]
    assert cells == [("md", "# Title\n\ntext", 2), ("", "a = 1  # MAGIC\n\nb = 2", 9), ("pip", "install ..", 14)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\n", "begins with '# Databricks notebook source'"),
        ("# Databricks notebook source\n# MAGIC %md\na = 1\n", "line 2: .* in every line or in none"),
        ("# Databricks notebook source\n# MAGIC text\n", "line 2: '# MAGIC' without a %word"),
    ],
)
def test_the_reader_refuses_what_databricks_would_misread(
    text: str, message: str, cells_of: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match=message):
        cells_of(text)


def test_the_runner_collects_what_is_shown_and_points_into_the_file(run_text: Callable[..., Any]) -> None:
    text = "# Databricks notebook source\ndbutils.widgets.text('n', '1')\n# COMMAND ----------\n"
    text += "display(dbutils.widgets.get('n'))\ndisplayHTML('<p>')\n# COMMAND ----------\n\nmissing\n"
    shown = run_text(text.removesuffix("\nmissing\n"), "made.py", None, n="2")
    assert (shown.tables, shown.html) == (["2"], ["<p>"])
    with pytest.raises(NameError) as error:
        run_text(text, "made.py", None)
    assert error.traceback[-1].lineno + 1 == 8 and str(error.traceback[-1].path) == "made.py"
    with pytest.raises(KeyError):
        run_text("# Databricks notebook source\ndbutils.widgets.get('n')\n", "made.py", None, n="2")
    with pytest.raises(ValueError, match=r"made\.py:2: %sql is not run here"):
        run_text("# Databricks notebook source\n# MAGIC %sql select 1\n", "made.py", None)
