import pytest

from ml_images.download.opt_out import is_opted_out


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, False),
        ({"x-robots-tag": "noai"}, True),
        ({"x-robots-tag": "NoImageAI"}, True),
        ({"x-robots-tag": "nofollow, noindex"}, True),
        ({"x-robots-tag": "none"}, True),
        ({"x-robots-tag": "nofollow, noarchive"}, False),
        ({"x-robots-tag": "noindexing"}, False),
        ({"x-robots-tag": "ml-images: noai"}, True),
        ({"x-robots-tag": "ML-Images: nofollow, noai"}, True),
        ({"x-robots-tag": "*: noindex"}, True),
        ({"x-robots-tag": "googlebot: noindex"}, False),
        ({"x-robots-tag": "googlebot: nofollow, noindex"}, False),
        ({"x-robots-tag": "noai, googlebot: noindex"}, True),
        ({"x-robots-tag": "googlebot: noindex, ml-images: noai"}, True),
        ({"x-robots-tag": "unavailable_after: 25 Jun 2010 15:00:00 PST, noai"}, True),
        ({"x-robots-tag": "max-snippet: 5, noindex"}, True),
        ({"x-robots-tag": ""}, False),
        ({"tdm-reservation": "1"}, True),
        ({"tdm-reservation": " 1 "}, True),
        ({"tdm-reservation": "0"}, False),
        ({"tdm-reservation": "0", "x-robots-tag": "noai"}, True),
    ],
)
def test_hosts_that_say_no(headers: dict[str, str], answer: bool) -> None:
    assert is_opted_out(headers, "ml-images") is answer
