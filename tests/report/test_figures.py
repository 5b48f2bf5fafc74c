import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ml_images.labels.statistics import ORIGINS
from ml_images.outcomes import BY_NAME
from ml_images.report import figures as drawing
from ml_images.report.contents import TrainingPoint


def heights(figure, bar="bar"):
    """Height and width of each bar, in points."""
    paths = re.findall(rf'id="{figure.name}-{bar}-\d+">\s*<path d="([^"]*)"', figure.svg)
    corners = [np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2) for path in paths]
    return [np.ptp(c[:, 1]) for c in corners], [np.ptp(c[:, 0]) for c in corners]


def points(figure, line):
    path = re.search(rf'id="{figure.name}-{line}">\s*<path d="([^"]*)"', figure.svg)[1]
    return np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2)


def test_a_bar_for_each_number_of_tags_as_high_as_its_rows():
    rows = np.array([0, 10, 40, 20])
    drawn, _ = heights(drawing.tags_per_image(rows))
    assert len(drawn) == 4
    assert np.allclose(np.array(drawn) / max(drawn), rows / 40, atol=1e-3)


def test_many_tags_share_the_last_bar():
    rows = np.ones(100, np.int64)
    figure = drawing.tags_per_image(rows)
    drawn, _ = heights(figure)
    assert len(drawn) == drawing.MAX_TAG_BARS
    assert drawn[-1] / drawn[0] == pytest.approx(60, rel=1e-2)
    assert ">≥ 40<" in figure.svg
    assert "the highest 99" in figure.alt


def test_two_bars_for_each_depth():
    figure = drawing.labels_by_depth([10, 30, 0], [1, 1, 2])
    labels, _ = heights(figure)
    classes, _ = heights(figure, "class-bar")
    assert np.allclose(np.array(labels) / max(labels), [1 / 3, 1, 0], atol=1e-3)
    assert np.allclose(np.array(classes) / max(classes), [0.5, 0.5, 1], atol=1e-3)


def test_labels_of_each_origin_that_occurs_stand_on_top_of_each_other():
    nothing = dict.fromkeys(ORIGINS, 0)
    figure = drawing.origins_by_depth([{**nothing, "ancestor": 30}, {**nothing, "given": 10, "ancestor": 5}])
    given, _ = heights(figure, "bar0")
    added, _ = heights(figure, "bar1")
    assert np.allclose(np.array(given) / max(added), [0, 1 / 3], atol=1e-3)
    assert np.allclose(np.array(added) / max(added), [1, 1 / 6], atol=1e-3)
    assert heights(figure, "bar2") == ([], [])
    assert "45 labels" in figure.alt
    assert "added by closure 35" in figure.alt


def test_classes_are_stacked_by_their_number_of_images():
    figure = drawing.classes_by_depth([(1, 1, 1), (2, 5, 9)])
    stacks = [heights(figure, f"bar{number}")[0] for number in range(3)]
    assert np.allclose(np.array(stacks) / max(stacks[2]), [[1 / 4, 2 / 4], [0, 3 / 4], [0, 1]], atol=1e-3)
    assert (
        "10 classes by depth, to 1: 3 with more than 100 images, 3 with 1 to 100 images, 4 with no image" in figure.alt
    )


NOTHING = dict.fromkeys(ORIGINS, 0)
WIDE = {
    "many images": lambda: drawing.images_per_class(np.array([10**9, 54_321, 3, 0])),
    "many rows": lambda: drawing.tags_per_image(np.full(60, 99_999_999)),
    "50,000 rows": lambda: drawing.tags_per_image(np.array([48_000, 2])),
    "a mean in the last bar": lambda: drawing.tags_per_image(np.eye(1, 41, 40, dtype=np.int64)[0]),
    "a mean behind all bars": lambda: drawing.tags_per_image(np.eye(1, 2000, 1999, dtype=np.int64)[0]),
    "a mean before the end": lambda: drawing.tags_per_image(np.eye(1, 40, 32, dtype=np.int64)[0]),
    "no tags": lambda: drawing.tags_per_image(np.array([3])),
    "one depth": lambda: drawing.labels_by_depth([1], [1]),
    "deep": lambda: drawing.labels_by_depth([1] * 300, [2] * 300),
    "all origins": lambda: drawing.origins_by_depth([dict.fromkeys(ORIGINS, 12_345_678)] * 20),
    "one origin": lambda: drawing.origins_by_depth([{**NOTHING, "given": 12_500}]),
    "many classes": lambda: drawing.classes_by_depth([(10_000, 20_000, 50_000)] * 17),
    "three classes": lambda: drawing.classes_by_depth([(0, 0, 3)]),
}


