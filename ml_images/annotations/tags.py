"""The grammar of one tag, `class[:confidence]`, and a memory of tags already read.

A list of 17 million rows holds 150 million tags, but few distinct ones (321 among the 827 tags of the published 100
rows), so each distinct tag is parsed once in a call and becomes a small number from then on.
"""

import re

from ml_images.annotations import reasons
from ml_images.schemas import UNKNOWN

_TAG = re.compile(rb"(\d+)(?::(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?))?")
_NOT_FINITE = re.compile(rb"\d+:[-+]?(?:nan|inf|infinity)", re.IGNORECASE)


class BadTag(ValueError):
    """A tag that is not accepted; `reason` is one of annotations.reasons."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_tag(tag: bytes, num_classes: int) -> tuple[int, float]:
    """(class, confidence) of a tag such as b"5170:0.9"; the confidence is 1 where it is missing. Raises BadTag."""
    match = _TAG.fullmatch(tag)
    if match is None:
        raise BadTag(reasons.BAD_CONFIDENCE if _NOT_FINITE.fullmatch(tag) else reasons.BAD_TAG)
    digits = match[1].lstrip(b"0")
    # 18 digits are beyond any vocabulary, and int() refuses more than 4,300 of them.
    if len(digits) > 18 or int(digits or b"0") >= num_classes:
        raise BadTag(reasons.CLASS_OUT_OF_RANGE)
    confidence = 1.0 if match[2] is None else float(match[2])  # 1e999 becomes inf
    if confidence != UNKNOWN and not 0 <= confidence <= 1:
        raise BadTag(reasons.BAD_CONFIDENCE)
    return int(digits or b"0"), confidence + 0.0  # -0 becomes 0


class Tags(dict[bytes, int]):
    """Number of each tag, in order of appearance: `classes[n]` and `confidences[n]` are what tag n says."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.classes: list[int] = []
        self.confidences: list[float] = []

    def __missing__(self, tag: bytes) -> int:
        parsed_class, confidence = parse_tag(tag, self.num_classes)
        self.classes.append(parsed_class)
        self.confidences.append(confidence)
        self[tag] = number = len(self.classes) - 1
        return number
