"""What a run is asked for: a key, and where its picture may lie, in the order in which the places are tried."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    url: str
    size: int | None = None  # expected bytes, where the list knows them
    md5: bytes | None = None  # expected digest, 16 bytes
    rotation: int = 0  # counter-clockwise degrees that make the picture upright (0, 90, 180, 270); then EXIF is ignored

    @property
    def expects(self) -> tuple[int | None, bytes | None, int]:
        """Candidates of one place that expect the same of it get the same from it."""
        return self.size, self.md5, self.rotation

    @property
    def expectation(self) -> str:
        """Size and digest as a row's detail tells them, empty where none is expected. spark/url_lists.py makes the same
        text of a list."""
        size = "" if self.size is None else f"{self.size} bytes"
        return ", ".join(filter(None, (size, "" if self.md5 is None else f"MD5 {self.md5.hex()}")))


@dataclass(frozen=True)
class Ending:
    """What became of a URL of the key before; it is not asked again."""

    url: str
    outcome: str
    detail: str
    attempts: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class Wanted:
    key: str
    candidates: tuple[Candidate, ...]  # tried until one is ok; empty: outcome no_url
    endings: tuple[Ending, ...] = ()
