"""The same crop from part of a JPEG as from all of it, through each of the decoders."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ml_images.images.config import ImageConfig
from ml_images.images.decode import ImageError
from ml_images.images.resize import Shrunk, shrink
from ml_images.train import decode, turbojpeg
from ml_images.train.crops import Crop, centre
from ml_images.train.decode import BadImage, decode_crop
from ml_images.train.resample import resample

ORIGINAL = ImageConfig(short_side="original", min_side=1)  # of a download that keeps bytes as they are
SUBSAMPLINGS = {"444": 0, "422": 1, "420": 2}


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (max(2, height // 24), max(2, width // 24), 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92, **options)
    return out.getvalue()


def cropped(data: bytes, crop: Crop, side: int = 32) -> np.ndarray:
    out = np.zeros((side, side, 3), np.uint8)
    decode_crop(data, lambda width, height: crop, out)
    return out


@pytest.fixture(params=["turbojpeg", "simplejpeg", "pillow"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of them is there, as on machines that lack the others."""
    if request.param != "turbojpeg":
        monkeypatch.setattr(turbojpeg, "decoder", lambda: None)
    else:
        assert turbojpeg.decoder() is not None, "the wheel `turbojpeg` is part of the extra `train`"
    if request.param == "pillow":
        monkeypatch.setattr(decode, "_decode_whole", lambda *_: False)
    return str(request.param)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS.values(), ids=SUBSAMPLINGS)
@pytest.mark.parametrize("box", [(0, 0, 203, 151), (37, 21, 110, 98), (150, 100, 203, 151), (33.25, 8.5, 70, 44.75)])
def test_a_crop_is_what_the_whole_picture_gives(decoder: str, subsampling: int, box: tuple[float, ...]) -> None:
    data = jpeg(picture(203, 151), subsampling=subsampling)
    wanted = np.zeros((32, 32, 3), np.uint8)
    resample(simplejpeg.decode_jpeg(data), box, wanted)
    assert np.abs(cropped(data, Crop(box)).astype(int) - wanted).mean() < 2.5  # of fractions, by DCT


@given(st.data())
@settings(max_examples=40)
def test_any_box_of_any_jpeg_is_what_the_whole_picture_gives(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(32, 300)), data.draw(st.integers(32, 300))
    left, upper = data.draw(st.floats(0, width - 16)), data.draw(st.floats(0, height - 16))
    box = (left, upper, data.draw(st.floats(left + 16, width)), data.draw(st.floats(upper + 16, height)))
    encoded = jpeg(picture(width, height), subsampling=data.draw(st.sampled_from(sorted(SUBSAMPLINGS.values()))))
    wanted = np.zeros((32, 32, 3), np.uint8)
    resample(simplejpeg.decode_jpeg(encoded), box, wanted)
    assert np.abs(cropped(encoded, Crop(box)).astype(int) - wanted).mean() < 3


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("left", [-4, 0, 3, 4])
def test_a_crop_reaches_into_the_mirror_image_around_a_picture(decoder: str, left: int, mirror: bool) -> None:
    data = jpeg(picture(32, 32, seed=3), subsampling=SUBSAMPLINGS["420"])
    around = np.pad(simplejpeg.decode_jpeg(data), ((8, 8), (8, 8), (0, 0)), "reflect")
    wanted = around[8 + 2 : 40 + 2, 8 + left : 40 + left].astype(int)
    found = cropped(data, Crop((left, 2, left + 32, 34), mirror=mirror, reflect=True))
    differs = np.abs(found - (wanted[:, ::-1] if mirror else wanted))
    assert differs.mean() < 1 and differs.max() <= 12  # colours at the edge of what is decoded


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS.values(), ids=SUBSAMPLINGS)
def test_the_mirror_image_lies_right_where_only_the_corner_is_decoded(decoder: str, subsampling: int) -> None:
    data = jpeg(picture(203, 151), subsampling=subsampling)
    around = np.pad(simplejpeg.decode_jpeg(data), ((0, 40), (0, 40), (0, 0)), "reflect")
    wanted = around[125:157, 176:208].astype(int)
    found = cropped(data, Crop((176, 125, 208, 157), reflect=True))
    assert np.abs(found - wanted).mean() < 1


