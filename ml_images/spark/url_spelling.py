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
_USUAL_PORT = r":(?:80|443)?\s*$"
# Punycode and what it stands for are alike: such a label of a host does not count.
_IS_FOREIGN, _FOREIGN_LABEL = r"(?i)[^\x00-\x7f]|xn--", r"(?i)(?<=[/.])[^./:]*(?:[^\x00-\x7f]|xn--)[^./:]*"
_CLIMBS = r"^[^?]*/\.\.(?:[/?]|\s*$)"
_HAS_DOTS = r"^[^?]*/\.{1,2}(?:[/?]|$)"
_AROUND = r"(?U)^[\s\x1c-\x1f]+|[\s\x1c-\x1f]+$"
_IS_ESCAPE = "^[0-9A-Fa-f]{2}"
_ENCODED_IN_VAIN = r"(?i)^(?:2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])"  # letters, digits, - . _ ~


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


def spelled_closely(url: Column) -> Column:
    """Equal for spellings of a URL that differ in the case of scheme and host, a default port, a fragment, dots as
    segments and escapes; unlike `spelled_alike` it tells case and punctuation apart, and unlike download.url.same_place
    a host's punycode from its letters.
    """
    text = F.when(is_usual(url), url).otherwise(_close(url))
    return F.replace(F.url_encode(text), F.lit("%25"), F.lit("%"))


def stripped(text: Column) -> Column:
    """As str.strip."""
    return F.regexp_replace(text, _AROUND, "")


def is_usual(url: Column) -> Column:
    """Does download.url.same_place take the URL as it stands?"""
    return F.trim(url).rlike("^" + USUAL.pattern.replace(r"\Z", r"\z"))  # Java's \Z leaves out a line feed


def let(value: Column, body: Callable[[Column], Column]) -> Column:
    """`body` of `value`, which is worked out once: a column that is used n times is otherwise in the plan n times, and
    with a few such steps, one upon the other, Spark plans for a minute."""
    return F.get(F.transform(F.array(value), body), 0)


def _bare(url: Column) -> Column:
    """Without fragment and needless escapes."""
    whole = F.split_part(url, F.lit("#"), F.lit(1))
    return let(whole, lambda url: F.when(url.contains("%"), _decoded(url)).otherwise(url))


def _plain(url: Column) -> Column:
    return let(_bare(url), lambda url: let(F.regexp_extract(url, _HEAD, 0), lambda head: _encoded(url, head)))


def _close(url: Column) -> Column:
    def put_together(url: Column, head: Column) -> Column:
        rest = F.substr(url, F.length(head) + 1)
        path = let(rest, lambda rest: F.when(rest.rlike(_HAS_DOTS), _climbed(rest)).otherwise(rest))
        path = let(path, lambda path: F.when(path.startswith("/"), path).otherwise(F.concat(F.lit("/"), path)))
        return F.concat(ascii_lower(F.regexp_replace(head, _USUAL_PORT, "")), path)

    return let(_bare(url), lambda url: let(F.regexp_extract(url, _HEAD, 0), lambda head: put_together(url, head)))


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
    """With no escapes of what needs none, and the others in capitals (RFC 3986, 6.2.2.1 and 6.2.2.2)."""

    def decoded(piece: Column) -> Column:
        char = F.char(F.conv(F.substring(piece, 1, 2), 16, 10).cast("int"))
        rest = F.substr(piece, F.lit(3))
        escape = F.translate(F.substring(piece, 1, 2), "abcdef", "ABCDEF")
        return (
            F.when(piece.rlike(_ENCODED_IN_VAIN), F.concat(char, rest))
            .when(piece.rlike(_IS_ESCAPE), F.concat(F.lit("%"), escape, rest))
            .otherwise(F.concat(F.lit("%"), piece))
        )

    pieces = F.split(url, "%")
    rest = F.transform(F.slice(pieces, 2, F.size(pieces)), decoded)
    return F.concat(F.get(pieces, 0), F.array_join(rest, ""))


def _climbed(path: Column) -> Column:
    """A path with its query, without /./ and /../ (RFC 3986, 5.2.4)."""

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
    end = F.when((F.size(kept) > 0) & bare.rlike(r"/\.{1,2}\s*$"), "/").otherwise("")
    return F.concat(F.lit("/"), F.array_join(kept, "/"), end, F.substr(path, F.length(bare) + 1))
