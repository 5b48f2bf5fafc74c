import random
from typing import Any

from ml_images.download.url import USUAL, same_place
from ml_images.spark.url_spelling import is_usual, spelled_alike, spelled_closely, stripped


def test_urls_that_differ_in_letters_digits_or_beyond_ascii_are_not_spelled_alike(
    spark: Any, places: list[list[str]]
) -> None:
    others = [
        "http://h.example/ö.jpg",
        "http://h.example/%c3%B6.jpg#1",
        "http://h.example/ä.jpg",
        "http://h.example/图1",
    ]
    expected = [*places, others[:2], others[2:3], others[3:]]
    frame = spark.createDataFrame([(url,) for kind in expected for url in kind], "url string")
    rows = frame.select("url", spelled_alike(frame["url"]).alias("place")).collect()
    kinds: dict[str, set[str]] = {}
    for row in rows:
        kinds.setdefault(row["place"], set()).add(row["url"])
    assert sorted(map(sorted, kinds.values())) == sorted(map(sorted, expected))


HOSTS = [
    "h.example",
    "H.Example.",
    "xn--mnchen-3ya.example",
    "m\u00fcnchen.example",
    "M\u00dcNCHEN.example",
    "h.example:8080",
]
SEGMENTS = [
    "a",
    "A",
    "%61",
    "%41",
    "b.jpg",
    "b%2Ejpg",
    "b%2ejp%67",
    "..",
    ".",
    "%2e%2E",
    "",
    "\u00fc",
    "%C3%BC",
    "%c3%bc",
]
SEGMENTS += ["%2541", "a%20b", "a b", "a+b", "~joe", "%7Ejoe", "100%", "%zz"]


def some_url(random: random.Random) -> str:
    scheme, port = random.choice([("http", ""), ("HTTP", ":80"), ("https", ""), ("https", ":443"), ("Http", ":")])
    host = random.choice(HOSTS)
    path = "".join("/" + random.choice(SEGMENTS) for _ in range(random.randrange(4)))
    query = random.choice(["", "", "?", "?q=%61", "?q=a", "?q=../a", "?q=%2e"])
    host += port if ":8080" not in host else ""
    return f"{random.choice(['', ' '])}{scheme}://{host}{path}{query}{random.choice(['', '#x'])}"


def test_what_is_the_same_place_is_spelled_alike(spark: Any) -> None:
    seeded = random.Random(7)
    urls = sorted({some_url(seeded) for _ in range(20_000)})
    frame = spark.createDataFrame([(url,) for url in urls], "url string")
    alike: dict[str, set[str]] = {}
    for row in frame.select("url", spelled_alike(frame["url"]).alias("spelled")).collect():
        alike.setdefault(same_place(row["url"]), set()).add(row["spelled"])
    several = {place: spelled for place, spelled in alike.items() if len(spelled) > 1}
    assert not several, list(several.items())[:12]
    assert len(alike) < len(urls) / 2  # else nothing was compared
    assert len({spelled for one in alike.values() for spelled in one}) > len(alike) / 4


def test_what_is_spelled_closely_is_the_same_place(spark: Any) -> None:
    seeded = random.Random(9)
    urls = sorted({some_url(seeded) for _ in range(20_000)})
    frame = spark.createDataFrame([(url,) for url in urls], "url string")
    alike: dict[str, set[str]] = {}
    for row in frame.select("url", spelled_closely(stripped(frame["url"])).alias("spelled")).collect():
        alike.setdefault(row["spelled"], set()).add(same_place(row["url"]))
    several = {spelled: places for spelled, places in alike.items() if len(places) > 1}
    assert not several, list(several.items())[:12]
    places = {place for of_one in alike.values() for place in of_one}
    assert len(places) <= len(alike) < 1.5 * len(places)  # which are told apart, but for punycode


def test_urls_that_are_usual_in_spark_are_so_for_the_crawl(spark: Any) -> None:
    seeded = random.Random(8)
    urls = sorted({some_url(seeded) for _ in range(3_000)})
    urls += ["http://h.example/a&b.jpg", "https://a-b.h.example/x_1/~joe.png?q=1&r=/../2", "http://h.example/a\n"]
    frame = spark.createDataFrame([(url,) for url in urls], "url string")
    found = {row["url"]: row["usual"] for row in frame.select("url", is_usual(frame["url"]).alias("usual")).collect()}
    assert found == {url: USUAL.match(url.strip(" ")) is not None for url in urls}
    assert 3 < sum(found.values()) < len(urls) / 2
