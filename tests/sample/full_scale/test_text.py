import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_images.sample.full_scale.chance import stream_key
from ml_images.sample.full_scale.text import MULTIPLIER, PHOTOS, Texts, flickr_urls, folder_names, imagenet_keys, texts

URL = re.compile(
    r"https://(?:c[1-8]\.staticflickr\.com/[1-9]|farm[1-8]\.staticflickr\.com)/\d{1,4}/(\d{9,10})_[0-9a-f]{10}_o\.jpg"
)


def strings(items: Texts) -> list[str]:
    data = items.data.tobytes()
    return [data[start:end].decode() for start, end in zip(items.offsets[:-1], items.offsets[1:], strict=True)]


@given(st.lists(st.binary(max_size=5), max_size=5))
def test_texts_come_back(items: list[bytes]) -> None:
    made = texts(items)
    assert [made.data[made.offsets[i] : made.offsets[i + 1]].tobytes() for i in range(len(items))] == items


def test_an_imagenet_key_is_folder_and_file() -> None:
    folders = folder_names(["n04310904", "/m/0abc", "grün 1"])
    keys = imagenet_keys(folders, np.array([0, 1, 2, 0], np.int32), 8387)
    assert strings(keys) == [
        "n04310904/n04310904_8388.JPEG",
        "_m_0abc/_m_0abc_8389.JPEG",
        "gr_n_1/gr_n_1_8390.JPEG",
        "n04310904/n04310904_8391.JPEG",
    ]


@given(first=st.integers(0, 10**9), seed=st.integers(0, 2**32))
def test_urls_have_the_published_form_and_follow_from_their_rows(first: int, seed: int) -> None:
    key = stream_key(seed, "urls")
    urls = strings(flickr_urls(key, first, 20))
    assert all(map(URL.fullmatch, urls))
    assert urls[5:9] == strings(flickr_urls(key, first + 5, 4))


def test_urls_are_distinct_and_use_all_hosts() -> None:
    urls = strings(flickr_urls(stream_key(1, "urls"), 0, 50_000))
    assert len(urls) == len({match[1] for match in map(URL.fullmatch, urls) if match}) == 50_000
    hosts = np.unique([url.split("/")[2] for url in urls], return_counts=True)[1]
    assert len(hosts) == 16
    assert hosts.min() > 0.9 * 50_000 / 16
    assert np.gcd(MULTIPLIER, PHOTOS) == 1  # so distinct for all row numbers below PHOTOS
