"""Which spellings of a URL count as one in Spark: a coarse twin of download.url.same_place, without Python workers."""

import string
from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F

from ml_images.download.url import USUAL

# What letters, digits and small letters alone do not settle: escapes, fragments, other characters, dots as a segment,
# ports that need not be there, punycode.
_ODD = r"(?i)[%#]|[^\x20-\x7e]|/\.|:(?:80|443)(?:[/?]|\s*$)|xn--"
_HEAD = r"(?i)^\s*https?://[^/?]*"
_USUAL_PORT = r":(?:80|443)\s*$"
# Punycode and what it stands for are alike: such a label of a host does not count.
_IS_FOREIGN, _FOREIGN_LABEL = r"(?i)[^\x00-\x7f]|xn--", r"(?i)(?<=[/.])[^./:]*(?:[^\x00-\x7f]|xn--)[^./:]*"
_CLIMBS = r"^[^?]*/\.\.(?:[/?]|\s*$)"
_ENCODED_IN_VAIN = r"(?i)^(?:2e|3[0-9]|4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])"  # letters, digits, the dot


def ascii_lower(text: Column) -> Column:
    """With A to Z made small. F.lower of Spark 4.0 first finds out the title case of all of Unicode: a second."""
    return F.translate(text, string.ascii_uppercase, string.ascii_lowercase)


def spelled_alike(url: Column) -> Column:
    """Equal for the spellings of a URL that download.url.same_place takes for the same (and for some others), but for
    numbers for an IPv4 address, and foreign characters that mean an ASCII host.

    Letters, digits and all that is not ASCII tell two URLs apart; case, punctuation and foreign labels of a host do
    not.
    """
    return F.when(url.rlike(_ODD), _plain(url)).otherwise(F.regexp_replace(ascii_lower(url), "[^a-z0-9]", ""))


def is_usual(url: Column) -> Column:
    """Does download.url.same_place take the URL as it stands?"""
    return F.trim(url).rlike("^" + USUAL.pattern.replace(r"\Z", r"\z"))  # Java's \Z leaves out a line feed


def let(value: Column, body: Callable[[Column], Column]) -> Column:
    """`body` of `value`, which is worked out once: a column that is used n times is otherwise in the plan n times, and
    with a few such steps, one upon the other, Spark plans for a minute."""
    return F.get(F.transform(F.array(value), body), 0)


def _plain(url: Column) -> Column:
    whole = F.split_part(url, F.lit("#"), F.lit(1))
    whole = let(whole, lambda url: F.when(url.contains("%"), _decoded(url)).otherwise(url))
    return let(whole, lambda url: let(F.regexp_extract(url, _HEAD, 0), lambda head: _encoded(url, head)))


def _encoded(url: Column, head: Column) -> Column:
    """`head`: the scheme and host of `url`."""
    place = let(
        F.regexp_replace(head, _USUAL_PORT, ""),
        lambda host: F.when(host.rlike(_IS_FOREIGN), F.regexp_replace(host, _FOREIGN_LABEL, "xn")).otherwise(host),
    )
    path = let(
        F.substr(url, F.length(head) + 1), lambda rest: F.when(rest.rlike(_CLIMBS), _climbed(rest)).otherwise(rest)
    )
    encoded = F.url_encode(F.concat(place, path))
    encoded = ascii_lower(F.replace(encoded, F.lit("%25"), F.lit("%")))  # what was encoded before is so once
    return F.regexp_replace(encoded, "%[0-7][0-9a-f]|[^a-z0-9%]", "")


def _decoded(url: Column) -> Column:
    """Without the escapes of letters, digits and dots (RFC 3986, 6.2.2.2)."""

    def decoded(piece: Column) -> Column:
        char = F.char(F.conv(F.substring(piece, 1, 2), 16, 10).cast("int"))
        plain = F.concat(char, F.substr(piece, F.lit(3)))
        return F.when(piece.rlike(_ENCODED_IN_VAIN), plain).otherwise(F.concat(F.lit("%"), piece))

    pieces = F.split(url, "%")
    rest = F.transform(F.slice(pieces, 2, F.size(pieces)), decoded)
    return F.concat(F.get(pieces, 0), F.array_join(rest, ""))


def _climbed(path: Column) -> Column:
    """A path with its query, without /../ (RFC 3986, 5.2.4). Single dots are punctuation, which does not count."""

    def step(kept: Column, segment: Column) -> Column:
        shorter = F.slice(kept, 1, F.greatest(F.size(kept) - 1, F.lit(0)))
        return (
            F.when(F.trim(segment) == "..", shorter)
            .when(segment == ".", kept)
            .otherwise(F.concat(kept, F.array(segment)))
        )

    bare = F.split_part(path, F.lit("?"), F.lit(1))
    segments = F.split(bare, "/")
    kept = F.aggregate(F.slice(segments, 2, F.size(segments)), F.array().cast("array<string>"), step)
    return F.concat(F.array_join(kept, "/"), F.substr(path, F.length(bare) + 1))
