"""Memory for the pictures of row groups, used again as soon as nobody looks at any of them."""

import mmap
import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray


class BufferPool:
    """Buffers of `size` bytes, as many as are in use at the same time; any thread may ask.

    Arrow's allocator keeps what is given back for a second beside what is in use: for 16 row groups of 4 MiB that took
    13 MiB more where a file is read into it, and 40 MiB more where Arrow also builds columns between them, which are
    copied out instead (0.01 ms a picture of 60 KB). Here each buffer has pages of its own, which go back to the system
    with the pool.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._free: deque[NDArray[np.uint8]] = deque()

    def lend(self, size: int) -> memoryview:
        """A buffer of `size` bytes, free again when this view and all parts of it are gone."""
        if not 0 < size <= self._size:
            return memoryview(bytearray(size))
        try:
            buffer = self._free.pop()
        except IndexError:
            pages = mmap.mmap(-1, self._size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            buffer = np.frombuffer(pages, np.uint8)
        lent = buffer[:size]
        weakref.finalize(lent, self._free.append, buffer)
        return lent.data

    def copied(self, content: memoryview) -> memoryview:
        """The same bytes, in a buffer that is lent."""
        lent = self.lend(content.nbytes)
        lent[:] = content.cast("B")  # Arrow says signed bytes
        return lent.toreadonly()
