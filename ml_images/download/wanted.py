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


@dataclass(frozen=True)
class Wanted:
    key: str
    candidates: tuple[Candidate, ...]  # tried until one is ok; empty: outcome no_url