def test_the_mirror_image_around_a_larger_picture_shrinks_with_it(decoder: str) -> None:
    data = jpeg(picture(400, 256), subsampling=SUBSAMPLINGS["444"])
    around = np.pad(simplejpeg.decode_jpeg(data), ((32, 32), (32, 32), (0, 0)), "reflect")
    wanted = np.zeros((32, 32, 3), np.uint8)
    resample(around, (0, 10, 256, 266), wanted)
    found = cropped(data, Crop((-32, -22, 224, 234), reflect=True))
    assert np.abs(found.astype(int) - wanted).mean() < 4


@pytest.mark.parametrize(("width", "height", "shrink"), [(640, 480, 8), (300, 200, 4), (200, 100, 2), (100, 60, 1)])
def test_a_large_crop_is_decoded_at_a_fraction_of_its_size(
    width: int, height: int, shrink: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = turbojpeg.Decoder.decode
    monkeypatch.setattr(turbojpeg.Decoder, "decode", lambda *args: asked.append(args[-1]) or real(*args))
    crop = centre(width, height, 1.0)
    found = cropped(jpeg(picture(width, height)), crop)
    assert asked == [shrink]
    whole = np.asarray(picture(width, height).resize((32, 32), Image.Resampling.BILINEAR, box=crop.box)).astype(int)
    assert np.abs(found - whole).mean() < 5


def test_a_fraction_neither_moves_nor_scales_the_crop(decoder: str) -> None:
    across = np.linspace(0, 255, 640).round().astype(np.uint8)
    image = Image.fromarray(np.repeat(np.tile(across, (480, 1))[:, :, None], 3, 2))
    found = cropped(jpeg(image), Crop((120, 0, 520, 400))).astype(float)
    wanted = 255 * (120 + (np.arange(32) + 0.5) * 400 / 32) / 640
    assert np.abs(found.mean(axis=(0, 2)) - wanted).max() < 2.5


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_become_rgb(decoder: str, mode: str) -> None:
    image = picture(100, 80)
    found = cropped(jpeg(image.convert(mode)), Crop((0, 0, 100, 80))).astype(int)
    wanted = np.asarray(image.convert(mode).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(found - wanted).mean() < 3


def test_a_progressive_jpeg_is_read(decoder: str) -> None:
    image = picture(200, 160)
    crop = Crop((20, 30, 150, 120))
    plain, progressive = (cropped(jpeg(image, progressive=how), crop).astype(int) for how in (False, True))
    assert np.abs(plain - progressive).max() <= 1


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_picture_is_turned_as_its_exif_says(decoder: str, orientation: int) -> None:
    upright = picture(160, 120)
    lying = upright.transpose({3: Image.ROTATE_180, 6: Image.ROTATE_90, 8: Image.ROTATE_270}[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    crop = Crop((10, 20, 120, 110))
    turned, wanted = cropped(jpeg(lying, exif=exif), crop), cropped(jpeg(upright), crop)
    assert np.abs(turned.astype(int) - wanted).mean() < 2


@pytest.mark.parametrize("cut", [0, 2, 20, 300, 2000])
def test_broken_bytes_are_told_from_others(decoder: str, cut: int) -> None:
    data = jpeg(picture(200, 150))
    assert len(data) > 2100
    with pytest.raises(BadImage):
        cropped(data[:cut], Crop((0, 0, 200, 150)))
    with pytest.raises(BadImage):
        cropped(b"GIF89a" + data, Crop((0, 0, 200, 150)))


@given(st.binary(max_size=40), st.integers(0, 10_000))
@settings(max_examples=100)
def test_no_bytes_raise_anything_else(noise: bytes, at: int) -> None:
    data = bytearray(jpeg(picture(64, 48)))
    at %= len(data)
    data[at : at + len(noise)] = noise
    try:
        cropped(bytes(data), Crop((8, 8, 40, 40)))
    except BadImage as error:
        assert str(error)


@given(st.integers(0, 200), st.binary(min_size=1, max_size=6))
@settings(max_examples=150)
def test_broken_exif_neither_stops_a_run_nor_loses_the_picture(at: int, noise: bytes) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 72.0
    data = bytearray(jpeg(picture(64, 48), exif=exif))
    start = data.index(b"Exif") + 6
    at = start + at % (int.from_bytes(data[start - 8 : start - 6], "big") - 8)
    data[at : at + len(noise)] = noise[: len(data) - at]
    try:
        cropped(bytes(data), Crop((0, 0, 40, 40)))
    except BadImage as error:
        assert str(error)


def test_a_crop_that_is_not_to_be_smoothed_is_decoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = turbojpeg.Decoder.decode
    monkeypatch.setattr(turbojpeg.Decoder, "decode", lambda *args: asked.append(args[-1]) or real(*args))
    cropped(jpeg(picture(640, 480)), Crop((0, 0, 640, 480), antialias=False))
    assert asked == [1]


def test_a_broken_picture_does_not_harm_the_next_one() -> None:
    whole = jpeg(picture(200, 150))
    decoder = turbojpeg.decoder()
    assert decoder is not None
    for cut in range(len(whole) // 2, len(whole) - 2, 97):
        with pytest.raises(BadImage):
            cropped(whole[:cut], Crop((0, 0, 200, 150)))
        assert decoder.header(whole) is not None


ODD = {
    "bytes too many before a marker": lambda data: b"\1\2\3\xff\xda".join(data.rsplit(b"\xff\xda", 1)),
    "the end of the scan is missing": lambda data: data[: len(data) * 2 // 3] + data[-2:],
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_libjpeg_only_warns_of_is_what_pillow_sees(decoder: str, odd: Callable[[bytes], bytes]) -> None:
    data, crop = odd(jpeg(picture(203, 151), progressive=True)), Crop((0, 0, 203, 151))
    with pytest.raises(ValueError, match=r"Corrupt JPEG data|Premature end"):
        simplejpeg.decode_jpeg(data)
    assert isinstance(shrink(data, ORIGINAL), Shrunk)
    wanted = np.zeros((32, 32, 3), np.uint8)
    resample(np.asarray(Image.open(io.BytesIO(data))), crop.box, wanted)
    assert np.array_equal(cropped(data, crop), wanted)


@given(st.integers(0, 10_000), st.binary(max_size=4), st.integers(0, 4))
@settings(max_examples=150)
def test_what_download_calls_ok_can_be_trained_with(at: int, noise: bytes, lost: int) -> None:
    data = jpeg(picture(64, 48))
    at %= len(data)
    data = data[:at] + noise + data[at + lost :]
    try:
        shrink(data, ORIGINAL)
    except ImageError:
        return
    cropped(data, Crop((8, 8, 40, 40)))


@pytest.mark.real_data
def test_odd_files_that_download_calls_ok_can_be_trained_with(shared_data: Path, decoder: str) -> None:
    taken = 0
    for file in sorted(shared_data.glob("bad-images/*/*")):
        data = file.read_bytes()
        try:
            is_jpeg = data.startswith(b"\xff\xd8\xff") and shrink(data, ORIGINAL)
        except ImageError:
            continue
        if is_jpeg:
            decode_crop(data, lambda width, height: Crop((0, 0, width, height)), np.empty((32, 32, 3), np.uint8))
            taken += 1
    assert taken >= 23


def test_a_picture_of_very_many_scans_is_refused() -> None:
    data = jpeg(picture(64, 48), progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(BadImage, match="more than 100 scans"):
        cropped(data[:last] + data[last:-2] * 100 + data[-2:], Crop((0, 0, 64, 48)))


def test_chosen_by_the_size_of_the_upright_picture(decoder: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    seen = []
    out = np.zeros((32, 32, 3), np.uint8)
    decode_crop(jpeg(picture(160, 120), exif=exif), lambda *size: seen.append(size) or Crop((0, 0, 32, 32)), out)
    assert seen == [(120, 160)]


@pytest.mark.parametrize("before", ["comment", "fill byte", "tables"])
def test_a_turned_picture_is_told_wherever_its_exif_lies(decoder: str, before: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = picture(160, 120)
    data = jpeg(upright.transpose(Image.ROTATE_90), exif=exif)
    start = data.index(b"\xff\xe1")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    segment, rest = data[start:end], data[:start] + data[end:]
    at = rest.index(b"\xff\xc0") if before == "tables" else start
    between = {"comment": b"\xff\xfe\0\7hello", "fill byte": b"\xff", "tables": b""}[before]
    crop = Crop((10, 20, 120, 110))
    turned = cropped(rest[:at] + between + segment + rest[at:], crop)
    assert np.abs(turned.astype(int) - cropped(jpeg(upright), crop)).mean() < 2
