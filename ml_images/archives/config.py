"""What is taken from an archive, and how much of one is believed."""

from dataclasses import dataclass, field

from ml_images.images.config import ImageConfig
from ml_images.options import option


@dataclass(frozen=True)
class ExtractConfig:
    image: ImageConfig = field(default_factory=ImageConfig)
    max_bytes: int = option(50 * 2**20, help="longest member that is read, in bytes")
    # An archive of JPEGs shrinks by 1 %, one of BMPs to a quarter, a gzip of zeros to a thousandth.
    max_ratio: float = option(100.0, help="a compressed archive ends where it has unpacked to so many times its bytes")
    buffer_bytes: int = option(64 * 2**20, help="bytes of members that may wait for the decoder in one worker")
    part_rows: int = option(1000, help="rows that a worker writes as one part; what a crash can cost at most")

    def __post_init__(self) -> None:
        for name in ("max_bytes", "buffer_bytes", "part_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.max_ratio >= 1:
            raise ValueError(f"max_ratio must be at least 1, got {self.max_ratio}")
