import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from ml_images.download.verdict import judge
from ml_images.images.config import ImageConfig
from ml_images.images.decode import silence_pillow
from ml_images.outcomes import BY_NAME

CFG = ImageConfig()


def test_a_picture_is_ok_and_comes_along(jpeg: bytes) -> None:
    verdict = judge(jpeg, CFG)
    assert verdict.outcome == "ok" and verdict.picture is not None
    assert (verdict.picture.width, verdict.picture.height) == (120, 80)


def test_a_genuine_greyscale_picture_is_ok() -> None:
    out = io.BytesIO()
    Image.linear_gradient("L").save(out, "JPEG")
    assert judge(out.getvalue(), CFG).outcome == "ok"


def test_other_bytes_have_their_reason(jpeg: bytes) -> None:
    assert judge(b"", CFG).outcome == "empty"
    assert judge(b"<html>", CFG).outcome == "not_an_image"
    assert judge(jpeg[:600], CFG).outcome == "undecodable"
    assert judge(jpeg, ImageConfig(min_side=81)).outcome == "too_small"
    assert judge(jpeg, ImageConfig(max_pixels=9599)).outcome == "too_many_pixels"
    assert judge(jpeg, ImageConfig(max_pixels=9600)).outcome == "ok"


@pytest.mark.real_data
def test_every_odd_file_ends_in_a_named_outcome(shared_data: Path) -> None:
    silence_pillow()
    files = sorted((shared_data / "bad-images").glob("*/*"))
    assert len(files) == 245
    verdicts = [judge(file.read_bytes(), CFG) for file in files]
    counts = Counter(verdict.outcome for verdict in verdicts)
    assert counts.keys() <= BY_NAME.keys()
    by_folder = {(file.parent.name, verdict.outcome) for file, verdict in zip(files, verdicts, strict=True)}
    assert {outcome for folder, outcome in by_folder if folder == "heif"} == {"empty", "not_an_image"}
    assert {outcome for folder, outcome in by_folder if folder == "tiny_1px"} == {"too_small"}
    assert {outcome for folder, outcome in by_folder if folder in ("cmyk_jpeg", "webp", "mpo")} == {"ok", "too_small"}
    assert counts == {
        "ok": 108,
        "too_small": 72,
        "undecodable": 33,
        "not_an_image": 24,
        "too_many_pixels": 7,
        "empty": 1,
    }
