from typing import Any

import pytest

from ml_images.config import load
from ml_images.errors import InputError
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
        ({"max_pixels": 200_000_000}, "max_pixels"),
        ({"short_side": "large"}, "short_side"),
        ({"short_side": "original", "min_side": 0}, "min_side"),
        ({"decode_timeout_s": 0}, "decode_timeout_s"),
    ],
)
def test_impossible_values_are_named(values: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=f"{word} must .* got '?{values[word]}"):
        ImageConfig(**values)


@pytest.mark.parametrize("word", ["original", 0])
def test_original_is_no_number_of_pixels(word: Any) -> None:
    cfg = ImageConfig(short_side=word, min_side=500)
    assert cfg.keeps_bytes and cfg.side >= 32


def test_the_command_line_takes_the_word_and_numbers() -> None:
    assert load(ImageConfig, ["short_side=original"], program="p").keeps_bytes
    assert load(ImageConfig, ["short_side=256", "icc=keep"], program="p") == ImageConfig(short_side=256, icc="keep")
    with pytest.raises(InputError, match=r"integer\|original"):
        load(ImageConfig, ["short_side=large"], program="p")
