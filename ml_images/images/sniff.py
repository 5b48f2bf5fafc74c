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

# An ISO media file lists its brands in the first box: major, version, then compatible ones. AVIF and HEIF share the
# container brands (mif1, msf1), so the first file needs avif or avis beside them, and HEIF takes what is left.
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))


def sniff(data: bytes) -> str | None:
    """Pillow's name of the format, or None where the bytes are no format that we read."""
    for start, name in _STARTS:
        if data.startswith(start):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if data[4:8] == b"ftyp":
        return _of_container(data)
    return None


def _of_container(data: bytes) -> str | None:
    box = data[: min(int.from_bytes(data[:4], "big"), 256)]
    brands = {box[8:12], *(box[i : i + 4] for i in range(16, len(box), 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None
