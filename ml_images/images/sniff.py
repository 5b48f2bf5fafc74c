"""Which picture format some bytes claim to be, by their first bytes; names and headers sent along are not believed."""

# Formats that photographs come in. Pillow reads forty more (EPS, PDF, ICNS, ...): their parsers are never reached.
_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
)
# Sizes of the headers that follow a BMP's "BM": two letters alone would take plain text for a picture.
_BMP_HEADERS = frozenset((12, 16, 40, 52, 56, 64, 108, 124))


def sniff(data: bytes) -> str | None:
    """Pillow's name of the format, or None where the bytes are no format that we read."""
    for start, name in _STARTS:
        if data.startswith(start):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if data[4:8] == b"ftyp" and _is_avif(data):
        return "AVIF"
    return None


def _is_avif(data: bytes) -> bool:
    # An ISO media file lists its brands in the first box: major, version, then compatible ones. HEIC shares the
    # container (mif1), so a container brand needs avif or avis beside it.
    box = data[: min(int.from_bytes(data[:4], "big"), 256)]
    brands = {box[8:12], *(box[i : i + 4] for i in range(16, len(box), 4))}
    return bool(brands & {b"avif", b"avis"})
