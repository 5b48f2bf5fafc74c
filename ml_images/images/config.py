"""What a picture must be to be taken, and what is kept of it."""

from dataclasses import dataclass
from typing import Literal

from ml_images.options import option

# Where Pillow itself refuses to decode (Image.MAX_IMAGE_PIXELS doubled), whatever anybody asks for.
PILLOWS_PIXELS = 178_956_970


@dataclass(frozen=True)
class ImageConfig:
    short_side: int | Literal["original"] = option(
        384,
        help="shorter side of the stored picture in pixels; smaller ones are not enlarged; original (or 0) keeps the "
        "bytes as received, of whatever format",
    )
    quality: int = option(90, help="JPEG quality of the stored picture")
    min_side: int = option(16, help="pictures with a shorter side than this are refused (too_small)")
    # Above the 102 megapixels of the largest common camera; as RGB such a picture takes 330 MB while it is decoded.
    max_pixels: int = option(110_000_000, help="pictures with more pixels than this are refused before decoding")
    icc: Literal["drop", "srgb", "keep"] = option(
        "srgb",
        help="colour profile of a picture: srgb converts to sRGB, keep stores the numbers with the profile beside "
        "them, drop forgets it",
    )
    # The slowest kinds take 4 s of CPU at max_pixels (lossless WebP, HEIF with alpha), a 10-megapixel JPEG 0.02.
    decode_timeout_s: float = option(30.0, help="seconds that one picture may take the decoder (decoder_died)")

    def __post_init__(self) -> None:
        if isinstance(self.short_side, str) and self.short_side != "original":
            raise ValueError(f"short_side must be a number of pixels or original, got {self.short_side!r}")
        if not self.keeps_bytes and self.side < 32:
            raise ValueError(
                f"short_side must be at least 32 (what a network can use), or original, got {self.short_side}"
            )
        if not 1 <= self.quality <= 95:
            raise ValueError(f"quality must be from 1 to 95, got {self.quality}")
        if self.min_side < 1 or (self.min_side > self.side and not self.keeps_bytes):
            raise ValueError(f"min_side must be from 1 to short_side ({self.short_side}), got {self.min_side}")
        if not self.min_side**2 <= self.max_pixels <= PILLOWS_PIXELS:
            raise ValueError(
                f"max_pixels must be from min_side squared ({self.min_side**2}) to {PILLOWS_PIXELS} "
                f"(Pillow's own limit), got {self.max_pixels}"
            )
        if self.decode_timeout_s <= 0:
            raise ValueError(f"decode_timeout_s must be positive, got {self.decode_timeout_s}")

    @property
    def keeps_bytes(self) -> bool:
        """Are the bytes stored as they came, decoded only to verify them?"""
        return self.short_side in ("original", 0)

    @property
    def side(self) -> int:
        """Shorter side in pixels of the picture that is looked at: the stored one, or the one to verify and hash."""
        # 64: the miniature of the perceptual hash is 9x8.
        return 64 if self.short_side in ("original", 0) else int(self.short_side)
