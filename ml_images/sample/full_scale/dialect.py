"""Lines that a list should not have, and lines that are odd but legal: each a small change to a good line.

A malformed line has exactly one fault, so its reason (annotations.reasons) is not a matter of opinion.
"""

from dataclasses import dataclass

from ml_images.annotations import reasons
from ml_images.sample.full_scale.draw import CONFIDENCES

NOTHING, KEY, ROW = range(3)  # what is left of the good line
TAB, SPACES, TAB_AND_SPACES = range(3)  # between the fields; runs of up to 8 spaces, as in the first released lists

# How the CONFIDENCES are written, the colon included.
SPELLINGS = (
    tuple(f":{confidence}" for confidence in CONFIDENCES),
    ("", "", ":0.9", ":0.8"),  # a missing confidence means 1
    (":1.000000", ":1e0", ":9e-1", ":0.80"),
)
AS_RELEASED, WITHOUT_ONE, ODD_NUMBERS = range(3)


@dataclass(frozen=True)
class Dialect:
    """How one kind of line is written: prefix, what is left of the good line, suffix, line feed."""

    name: str
    reason: str | None = None  # why the line must be rejected; None for a legal one
    prefix: bytes = b""
    left: int = ROW
    suffix: bytes = b""
    separator: int = TAB
    spelling: int = AS_RELEASED


PLAIN = Dialect("plain")

ODD = (
    Dialect("runs of spaces", separator=SPACES),
    Dialect("tab and spaces", separator=TAB_AND_SPACES),
    Dialect("CRLF", suffix=b"\r"),
    Dialect("spaces, CRLF", suffix=b"\r", separator=SPACES),
    Dialect("no confidence", spelling=WITHOUT_ONE),
    Dialect("odd numbers", spelling=ODD_NUMBERS),
    Dialect("blanks at the end", suffix=b" \t"),
)


def malformed(num_classes: int) -> tuple[Dialect, ...]:
    """At least one line for each reason; `num_classes` is the size of the vocabulary."""
    return (
        Dialect("empty", reasons.BLANK, left=NOTHING),
        Dialect("blank", reasons.BLANK, left=NOTHING, suffix=b" \t "),
        Dialect("key alone", reasons.NO_TAGS, left=KEY),
        Dialect("key and tab", reasons.NO_TAGS, left=KEY, suffix=b"\t"),
        Dialect("class not a number", reasons.BAD_TAG, suffix=b"\t0a:1"),
        Dialect("negative class", reasons.BAD_TAG, suffix=b"\t-4:1"),
        Dialect("words after the number", reasons.BAD_TAG, suffix=b"\t0:0.9 beautiful day"),
        Dialect("unit after the number", reasons.BAD_TAG, suffix=b"\t0:0.9%"),
        Dialect("class one too high", reasons.CLASS_OUT_OF_RANGE, suffix=f"\t{num_classes}:1".encode()),
        Dialect("class of 30 digits", reasons.CLASS_OUT_OF_RANGE, left=KEY, suffix=b"\t" + b"9" * 30),
        Dialect("not a number", reasons.BAD_CONFIDENCE, suffix=b"\t0:nan"),
        Dialect("infinite", reasons.BAD_CONFIDENCE, suffix=b"\t0:inf"),
        Dialect("above 1", reasons.BAD_CONFIDENCE, left=KEY, suffix=b"\t0:1.7"),
        Dialect("below 0", reasons.BAD_CONFIDENCE, suffix=b"\t0:-0.5"),
        Dialect("Latin-1", reasons.BAD_ENCODING, prefix=b"caf\xe9_"),
    )
