"""Fingerprints: one of the bytes (equal files), one of the look (near duplicates)."""

import hashlib

import numpy as np
from PIL import Image


def sha256(data: bytes) -> bytes:
    """The 32 bytes of the SHA-256 digest."""
    return hashlib.sha256(data).digest()


def dhash(image: Image.Image) -> int:
    """Difference hash: 64 bits, row by row, each set where a pixel of the 9x8 grey miniature is darker than its right
    neighbour. Signed, as Parquet's int64 has it. Hamming distance measures likeness; a flat picture gives 0.

    After Neal Krawetz, "Kind of Like That", hackerfactor.com, 2013.
    """
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = np.packbits(grey[:, :-1] < grey[:, 1:])
    return int.from_bytes(bits.tobytes(), "big", signed=True)
