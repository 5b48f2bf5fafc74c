"""How large pictures are in an epoch: small ones first are cheaper, and the last epochs see what evaluation will see.

ML-Images' best model was fine-tuned at 224 and then at 299 pixels; after which epochs was not published.
"""

from dataclasses import dataclass

from ml_images.options import option


@dataclass(frozen=True)
class ResolutionConfig:
    sizes: list[int] = option([], "pixels a side, of one stretch of epochs after the other; none: data.image_size")
    from_epochs: list[int] = option([], "epoch, counted from 0, in which each stretch begins; the first is 0")

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.from_epochs):
            raise ValueError(
                f"resolution.sizes and resolution.from_epochs must be of one length, got {self.sizes} and "
                f"{self.from_epochs}"
            )
        if any(size < 32 for size in self.sizes):
            raise ValueError(f"resolution.sizes must be >= 32 (a ResNet halves maps 5 times), got {self.sizes}")
        if self.from_epochs and (self.from_epochs[0] != 0 or self.from_epochs != sorted(set(self.from_epochs))):
            raise ValueError(f"resolution.from_epochs must begin with 0 and rise, got {self.from_epochs}")


def image_size(config: ResolutionConfig, otherwise: int, epoch: int) -> int:
    """Pixels a side in `epoch`, counted from 0; `otherwise` where no schedule is given."""
    begun = [size for size, first in zip(config.sizes, config.from_epochs, strict=True) if first <= epoch]
    return begun[-1] if begun else otherwise
