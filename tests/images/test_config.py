from typing import Any

import pytest

from ml_images.images.config import ImageConfig


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"short_side": 31}, "short_side"),
        ({"quality": 0}, "quality"),
        ({"quality": 96}, "quality"),
        ({"min_side": 0}, "min_side"),
        ({"min_side": 385}, "min_side"),
        ({"max_pixels": 255}, "max_pixels"),
    ],
)
def test_impossible_values_are_named(values: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=f"{word} must .* got {values[word]}"):
        ImageConfig(**values)
