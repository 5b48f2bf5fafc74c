from ml_images.report.notebook import figures_html, numbers_table
from ml_images.report.svg import Figure


def test_nested_numbers_become_rows_that_name_the_way_to_them():
    numbers = {
        "rows": 12345,
        "tags": {"over_rows": {"mean": 8.50001, "gini": None}},
        "path": [1, 2],
        "sources": {"a": 1},
        "roots": [{"leaves": 3}, {"leaves": 4}],
    }
    assert numbers_table(numbers, without=("sources",)).to_pylist() == [
        {"number": "rows", "value": "12,345"},
        {"number": "tags: over rows: mean", "value": "8.5"},
        {"number": "tags: over rows: gini", "value": "–"},
        {"number": "path", "value": "[1, 2]"},
        {"number": "roots: 1: leaves", "value": "3"},
        {"number": "roots: 2: leaves", "value": "4"},
    ]
    assert numbers_table({"mean": 13843.83})["value"].to_pylist() == ["13,843.8"]


def test_no_numbers_are_an_empty_table():
    assert numbers_table({}).num_rows == 0


def test_figures_stand_below_each_other_with_words_that_are_escaped():
    page = figures_html(Figure("a", "A <b>", "x & y", "<svg>1</svg>"), Figure("b", "B", "z", "<svg>2</svg>"))
    assert page.index("<svg>1</svg>") < page.index("<svg>2</svg>")
    assert "A &lt;b&gt;" in page and "x &amp; y" in page
    assert "background:#fff" in page
