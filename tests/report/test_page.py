import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from ml_images.labels.statistics import LabelStatistics
from ml_images.outcomes import BY_NAME
from ml_images.report.contents import Lines, Reject, Thumbnail
from ml_images.report.numbers import report_json
from ml_images.report.page import MAX_ROOTS, decimal, percent, render, visible

VOID = {"meta", "br", "img"}


def page_of(report):
    return render(report, report_json(report))


class Outline(HTMLParser):
    """Tags that balance, attributes and the text of every cell, tile and heading."""

    def __init__(self, page):
        super().__init__()
        self.open, self.attributes, self.texts, self.headings = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())
            if self.open[-1] == "h2":
                self.headings.append(data.strip())


@pytest.fixture(scope="module")
def page(report):
    return page_of(report)


HOSTILE = "<script>alert('&')</script>\"><img src=x onerror=alert(1)>"


def test_the_page_shows_the_numbers_given(page):
    texts = Outline(page).texts
    for number in ("1,010", "1,003", "1,000", "7", "900", "100", "896", "5", "0.610", "2,500"):
        assert number in texts, number
    assert "train 801 · val 52 · test 43" in texts
    assert "prior 0.200, 3.0 times that" in texts
    assert "90.0 % of keys" in texts
    assert "val_b.txt, line 1,234" in texts
    assert BY_NAME["too_small"].meaning not in texts
    assert BY_NAME["not_found"].meaning in texts


def test_equal_reports_give_equal_pages(report, page):
    assert page_of(replace(report)) == page


def test_nothing_is_requested_and_nothing_runs(page):
    for tag, name, value in Outline(page).attributes:
        assert not name.startswith("on")
        if name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
            assert value.startswith(("data:image/jpeg;base64,", "#")), (tag, name, value[:80])
    assert re.findall(r"url\((?!#)", page) == []
    assert "@import" not in page
    assert "<script" not in page
    assert "<link" not in page
    assert "default-src 'none'" in page


def test_no_id_occurs_twice(page):
    ids = [value for _, name, value in Outline(page).attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert len(ids) > 50


def test_hostile_text_stays_text(report):
    reject = Reject(HOSTILE, 7, HOSTILE, 1, HOSTILE + " caf\udce9")
    names = report.vocabulary["names"].to_pylist()
    source = {"split": "train", "rows": 1000, "labels": 2500, "tags_per_image": 2.5, "classes": 9}
    source |= {"classes_in_no_other_list_of_the_split": 8}
    vocabulary = report.vocabulary.set_column(2, "names", [[[HOSTILE], *names[1:]]])
    hostile = replace(
        report,
        title=HOSTILE,
        written=HOSTILE,
        vocabulary=vocabulary,
        statistics={**report.statistics, "sources": {HOSTILE: source}},
        lines=Lines(1010, 1000, (reject,), 3),
        thumbnails=(Thumbnail(HOSTILE, report.thumbnails[0].jpeg, (HOSTILE,)),),
        configuration={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
    )
    page = page_of(hostile)
    assert "<script" not in page
    assert "<img src=x" not in page
    outline = Outline(page)
    assert outline.texts.count(HOSTILE) >= 9
    assert HOSTILE + " caf\\udce9" in outline.texts
    page.encode("utf-8")  # a lone surrogate could not be written
    assert not any(name == "onerror" for _, name, _ in outline.attributes)


def test_what_cannot_be_seen_is_spelt_out():
    assert visible("a\tb\u202ec\x00\udce9 ü漢") == "a\\tb\\u202ec\\x00\\udce9 ü漢"


def test_a_part_that_is_missing_has_no_section(report, page):
    assert Outline(page).headings == [
        "What happened to every row",
        "Rejected lines",
        "Images",
        "The annotations in numbers",
        "Images and tags",
        "Hierarchy",
        "Classes",
        "Data set and training",
        "A look at the pictures",
        "How it was made",
    ]
    bare = replace(
        report,
        lines=None,
        outcomes=None,
        dataset=None,
        training=None,
        thumbnails=(),
        written=None,
        configuration=None,
        versions=None,
    )
    assert Outline(page_of(bare)).headings == [
        "The annotations in numbers",
        "Images and tags",
        "Hierarchy",
        "Classes",
    ]
    assert Outline(page_of(replace(bare, training=report.training))).headings[-1] == "Training"


def test_a_report_without_one_accepted_line_is_a_page_too(report):
    nothing = LabelStatistics(5)
    empty = replace(
        report,
        statistics=nothing.result(),
        labels_per_class=np.zeros((5, 5), np.int64),
        tags_per_image=np.zeros(1, np.int64),
        lines=Lines(7, 0, (Reject("no_labels", 7, "a.txt", 1, "x"),)),
        outcomes={},
        dataset=None,
        training=None,
        thumbnails=(),
    )
    texts = Outline(page_of(empty)).texts
    assert "100.0 % of lines" in texts
    assert "5 classes" in texts


def test_classes_without_images_are_named(report, page):
    texts = Outline(page).texts
    assert "1 classes without images" in texts
    assert "unicorn" in texts


def test_a_vocabulary_without_a_hierarchy_shows_few_of_its_roots(report):
    classes = MAX_ROOTS + 5
    flat = pa.Table.from_pylist(
        [{"class": c, "id": f"n{c}", "names": [f"class {c}"], "parents": [], "depth": 0} for c in range(classes)],
        schema=report.vocabulary.schema,
    )
    counts = np.zeros((classes, 5), np.int64)
    counts[:5] = report.labels_per_class
    texts = Outline(page_of(replace(report, vocabulary=flat, labels_per_class=counts))).texts
    assert f"Roots, the {MAX_ROOTS} with most classes" in texts


def test_thumbnails_are_carried_whole(report, page):
    (source,) = [value for tag, name, value in Outline(page).attributes if (tag, name) == ("img", "src")]
    assert base64.b64decode(source.removeprefix("data:image/jpeg;base64,")) == report.thumbnails[0].jpeg


def test_a_report_that_does_not_add_up_is_not_drawn(report):
    with pytest.raises(ValueError, match=r"rows of labels, one a key: 1,000 .* 989"):
        page_of(replace(report, outcomes={"ok": 989}, dataset=None))


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "–"), (0, "0.0 %"), (1e-9, "< 0.1 %"), (0.1234, "12.3 %"), (1 - 1e-9, "> 99.9 %"), (1, "100.0 %")],
)
def test_a_share_of_nearly_nothing_is_not_nothing(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("number", "text"), [(None, "–"), (0.0, "0"), (0.41278, "0.413"), (8.7781, "8.78"), (13843.83, "13,843.8")]
)
def test_decimals(number, text):
    assert decimal(number) == text
