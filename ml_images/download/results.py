"""What came of a URL, and how long it is remembered for other keys that may want the same one."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from ml_images.download.wanted import Candidate
from ml_images.images.resize import Shrunk

_RESULT_BYTES = 1000  # without its texts and its picture


@dataclass(frozen=True)
class Result:
    outcome: str
    detail: str = ""
    final_url: str | None = None
    status: int | None = None
    attempts: int = 0
    elapsed_s: float = 0.0  # of requests and back-offs
    content_type: str | None = None
    sha256: bytes | None = None
    original_bytes: int | None = None
    picture: Shrunk | None = None


class _Recent:
    """The results used last, up to so many bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._results: OrderedDict[Hashable, Result] = OrderedDict()

    def get(self, key: Hashable) -> Result | None:
        result = self._results.get(key)
        if result is not None:
            self._results.move_to_end(key)
        return result

    def put(self, key: Hashable, result: Result) -> None:
        before = self._results.pop(key, None)
        if before is not None:
            self._left += _size(before)
        self._results[key] = result
        self._left -= _size(result)
        while self._left < 0 and len(self._results) > 1:
            self._left += _size(self._results.popitem(last=False)[1])


class Memory:
    """Results of finished URLs, by place (url.same_place): pictures and failures, up to `most_bytes` each.

    What the answer's head or the network decided holds for all that want the URL; what its body decided holds for
    those that expect the same of it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._pictures, self._failures = _Recent(most_bytes), _Recent(most_bytes)

    def get(self, place: str, candidate: Candidate) -> Result | None:
        wish = place, candidate.expects
        return self._failures.get(place) or self._failures.get(wish) or self._pictures.get(wish)

    def failed(self, place: str, result: Result) -> None:
        self._failures.put(place, result)

    def judged(self, place: str, candidate: Candidate, result: Result) -> None:
        (self._failures if result.picture is None else self._pictures).put((place, candidate.expects), result)


def _size(result: Result) -> int:
    texts = len(result.detail) + len(result.final_url or "") + len(result.content_type or "")
    return _RESULT_BYTES + texts + (len(result.picture.data) if result.picture is not None else 0)
