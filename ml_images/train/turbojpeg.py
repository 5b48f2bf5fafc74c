"""Part of a JPEG at 1/1, 1/2, 1/4 or 1/8 of its size, by TurboJPEG 3: what lies outside is parsed, but not transformed.

A crop for training keeps half of a picture in the mean, and decoding it alone takes two thirds of the time of decoding
everything. No package on PyPI that decodes JPEG offers this, so the library is called directly: the one that the wheel
`turbojpeg` brings along, or the system's. A thread has a decoder of its own. Only decoding leaves Python's lock: to
leave it and to wait for it again takes longer than the other calls, and with many threads most of their time.
"""

import ctypes
import ctypes.util
import functools
import importlib.metadata
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_SCANS = 100  # a progressive picture has some ten; one of 64 KB can have thousands of empty ones

_DECOMPRESS = 1  # enum TJINIT
_STOP_ON_WARNING, _SUBSAMPLING, _WIDTH, _HEIGHT, _COLOURS, _SCAN_LIMIT = 0, 4, 5, 6, 8, 13  # enum TJPARAM
_RGB = 0  # enum TJPF
_CMYK, _YCCK = 3, 4  # enum TJCS
_BLOCK_WIDTHS = {0: 8, 1: 16, 2: 16, 3: 8, 4: 8, 5: 32, 6: 8}  # pixels of an iMCU, by enum TJSAMP


class _Fraction(ctypes.Structure):
    _fields_ = (("num", ctypes.c_int), ("denom", ctypes.c_int))


class _Region(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_int), ("w", ctypes.c_int), ("h", ctypes.c_int))


class Header(NamedTuple):
    width: int
    height: int
    block_width: int  # 0: cannot be decoded in part


class Region(NamedTuple):
    """Pixels (h, w, 3) whose upper left corner lies at (x, y) of the picture at 1/shrink of its size."""

    pixels: NDArray[np.uint8]
    x: int
    y: int


class Decoder:
    """Not to be shared by threads."""

    def __init__(self, library: ctypes.PyDLL) -> None:
        self._library = library
        self._handle = self._opened()
        self._decompress = _without_lock(library)
        self._pixels = np.empty(0, np.uint8)

    def __del__(self) -> None:
        self._library.tj3Destroy(self._handle)

    def _opened(self) -> ctypes.c_void_p:
        handle = ctypes.c_void_p(self._library.tj3Init(_DECOMPRESS))
        if not handle:
            raise MemoryError("TurboJPEG cannot make a decoder")
        self._library.tj3Set(handle, _STOP_ON_WARNING, 1)  # half a picture must not carry the labels of a whole one
        self._library.tj3Set(handle, _SCAN_LIMIT, MOST_SCANS)
        return handle

    def _reopen(self) -> None:
        """After a broken file: the decoder of TurboJPEG 3.0 goes on to refuse headers of whole ones."""
        self._library.tj3Destroy(self._handle)
        self._handle = self._opened()

    def header(self, data: bytes | memoryview) -> Header | None:
        """What the file says of itself; None where TurboJPEG cannot read it, or not as RGB."""
        if self._library.tj3DecompressHeader(self._handle, _pointer(data), len(data)):
            self._reopen()
            return None
        colours = self._get(_COLOURS)
        if colours in (_CMYK, _YCCK):
            return None
        return Header(self._get(_WIDTH), self._get(_HEIGHT), _BLOCK_WIDTHS.get(self._get(_SUBSAMPLING), 0))

    def decode(self, data: bytes | memoryview, header: Header, box: tuple[int, int, int, int], shrink: int) -> Region:
        """At least the pixels in `box` (left, upper, right, lower, of the picture at 1/`shrink`), for the `header` of
        these very bytes, which was asked for last. They are the decoder's, and last until it decodes again.

        Raises ValueError for a file that is broken, or only odd, where it was read.
        """
        width, height = -(-header.width // shrink), -(-header.height // shrink)
        left, upper, right, lower = box
        self._check(self._library.tj3SetScalingFactor(self._handle, _Fraction(1, shrink)))
        if header.block_width and (right - left < width or lower - upper < height):
            left -= left % max(1, header.block_width // shrink)
            region = _Region(left, upper, right - left, lower - upper)
        else:
            left, upper, right, lower = 0, 0, width, height
            region = _Region(0, 0, 0, 0)
        self._check(self._library.tj3SetCroppingRegion(self._handle, region))
        size = (lower - upper) * (right - left) * 3
        if len(self._pixels) < size:
            self._pixels = np.empty(size, np.uint8)
        pixels = self._pixels[:size]
        at = pixels.ctypes.data_as(ctypes.c_void_p)
        self._check(self._decompress(self._handle, _pointer(data), len(data), at, 0, _RGB))
        return Region(pixels.reshape(lower - upper, right - left, 3), left, upper)

    def _get(self, parameter: int) -> int:
        return int(self._library.tj3Get(self._handle, parameter))

    def _check(self, code: int) -> None:
        if code:
            message: bytes = self._library.tj3GetErrorStr(self._handle)
            self._reopen()
            raise ValueError(message.decode(errors="replace"))


def _pointer(data: bytes | memoryview) -> bytes | int:
    """What ctypes takes for `data` without a copy, for as long as the caller has it."""
    return data if isinstance(data, bytes) else np.frombuffer(data, np.uint8).ctypes.data


_of_thread = threading.local()


def decoder() -> Decoder | None:
    """This thread's decoder; None where TurboJPEG 3 is not installed."""
    if not hasattr(_of_thread, "decoder"):
        library = _library()
        _of_thread.decoder = None if library is None else Decoder(library)
    found: Decoder | None = _of_thread.decoder
    return found


@functools.cache
def _library() -> ctypes.PyDLL | None:
    for path in _candidates():
        try:
            library = ctypes.PyDLL(path)
        except OSError:
            continue
        if hasattr(library, "tj3SetCroppingRegion"):  # TurboJPEG 2, of many a distribution, lacks it
            return _declared(library)
    return None


def _candidates() -> list[str]:
    try:
        files = importlib.metadata.files("turbojpeg") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [str(file.locate()) for file in files if file.name.startswith(("libturbojpeg", "turbojpeg.dll"))]
    return [*found, *filter(None, [ctypes.util.find_library("turbojpeg")])]


def _without_lock(library: ctypes.PyDLL) -> Callable[..., int]:
    """tj3Decompress8 of a library, as one that other threads need not wait for."""
    function = ctypes.CDLL(library._name).tj3Decompress8
    function.restype, function.argtypes = library.tj3Decompress8.restype, library.tj3Decompress8.argtypes
    return function


def _declared(library: ctypes.PyDLL) -> ctypes.PyDLL:
    handle, number, bytes_ = ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
    signatures = {
        "tj3Init": (handle, [number]),
        "tj3Destroy": (None, [handle]),
        "tj3Set": (number, [handle, number, number]),
        "tj3Get": (number, [handle, number]),
        "tj3GetErrorStr": (ctypes.c_char_p, [handle]),
        "tj3DecompressHeader": (number, [handle, bytes_, ctypes.c_size_t]),
        "tj3SetScalingFactor": (number, [handle, _Fraction]),
        "tj3SetCroppingRegion": (number, [handle, _Region]),
        "tj3Decompress8": (number, [handle, bytes_, ctypes.c_size_t, handle, number, number]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
