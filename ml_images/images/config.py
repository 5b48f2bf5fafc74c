"""What a picture must be to be taken, and what is kept of it."""

from dataclasses import dataclass

from ml_images.options import option


@dataclass(frozen=True)
class ImageConfig:
    short_side: int = option(384, help="shorter side of the stored picture in pixels; smaller ones are not enlarged")
    quality: int = option(90, help="JPEG quality of the stored picture")
    min_side: int = option(16, help="pictures with a shorter side than this are refused (too_small)")
    # Above the 102 megapixels of the largest common camera; as RGB such a picture takes 330 MB while it is decoded.
    max_pixels: int = option(110_000_000, help="pictures with more pixels than this are refused before decoding")

    def __post_init__(self) -> None:
        if self.short_side < 32:
            raise ValueError(f"short_side must be at least 32 (what a network can use), got {self.short_side}")
        if not 1 <= self.quality <= 95:
            raise ValueError(f"quality must be from 1 to 95, got {self.quality}")
        if not 1 <= self.min_side <= self.short_side:
            raise ValueError(f"min_side must be from 1 to short_side ({self.short_side}), got {self.min_side}")
        if self.max_pixels < self.min_side**2:
            raise ValueError(
                f"max_pixels must be at least min_side squared ({self.min_side**2}), got {self.max_pixels}"
            )
