"""CRC-32C (Castagnoli), whole and masked as TFRecord frames carry it.

Own code, as no library that we depend on has it: 16 bytes a step by tables (Kounavis and Berry, "A Systematic Approach
to Building High Performance, Software-based, CRC Generators", 2005), compiled, so that checking a record costs less
than writing it.
"""

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled

_POLYNOMIAL = 0x82F63B78  # 0x1EDC6F41 with its bits reversed: RFC 3720, B.4
_STEP = 16
_MASK_DELTA = 0xA282EAD8
_ALL = 0xFFFFFFFF


def crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C of bytes that nobody may change: RFC 3720 gives 0xE3069283 for b"123456789"."""
    return int(_crc32c(np.frombuffer(data, np.uint8), _TABLES))


def masked_crc32c(data: bytes | memoryview) -> int:
    """The CRC-32C rotated right by 15 bits plus a constant, so that the CRC of data that hold CRCs stays a good one
    (TensorFlow, "TFRecord and tf.train.Example", section "TFRecords format details")."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _ALL


def _make_tables() -> npt.NDArray[np.uint32]:
    """uint32 (16, 256): row r has the CRC of each byte with r zero bytes behind it."""
    first = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = np.where(first & 1, first >> 1 ^ _POLYNOMIAL, first >> 1).astype(np.uint32)
    tables = [first]
    for _ in range(_STEP - 1):
        tables.append(tables[-1] >> 8 ^ first[tables[-1] & 255])
    return np.ascontiguousarray(tables, dtype=np.uint32)


_TABLES = _make_tables()


@compiled
def _crc32c(data: npt.NDArray[np.uint8], tables: npt.NDArray[np.uint32]) -> np.uint64:
    crc, eight, low = np.uint64(_ALL), np.uint64(8), np.uint64(255)
    at = 0
    while at + _STEP <= len(data):
        mixed = np.uint64(0)
        for byte in range(4):  # the CRC so far goes into the first four bytes
            mixed ^= np.uint64(tables[_STEP - 1 - byte, np.uint64(data[at + byte]) ^ (crc & low)])
            crc >>= eight
        for byte in range(4, _STEP):
            mixed ^= np.uint64(tables[_STEP - 1 - byte, data[at + byte]])
        crc = mixed
        at += _STEP
    while at < len(data):
        crc = np.uint64(tables[0, (crc ^ np.uint64(data[at])) & low]) ^ (crc >> eight)
        at += 1
    return crc ^ np.uint64(_ALL)
