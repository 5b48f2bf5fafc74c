"""Complete bodies to verdicts: a picture worth keeping, or why not. The cheap questions come first."""

from dataclasses import dataclass

from ml_images.download.placeholder import is_placeholder
from ml_images.images.config import ImageConfig
from ml_images.images.decode import ImageError
from ml_images.images.resize import Shrunk, shrink


@dataclass(frozen=True)
class Verdict:
    outcome: str
    picture: Shrunk | None = None  # where the outcome is ok


def judge(body: bytes, cfg: ImageConfig) -> Verdict:
    """Look at the bytes alone; what the host called them does not count."""
    if not body:
        return Verdict("empty")
    if is_placeholder(body):
        return Verdict("placeholder")
    try:
        return Verdict("ok", shrink(body, cfg))
    except ImageError as error:
        return Verdict(error.outcome)