@pytest.mark.parametrize("draw", WIDE.values(), ids=WIDE)
def test_all_that_is_written_fits_into_the_chart(draw, monkeypatch):
    def inline(figure, *said):
        FigureCanvasAgg(figure)
        inside = figure.get_tightbbox()
        assert inside.x0 >= 0 and inside.x1 <= figure.get_figwidth()
        assert inside.y0 >= 0 and inside.y1 <= figure.get_figheight()
        return inside.width

    monkeypatch.setattr(drawing, "inline", inline)
    assert draw() > 5.3  # of 6 inches: nor is there room to spare


def test_a_bar_and_a_number_for_each_outcome_that_occurred():
    figure = drawing.outcomes({"timeout": 1200, "ok": 5000, "not_found": 0})
    _, widths = heights(figure)
    assert np.allclose(np.array(widths) / max(widths), [1, 0.24], atol=1e-3)
    assert ">5,000<" in figure.svg
    assert ">1,200<" in figure.svg
    assert "not_found" not in figure.svg


def test_all_outcomes_fit_one_figure():
    figure = drawing.outcomes(dict.fromkeys(BY_NAME, 10))
    assert len(heights(figure)[0]) == len(BY_NAME)


def test_a_bar_for_each_split():
    figure = drawing.splits({"train": 900, "val": 100, "test": 0})
    _, widths = heights(figure)
    assert np.allclose(np.array(widths) / max(widths), [1, 1 / 9, 0], atol=1e-3)
    assert ">900 (90.0 %)<" in figure.svg


def test_an_empty_data_set_is_drawn():
    assert heights(drawing.splits({"train": 0, "val": 0, "test": 0}))[1] == [0, 0, 0]


def test_the_class_curve_falls_from_the_most_frequent_to_the_rarest():
    counts = np.array([3, 0, 5000, 100, 101, 0])
    figure = drawing.images_per_class(counts)
    curve = points(figure, "curve")
    assert len(curve) == 4
    assert (np.diff(curve[:, 1]) > 0).all()  # SVG counts downwards
    assert "2 classes have more" in figure.svg
    assert "from 5,000 to 3 over 4 classes" in figure.alt
    assert "2 have none" in figure.alt


def test_a_curve_of_very_many_classes_stays_small():
    figure = drawing.images_per_class(np.arange(1, 200_001))
    assert len(points(figure, "curve")) <= drawing.MAX_CURVE_POINTS
    assert len(figure.svg) < 100_000


def test_one_class_with_one_image_is_drawn():
    assert "over 1 classes" in drawing.images_per_class(np.array([1])).alt


def test_the_training_curve_leaves_out_what_is_not_finite():
    log = [
        TrainingPoint(0, 2.0, 0.1),
        TrainingPoint(5, float("nan")),
        TrainingPoint(10, 1.5),
        TrainingPoint(20, 1.0, 0.4),
    ]
    figure = drawing.training(log, 0.25)
    assert len(points(figure, "val-map")) == 2
    assert "prior 0.250" in figure.svg
    assert "training loss from 2 to 1" in figure.alt
    assert "mAP at best 0.400" in figure.alt


def test_a_training_without_validation_is_drawn():
    assert "mAP" not in drawing.training([TrainingPoint(1, 0.5)], None).alt


def test_a_report_has_the_figures_for_which_it_has_numbers(report):
    names = [figure.name for figure in drawing.figures(report)]
    assert names == [
        "images-per-class",
        "tags-per-image",
        "labels-by-depth",
        "origins-by-depth",
        "classes-by-depth",
        "outcomes",
        "splits",
        "training",
    ]
    fewer = drawing.figures(replace(report, outcomes=None, dataset=None, training=None))
    assert [figure.name for figure in fewer] == names[:5]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.5, "0.5"), (12_000, "12,000"), (250_000, "250 k"), (1.5e6, "1.5 M")]
)
def test_tick_labels_are_short(value, text):
    assert drawing._THOUSANDS(value) == text
