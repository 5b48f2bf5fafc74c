from dataclasses import replace

import pytest

from ml_images.report.contents import Dataset, Thumbnail


def test_an_outcome_outside_the_closed_list_is_refused(report):
    with pytest.raises(ValueError, match="outcome 'vanished' is unknown, expected one of ok, no_url"):
        replace(report, outcomes={"ok": 900, "vanished": 90})


def test_a_split_outside_the_closed_list_is_refused():
    with pytest.raises(ValueError, match="split 'dev' is unknown, expected one of train, val, test"):
        Dataset({"dev": 1}, {})


def test_a_thumbnail_must_be_a_jpeg():
    with pytest.raises(ValueError, match="thumbnail 'k' is not a JPEG"):
        Thumbnail("k", b"<svg onload=alert(1)>", ())
