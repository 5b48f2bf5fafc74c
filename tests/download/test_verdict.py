import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download import placeholder
from ml_images.download.config import FetchConfig
from ml_images.download.verdict import REDIRECT, of_body, of_head
from ml_images.download.wanted import Candidate
from ml_images.outcomes import BY_NAME

CFG = FetchConfig(max_bytes=1000)
ANY = [Candidate("http://a.example/1")]
JPEG = {"content-type": "image/jpeg"}


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (200, JPEG, None),
        (200, {}, None),
        (200, {"content-type": "Image/PNG; charset=x"}, None),
        (200, {"content-type": "application/octet-stream"}, None),
        (200, {"content-type": "binary/octet-stream"}, None),
        (200, {"content-type": "text/html; charset=utf-8"}, "not_an_image"),
        (200, {"content-type": "application/pdf"}, "not_an_image"),
        (200, {**JPEG, "content-length": "0"}, "empty"),
        (200, {**JPEG, "content-length": "1000"}, None),
        (200, {**JPEG, "content-length": "1001"}, "too_large"),
        (200, {**JPEG, "content-length": "1001", "content-encoding": "gzip"}, None),
        (200, {**JPEG, "content-length": "x"}, None),
        (200, {**JPEG, "content-length": "0", "transfer-encoding": "chunked"}, None),
        (200, {**JPEG, "content-length": "1001", "transfer-encoding": "chunked"}, None),
        (200, {**JPEG, "x-robots-tag": "noai"}, "opted_out"),
        (206, JPEG, "http_error"),
        (204, JPEG, "http_error"),
        (301, {"location": "/x"}, REDIRECT),
        (302, {"location": "/x"}, REDIRECT),
        (308, {"location": "/x"}, REDIRECT),
        (302, {}, "http_error"),
        (304, {"location": "/x"}, "http_error"),
        (400, {}, "http_error"),
        (401, {}, "forbidden"),
        (403, {}, "forbidden"),
        (404, {}, "not_found"),
        (408, {}, "timeout"),
        (410, {}, "not_found"),
        (429, {}, "rate_limited"),
        (429, {"retry-after": "100000"}, "rate_limited"),
        (451, {}, "forbidden"),
        (403, {"retry-after": "5"}, "rate_limited"),
        (404, {"retry-after": "5"}, "rate_limited"),
        (503, {"retry-after": "5"}, "server_error"),
        (500, {}, "server_error"),
        (503, {}, "server_error"),
        (599, {}, "server_error"),
    ],
)
def test_what_the_head_decides(status: int, headers: dict[str, str], outcome: str | None) -> None:
    assert of_head(status, headers, ANY, CFG, "ml-images") == outcome


def test_opt_outs_are_looked_at_only_where_they_count() -> None:
    assert of_head(200, {**JPEG, "x-robots-tag": "noai"}, ANY, CFG, None) is None


def test_an_announced_length_that_nobody_expects_saves_the_body() -> None:
    headers = {**JPEG, "content-length": "500"}
    five, six, open_minded = (Candidate("u", size=size) for size in (500, 600, None))
    assert of_head(200, headers, [six], CFG, None) == "changed"
    assert of_head(200, headers, [six, five], CFG, None) is None
    assert of_head(200, headers, [six, open_minded], CFG, None) is None
    encoded = {**headers, "content-encoding": "gzip"}
    assert of_head(200, encoded, [six], CFG, None) is None


def test_a_placeholders_length_is_no_verdict_before_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placeholder, "_KNOWN", {4: hashlib.md5(b"gone").hexdigest()})
    expecting = Candidate("u", size=600)
    assert of_head(200, {**JPEG, "content-length": "4"}, [expecting], CFG, None) is None
    assert of_body(b"gone", expecting, is_picture=True, is_repeated=False) == "placeholder"
    assert of_body(b"here", expecting, is_picture=True, is_repeated=False) == "changed"


def test_what_the_bytes_decide() -> None:
    md5 = hashlib.md5(b"picture").digest()
    assert of_body(b"", ANY[0], is_picture=False, is_repeated=False) == "empty"
    assert of_body(b"<html>", ANY[0], is_picture=False, is_repeated=False) == "not_an_image"
    assert of_body(b"picture", ANY[0], is_picture=True, is_repeated=False) is None
    assert of_body(b"picture", Candidate("u", size=7, md5=md5), is_picture=True, is_repeated=False) is None
    assert of_body(b"picture", Candidate("u", size=8, md5=md5), is_picture=True, is_repeated=False) == "changed"
    assert of_body(b"Picture", Candidate("u", size=7, md5=md5), is_picture=True, is_repeated=False) == "changed"
    assert of_body(b"picture", Candidate("u", size=7, md5=md5), is_picture=True, is_repeated=True) == "placeholder"


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(
            ["content-type", "content-length", "content-encoding", "location", "x-robots-tag", "tdm-reservation"]
        ),
        st.text(st.characters(max_codepoint=255)),
    ),
)
def test_any_head_has_a_verdict(status: int, headers: dict[str, str]) -> None:
    outcome = of_head(status, headers, ANY, CFG, "ml-images")
    assert outcome is None or outcome == REDIRECT or outcome in BY_NAME
    if status == 429:
        assert outcome == "rate_limited"
